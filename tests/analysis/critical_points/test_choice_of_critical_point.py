"""Which of several critical points a plateau belongs to, and when one counts as found: comparisons from both sides."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point
from saddlescope.flows import Landscape
from saddlescope.models import Dense, TwoLayer, tanh

from separable import rotation, separable, well


def place(point, seed=None):
    """Where it is, in the coordinates of the polynomials."""
    return rotation(seed) @ point.theta


@pytest.mark.parametrize(
    ("start", "drop", "found", "converged"),
    [
        # At y = 0.45 the loss is 0.159; the saddle at 0 has 0.25, the minimum at 1 none: ±20 % of the drop decide.
        (0.45, None, 0.0, True),
        (0.45, 0.50, 0.0, True),
        # The plateau's loss is neither's: the nearer is returned, and not called found.
        (0.45, 0.40, 0.0, False),
        (0.56, 0.50, 1.0, False),
        # At 0.56 the loss is 0.1178: the saddle's is 0.1322 away, the minimum's 0.1178.
        (0.56, 0.62, 1.0, True),
        (0.56, 0.68, 0.0, True),
    ],
)
def test_a_critical_point_has_the_loss_of_its_plateau(start, drop, found, converged):
    point = critical_point(separable(well(), at=(start, 0.0, 0.0), seed=6), drop=drop)
    np.testing.assert_allclose(place(point, 6), [found, 0, 0], atol=1e-9)
    assert point.converged == converged and point.refined
    assert point.loss == pytest.approx((found**2 - 1) ** 2 / 4, abs=1e-12)
    assert point.distance == pytest.approx(abs(found - start), rel=1e-8)
    np.testing.assert_allclose(rotation(6) @ point.start, [start, 0, 0], atol=1e-12)
    assert str(point).startswith("critical point" if converged else "not the critical point sought")


def test_a_critical_point_of_another_loss_is_told_by_its_loss():
    """Its gradient of zero alone would speak for it."""
    point = critical_point(separable(well(), at=(0.45, 0.0, 0.0)), drop=0.4)
    kind = classify(point, follow_channels=False)
    assert kind.name == "no critical point"
    assert "at distance 0.45" in kind.evidence and "and loss 0.25, and the closest approach 0.159" in kind.evidence


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_gradient_is_zero_by_the_flow_s_largest(share, scale):
    """Behind a saddle-node, P′ = ε + y² + y³, the smallest speed is ε: zero up to 1e-10 of what is large.

    All other components of the gradient are zero, and the minimum at −1 has another loss."""
    smallest = share * 1e-10 * scale
    landscape = separable([0.0, smallest, 0.0, 1 / 3, 1 / 4])
    point = critical_point(landscape, drop=1e-3, gradient_scale=scale)
    assert point.gradient_norm == pytest.approx(smallest, rel=1e-6)
    assert point.converged == (share < 1)


def test_the_nearest_zero_of_the_gradient_whatever_its_index():
    """From beside each kind of critical point of three wells, also where they are flat: to that point, to rounding."""
    random = np.random.default_rng(0)
    for target in ((0, 0, 0), (1, 0, 0), (-1, 1, 0), (1, -1, -1)):
        start = np.array(target) + random.uniform(-0.2, 0.2, 3)
        point = critical_point(separable(well(1.0), well(1e-4), well(30.0), at=start, seed=7))
        np.testing.assert_allclose(place(point, 7), target, atol=1e-8)
        assert point.converged and point.gradient_norm < 1e-12


def test_a_step_that_goes_too_far_is_taken_back():
    """From the flank of the deepest of three wells the second step goes up the other; shorter steps lead to (1, 0, 0).

    The descent would end at (1, 1, −1)."""
    point = critical_point(separable(well(10.0), well(0.2), well(0.01), at=(0.66, 0.08, -0.57)))
    np.testing.assert_allclose(place(point), [1, 0, 0], atol=1e-8)


def test_singular_points_are_found_where_newton_is_slow():
    """y⁴ from 0.5: each step leaves two thirds of y, down to where the gradient, 4y³, is zero to 1e-10."""
    point = critical_point(separable([0, 0, 0, 0, 1.0], at=(0.5, 0.3, 0.0)))
    assert point.converged
    assert abs(place(point)[0]) <= (1e-10 / 4) ** (1 / 3) and abs(place(point)[1]) < 1e-9


def test_what_has_no_critical_point_returns_no_worse_than_the_start():
    """A slope: no zero anywhere, the loss falls without end; the gradient of what is returned is finite."""
    with np.errstate(all="ignore"):
        point = critical_point(separable([0.0, 1.0], at=(0.3, 0.2, 0.0)), drop=1e-6)
    assert not point.converged and point.gradient_norm == pytest.approx(1.0)
    assert np.all(np.isfinite(point.theta))


def one_unit(model, depth):
    """A double well of the incoming weight, from whose maximum the valley falls by depth/4, and (v − 1)²/2."""
    u, v = model.u[0, 0], model.v[0, 0]
    return depth * (u**2 - 1) ** 2 / 4 + (v - 1) ** 2 / 2


MODEL = TwoLayer(Dense(tanh, inputs=1, outputs=1), width=1, scale=1.0, key=jax.random.key(0))


@pytest.mark.parametrize("depth", [1.0, 1e-5])
def test_in_a_valley_of_a_narrow_network_descent_says_where_the_flow_is_heading(depth):
    """The saddle of the valley, at u = 0, is what the flow is at only within 1e-3 of it, or where the loss says so."""

    def from_(u, drop=None):
        model = eqx.tree_at(lambda m: m.parameters, MODEL, (jnp.array([[u]]), jnp.array([[1.0]])))
        point = critical_point(Landscape(model, one_unit, np.asarray(depth)), drop=drop)
        assert point.converged and point.distance == pytest.approx(np.linalg.norm(point.theta - [u, 1.0]))
        np.testing.assert_allclose(point.model.v, 1.0, atol=1e-6)
        return abs(float(point.model.u[0, 0]))

    assert from_(0.3) == pytest.approx(1.0, abs=1e-4)
    assert from_(2e-3) == pytest.approx(1.0, abs=1e-4)
    assert from_(5e-4) == pytest.approx(0.0, abs=1e-4)
    assert from_(0.8) == pytest.approx(1.0, abs=1e-4)
    # A plateau at the height of the saddle, to a fifth of the drop.
    assert from_(0.3, drop=0.5 * depth) == pytest.approx(0.0, abs=1e-4)


def test_a_valley_that_is_flat_to_rounding_has_no_saddle():
    """Negative curvature below 1e-7 of the largest is none: the nearest zero is taken as if it were a minimum."""
    model = eqx.tree_at(lambda m: m.parameters, MODEL, (jnp.array([[0.3]]), jnp.array([[1.0]])))
    point = critical_point(Landscape(model, one_unit, np.asarray(9e-8)))
    assert point.converged and abs(float(point.model.u[0, 0])) < 1e-2
