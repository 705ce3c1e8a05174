"""Saddles of a prescribed index: all of a known landscape's, and one that no flow from small weights visits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point, high_index_saddle, saddle_below, spectrum
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, linear

from vector import Vector


def wells(model, tilt):
    r"""$\frac14 \sum (x_i^2 - 1)^2 + x \cdot t$: the product of three double wells, 27 critical points."""
    return jnp.sum((model.x**2 - 1) ** 2) / 4 + model.x @ tilt


TILT = jnp.array([0.05, -0.1, 0.02])


def roots(tilt):
    """Zeros of x³ − x + t, by whether they are the maximum between the wells."""
    found = np.sort(np.roots([1.0, 0.0, -1.0, float(tilt)]).real)
    return {True: [found[1]], False: [found[0], found[2]]}


# Each index compiles dynamics of its own.
@pytest.mark.parametrize("index", [1, 2, 3])
@pytest.mark.fast_for("3")
def test_every_index_of_a_product_of_double_wells(index):
    """A saddle of index k has k coordinates at the maxima of their wells; the start is generic."""
    for seed in range(3):
        start = Vector(0.4 * jax.random.normal(jax.random.key(seed), (3,)))
        point = high_index_saddle(Landscape(start, wells, TILT), index)
        assert point.converged
        assert spectrum(point.landscape, point.theta).index == index
        top = [np.min(np.abs(x - roots(t)[True])) < 1e-8 for x, t in zip(point.theta, TILT, strict=True)]
        assert sum(top) == index
        for x, t, at_top in zip(point.theta, TILT, top, strict=True):
            assert np.min(np.abs(x - np.array(roots(t)[at_top]))) < 1e-8


def test_directions_keep_their_lengths_however_fast_they_turn():
    """At a rate γ = 50 lengths that grew with the curvature would leave the range of numbers on the way."""
    start = Vector(0.4 * jax.random.normal(jax.random.key(0), (3,)))
    slow, fast = (high_index_saddle(Landscape(start, wells, TILT), 3, rate=rate) for rate in (1.0, 50.0))
    assert slow.converged and fast.converged
    np.testing.assert_allclose(fast.theta, slow.theta, atol=1e-9)


def test_what_climbs_without_end_is_not_called_a_saddle():
    """Below index 3 everywhere the loss rises along the third direction for ever."""
    start = Vector(jnp.array([1.5, 1.4, -1.6]))
    assert not high_index_saddle(Landscape(start, wells, TILT), 3).converged


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.slow
def test_siblings_of_the_visited_saddles_of_a_linear_network(mode):
    r"""From the origin, index 12, the dynamics of index 7 and 8 find {2} and {3}: index $(H - 1)(D - 1)$ plus swaps."""
    strengths = np.array([4.0, 2.0, 1.0])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    x = np.sqrt(3) * np.eye(3)
    data = jnp.asarray(x), jnp.asarray(x @ (rotation * strengths) @ rotation.T)
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=4, scale=0.0, key=jax.random.key(0))
    origin = critical_point(Landscape(model, half_squared_error, data))
    kind = classify(origin)
    index = 6 + mode
    point = saddle_below(origin, index, kind=kind, size=2.0)
    assert point.converged
    others = np.delete(strengths, mode)
    assert point.loss == pytest.approx(np.sum(others**2) / 2, rel=1e-9)
    assert spectrum(point.landscape, point.theta).index == index
    # The map is the one mode, and nothing else.
    u, v = np.asarray(point.model.u), np.asarray(point.model.v)
    expected = strengths[mode] * np.outer(rotation[:, mode], rotation[:, mode])
    np.testing.assert_allclose(v.T @ u, expected, atol=1e-8)


def test_bad_indices_are_refused():
    start = Vector(jnp.ones(3))
    for index in (0, 4):
        with pytest.raises(ValueError, match="index must be between 1 and the number of parameters, 3"):
            high_index_saddle(Landscape(start, wells, TILT), index)
    point = critical_point(Landscape(start, wells, TILT))
    with pytest.raises(ValueError, match="below that of the saddle, 0"):
        saddle_below(point, 1)


def measured_wells(model, data):
    """The wells in units of loss and weights."""
    tilt, loss_unit, weight_unit = data
    return loss_unit * wells(Vector(model.x / weight_unit), tilt)


@pytest.mark.parametrize(("c", "s"), [(1e-9, 1e-6), (1e6, 1e3)])
def test_a_saddle_of_an_index_does_not_depend_on_units(c, s):
    start = Vector(0.4 * s * jax.random.normal(jax.random.key(1), (3,)))
    landscape = Landscape(start, measured_wells, (TILT, np.asarray(c), np.asarray(s)))
    point = high_index_saddle(landscape, 1, size=s, gradient_scale=c / s)
    assert point.converged and spectrum(landscape, point.theta).index == 1
    top = [np.min(np.abs(x / s - roots(t)[True])) < 1e-8 for x, t in zip(point.theta, TILT, strict=True)]
    assert sum(top) == 1
