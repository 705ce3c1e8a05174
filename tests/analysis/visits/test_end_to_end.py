"""From random small weights to the itinerary of a linear network whose every number is known."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import itinerary
from saddlescope.analysis.found_units import with_units_along
from saddlescope.analysis.visits.escape import escape
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear

S = np.array([4.0, 2.0, 1.0])
WIDTH = 4


@pytest.fixture(scope="module")
def visits():
    random = np.random.default_rng(5)
    u, v = (np.linalg.qr(random.standard_normal((3, 3)))[0] for _ in range(2))
    x = np.sqrt(3) * np.eye(3)
    data = jnp.asarray(x), jnp.asarray(x @ (u * S @ v.T).T)
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=WIDTH, scale=1e-6, key=jax.random.key(2))
    flow = simulate(model, half_squared_error, data, t1=40.0, solver=dfx.Dopri8(), rtol=1e-12, atol=1e-19)
    return itinerary(flow)


def test_visits_are_the_greedy_saddles(visits):
    assert [visit.effective_width.width for visit in visits] == [0, 1, 2, 3]
    assert [visit.kind.name for visit in visits] == 3 * ["strict saddle"] + ["minimum"]
    for r, visit in enumerate(visits):
        assert visit.critical_point.loss == pytest.approx(0.5 * np.sum(S[r:] ** 2), rel=1e-12, abs=1e-20)
        assert visit.critical_point.gradient_norm < 1e-14
        index, nullity = (WIDTH - r) * (3 - r), r**2 + (WIDTH - r) * 2 * r
        assert (visit.kind.spectrum.index, visit.kind.spectrum.nullity) == (index, nullity)


def test_spectrum_at_each_visit(visits):
    for r, visit in enumerate(visits):
        values = [S[a] + S[b] for a in range(r) for b in range(r)] + (r**2 + (WIDTH - r) * 2 * r) * [0.0]
        values += [S[i] + sign * S[j] for i in range(r) for j in range(r, 3) for sign in (1, -1)]
        values += [sign * S[j] for j in range(r, 3) for sign in (1, -1) for _ in range(WIDTH - r)]
        np.testing.assert_allclose(visit.kind.spectrum.eigenvalues, np.sort(values), atol=1e-9)


def test_escapes_follow_the_next_mode(visits):
    for r, visit in enumerate(visits[:-1]):
        left = visit.escape
        assert left.rate_predicted == pytest.approx(S[r], rel=1e-9)
        assert left.rate_measured == pytest.approx(S[r], rel=5e-3)
        assert left.e_folds > 3
        assert left.overlap > 0.999
        assert left.dwell_predicted == pytest.approx(visit.passage.dwell, rel=0.03)
        assert not left.seeded_by_rounding
    assert visits[-1].escape is None


def test_the_table_prints_every_visit(visits):
    text = str(visits)
    assert text.count("strict saddle") == 3
    assert text.count("minimum") == 1
    assert "stays" in text


class ThreeLayers(eqx.Module):
    """A deep linear network without declared units."""

    weights: list[Array]

    def __call__(self, x):
        first, second, third = self.weights
        return third @ (second @ (first @ x))


def test_saddles_of_a_deep_network_are_degenerate_of_order_three():
    """Balanced layers: no negative eigenvalue, and still no minimum (Achour, Malgouyres & Gerchinovitz 2024)."""
    random = np.random.default_rng(0)
    bases = [np.linalg.qr(random.standard_normal((2, 2)))[0] for _ in range(4)]
    layers = [jnp.asarray(bases[k + 1] @ np.diag([0.05, 0.04]) @ bases[k].T) for k in range(3)]
    x = np.sqrt(2) * np.eye(2)
    data = jnp.asarray(x), jnp.asarray(x @ (bases[3] @ np.diag([3.0, 1.5]) @ bases[0].T).T)
    flow = simulate(ThreeLayers(layers), half_squared_error, data, t1=100.0)
    visits = itinerary(flow)
    assert [visit.kind.name for visit in visits] == ["degenerate saddle", "degenerate saddle", "minimum"]
    assert [visit.kind.order for visit in visits] == [3, 3, None]
    np.testing.assert_allclose([v.critical_point.loss for v in visits], [5.625, 1.125, 0], atol=1e-8)
    for visit, strength in zip(visits, [3.0, 1.5], strict=False):
        assert visit.kind.spectrum.index == 0
        assert visit.escape.order == 3
        # F₃ = −s a₁a₂a₃ is steepest where all three are 1/√3; balanced layers of different sizes come near from below.
        assert visit.escape.rate_predicted == pytest.approx(strength / 3**0.5, rel=1e-6)
        assert 0.9 < visit.escape.overlap <= 1 + 1e-9
        assert 0.9 * visit.escape.rate_predicted < visit.escape.rate_measured < 1.001 * visit.escape.rate_predicted
    assert "degenerate saddle" in str(visits)
    # A search that has missed the steepest descent by a tenth is found out by the flow.
    visit, form = visits[0], visits[0].kind.added_unit_form
    kind = eqx.tree_at(lambda kind: kind.added_unit_form.steepest, visit.kind, 0.9 * form.steepest)
    left = escape(with_units_along(flow), visit.passage, visit.critical_point, kind, visit.loss - visits[1].loss)
    assert left.rate_predicted is None and left.overlap is None
    assert left.rate_measured == pytest.approx(visit.escape.rate_measured, rel=1e-12)
