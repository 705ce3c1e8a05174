"""Ghosts and saddles of a prescribed index: what is accepted, what is not, and where the searches start."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point, ghost, high_index_saddle, saddle_below
from saddlescope.flows import Landscape

from separable import rotation, separable, well
from vector import Vector


def test_a_ghost_says_how_far_it_is():
    """P′ = ε + y² + y³ is stationary at 0; the flow takes π/√ε, and the slowest point is 0.3 away."""
    found = ghost(separable([0.0, 1e-3, 0.0, 1 / 3, 1 / 4], at=(0.3, 0.0, 0.0), seed=0))
    assert found.name == "ghost" and found.speed == pytest.approx(1e-3, rel=1e-9)
    assert "at distance 0.3;" in found.evidence
    # D³L(g, g, g)/2 is 1 + 3y at y = 0.
    assert found.passage == pytest.approx(np.pi / 1e-3**0.5, rel=1e-4)


@pytest.mark.parametrize(("c", "s"), [(1e-9, 1e6), (1e9, 1e-6)])
def test_a_ghost_does_not_depend_on_units(c, s):
    """The same in units c of the loss and s of the weights: the flow takes π/√ε in units s²/c of time."""
    terms = [0.0, 1e-3, 0.0, 1 / 3, 1 / 4]
    valley = [0.0, 0.0, c / s**2 / 2]
    slope = [c * term / s**k for k, term in enumerate(terms)]
    landscape = separable(slope, valley, valley, at=(0.3 * s, 0.0, 0.0), seed=0)
    found = ghost(landscape, curvature=c / s**2, gradient=c / s)
    assert found.name == "ghost" and found.speed == pytest.approx(1e-3 * c / s, rel=1e-9)
    assert found.passage == pytest.approx(np.pi / 1e-3**0.5 * s**2 / c, rel=1e-4)


def bent_slope(model, bend):
    """A slope whose steepness has a kink: L′ = 1 + bend · |x|."""
    x, y = model.x
    return x + bend * x * jnp.abs(x) / 2 + y**2 / 2


@pytest.mark.parametrize("bend", [0.03, 3e-5])
def test_a_kink_of_the_speed_is_no_ghost(bend):
    """The speed is least at the kink without being stationary there, however small its slope beside it, the bend."""
    landscape = Landscape(Vector(jnp.array([0.01, 0.0])), bent_slope, np.asarray(bend))
    assert ghost(landscape) is None and ghost(landscape, curvature=1e3) is None


WELLS = well(3.0), well(2.0), well(1.0)


def test_what_has_not_settled_is_not_accepted():
    """Beside a saddle of index 1 with no time to move: its gradient there is 2e-3, not below 1e-5."""
    beside = separable(*WELLS, at=(1.0, 1.0, 1e-3), seed=2)
    point = high_index_saddle(beside, 1, t1=1e-9)
    assert point.gradient_norm < 1e-12 and point.distance == pytest.approx(1e-3, rel=1e-6)
    assert not point.converged
    assert high_index_saddle(beside, 1).converged


@pytest.mark.parametrize(("away", "accepted"), [(5e-3, True), (0.02, False), (0.3, False)])
def test_a_point_far_from_where_the_dynamics_ended_is_not_accepted(away, accepted):
    """Where every gradient counts as small they end where they begin, and Newton's method may move by 1e-2."""
    point = high_index_saddle(separable(*WELLS, at=(0.0, 0.0, away), seed=2), 1, gradient_scale=1e6)
    assert point.gradient_norm < 1e-4 and point.distance == pytest.approx(away, rel=1e-3)
    assert point.converged == accepted


@pytest.mark.parametrize("size", [1.0, 0.1])
def test_the_search_below_a_saddle_starts_along_the_first_direction_that_it_does_not_climb(size):
    """From index 3, with no time to move, for index 1: a hundredth along the second eigenvector, of curvature −2."""
    top = critical_point(separable(*WELLS, seed=2))
    kind = classify(top)
    assert kind.index == 3
    below = saddle_below(top, 1, kind=kind, size=size, t1=1e-9)
    start = rotation(2) @ below.start
    np.testing.assert_allclose(np.abs(start), [0, 0.01 * size, 0], atol=1e-8)
