"""Optimisers against the flow: what becomes of the plateaus, with predicted ratios."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import compare, plot_comparison
from saddlescope.flows import adam, descend, gradient_descent, half_squared_error, momentum, simulate
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units

STRENGTHS = np.array([4.0, 2.0, 1.0])
WHITE = jnp.asarray(np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)]))
DATA = (WHITE, WHITE * STRENGTHS)
START = 1e-3
MODEL = with_units(
    TwoLayer(Dense(linear, inputs=3, outputs=3), width=3, scale=1.0, key=jax.random.key(0)),
    START * jnp.eye(3),
    START * jnp.eye(3),
)


@pytest.fixture(scope="module")
def flow():
    return simulate(MODEL, half_squared_error, DATA, t1=15.0)


def beside(flow, optimiser, t1=15.0, **options):
    return compare(flow, descend(MODEL, half_squared_error, DATA, optimiser=optimiser, t1=t1, **options))


def test_gradient_descent_lengthens_the_first_plateau_only(flow):
    """Mode k is late by (η/2) ln(f/f₀), whatever its rate: all drops are late by the same (η/2)(ln 1/a₀ + O(1)).

    At a tenth of the drop of mode k + 1 its loss ½(s − u)² is 0.9 of ½s², and at nine tenths of that of mode k a tenth.
    """
    step, velocity = 2e-3, lambda a, s: a * (s - a**2)
    plateaus = beside(flow, gradient_descent(step)).plateaus

    def late(s, share):  # of mode s when that share of its loss is left
        a = np.sqrt(s * (1 - np.sqrt(share)))
        return step / 2 * np.log(velocity(a, s) / velocity(START, s))

    gains = [late(4, 0.9), late(2, 0.9) - late(4, 0.1), late(1, 0.9) - late(2, 0.1)]
    found = [plateau.other_dwell - plateau.dwell for plateau in plateaus]
    # To a twentieth of a step, with which the tails of neighbouring modes shift the crossings of levels.
    np.testing.assert_allclose(found, gains, atol=0.05 * step)
    assert found[0] > 3 * step and max(found[1:]) < 0
    np.testing.assert_allclose([plateau.loss for plateau in plateaus], [10.5, 2.5, 0.5], rtol=0.03)
    assert [plateau.fate for plateau in plateaus] == ["kept", "kept", "kept"]
    assert [plateau.fate for plateau in compare(flow, flow).plateaus] == ["kept"] * 3


def test_the_distance_is_of_first_order_and_zero_to_itself(flow):
    itself = compare(flow, flow)
    assert np.max(itself.distances) < 1e-12
    coarse, fine = (beside(flow, gradient_descent(step)) for step in (4e-3, 2e-3))
    assert np.max(coarse.distances) / np.max(fine.distances) == pytest.approx(2, rel=0.05)
    assert coarse.distances[0] == 0 and coarse.distances[-1] < 1e-4


def test_fates(flow):
    """Large steps lengthen the first plateau; Adam runs over it; short runs stay on those they reach."""
    long = beside(flow, gradient_descent(0.1))
    assert [plateau.fate for plateau in long.plateaus] == ["lengthened", "left early", "left early"]
    assert "lengthened" in str(long) and "gradient descent, step 0.1" in str(long)
    swift = beside(flow, adam(1e-3), t1=5.0)
    # Every weight moves at speed one whatever its gradient: all modes grow at once, the loss never rests.
    assert [plateau.fate for plateau in swift.plateaus] == ["skipped"] * 3
    assert swift.other.losses[-1] < 1e-3
    short = beside(flow, momentum(1e-4), t1=3.0)
    assert [plateau.fate for plateau in short.plateaus] == ["lengthened", "kept", "not reached"]
    assert plot_comparison(short).get_xlabel() == "time t"


def test_bad_input_is_refused(flow):
    other = descend(
        with_units(MODEL, 2 * MODEL.u, MODEL.v), half_squared_error, DATA, optimiser=gradient_descent(0.01), t1=1.0
    )
    with pytest.raises(ValueError, match="different weights"):
        compare(flow, other)
    with pytest.raises(ValueError, match="skipped"):
        compare(flow, flow, skipped=-1.0)
