"""Closest approaches of a speed curve, and the noise floor that keeps false ones out."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import hessian, itinerary, plot
from saddlescope.analysis.visits.noise import largest_curvature, noise_floor
from saddlescope.analysis.visits.passages import _prominent_maxima, closest_approaches, passages
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear, relu
from saddlescope.models.units import with_units
from scipy.signal import find_peaks

TIMES = np.linspace(0, 1, 401)


@given(depths=st.lists(st.floats(0.6, 6), min_size=1, max_size=6))
def test_every_prominent_minimum_is_found(depths):
    """|sin| hills of one decade or more between valleys of the given depths."""
    knots = np.linspace(0, 1, 2 * len(depths) + 1)
    heights = np.zeros(len(knots))
    heights[1::2] = -np.array(depths)
    speeds = 10 ** np.interp(TIMES, knots, heights)
    found = closest_approaches(speeds)
    assert len(found) == len(depths)
    np.testing.assert_allclose(TIMES[found], knots[1::2], atol=2 / 400)


def test_shallow_minima_are_left_out():
    knots = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    speeds = 10 ** np.interp(TIMES, knots, [0, -2, -1.6, -2.5, 0, 0])
    np.testing.assert_array_equal(closest_approaches(speeds), [240])
    np.testing.assert_array_equal(closest_approaches(speeds, prominence=0.3), [80, 240])


def test_start_and_end_count():
    falling = closest_approaches(10 ** np.interp(TIMES, [0, 0.5, 1], [-3, 0, -3]))
    np.testing.assert_array_equal(falling, [0, 400])


def test_jitter_under_the_floor_is_one_visit():
    random = np.random.default_rng(0)
    speeds = 10 ** np.interp(TIMES, [0, 0.2, 0.5, 1], [-2, 0, -9, -9])
    noisy = speeds * 10 ** random.uniform(-2, 2, 401) * (TIMES > 0.5) + speeds * (TIMES <= 0.5)
    assert len(closest_approaches(noisy)) > 20
    found = closest_approaches(noisy, 1e-6)
    np.testing.assert_array_equal(found, [0, np.argmax((noisy <= 1.0001e-6) & (TIMES > 0.2))])


@pytest.fixture(scope="module")
def flow():
    x, y = jnp.array([[1, 0.5], [-1, 2]]), jnp.array([[1.0], [-1.0]])
    model = TwoLayer(Dense(relu, inputs=2), width=20, scale=1e-6, key=jax.random.key(1))
    return simulate(model, half_squared_error, (x, y), t1=2000.0)


def test_a_long_converged_tail_is_one_visit(flow):
    visits = passages(flow)
    assert len(visits) == 3
    assert visits[-1].departure is None and visits[-1].dwell is None
    assert visits[-1].at_noise and not visits[0].at_noise
    for before, after in zip(visits, visits[1:], strict=False):
        assert before.arrival <= before.time <= before.departure <= after.arrival <= after.time


def test_curvature_and_floor():
    x = jax.random.normal(jax.random.key(0), (20, 3))
    model = TwoLayer(Dense(linear, inputs=3, outputs=2), width=4, scale=0.5, key=jax.random.key(1))
    data = x, x @ jax.random.normal(jax.random.key(2), (3, 2))
    flow = simulate(model, half_squared_error, data, t1=5.0)
    exact = np.max(np.abs(np.linalg.eigvalsh(hessian(Landscape(flow.final_model, half_squared_error, data)))))
    assert largest_curvature(flow) == pytest.approx(exact, rel=0.1)
    assert np.all(noise_floor(flow) >= exact * flow.stats["rtol"] * np.linalg.norm(flow.thetas, axis=1))


def test_crossing_times_follow_the_loss(flow):
    """At departure a tenth of the drop to the next visit is done."""
    first, second, _ = passages(flow)
    levels = flow.losses[[first.index, second.index]]
    loss = flow.record(first.departure).losses[0]
    assert (levels[0] - loss) / (levels[0] - levels[1]) == pytest.approx(0.1, rel=1e-4)
    loss = flow.record(second.arrival).losses[0]
    assert (levels[0] - loss) / (levels[0] - levels[1]) == pytest.approx(0.9, rel=1e-4)


def test_a_flow_without_steps_is_refused(flow):
    stuck = dataclasses.replace(flow, steps=flow.steps[:1])
    with pytest.raises(ValueError, match="nothing to analyse: the flow took no step"):
        itinerary(stuck)


@given(seed=st.integers(0, 10**6), prominence=st.floats(0.1, 3.0))
def test_prominent_maxima_are_those_of_scipy(seed, prominence):
    """Where no two tops are equal; SciPy counts equal ones as two, however shallow the valley between them."""
    random = np.random.default_rng(seed)
    heights = np.repeat(np.cumsum(random.standard_normal(60)), random.integers(1, 4))
    wall = [heights.min() - 2 * prominence - 1]
    _, found = find_peaks(np.concatenate([wall, heights, wall]), prominence=prominence, plateau_size=1)
    assert _prominent_maxima(heights.tolist(), prominence) == list(found["left_edges"] - 1)


def test_equal_minima_with_nothing_between_them_are_one_visit():
    np.testing.assert_array_equal(closest_approaches(10 ** np.array([0.0, -3.0, -2.9, -3.0, 0.0])), [1])


@pytest.mark.parametrize(("scale", "kind", "index"), [(0.0, "strict saddle", 2), (1e-3, "minimum", 0)])
def test_a_flow_that_starts_at_a_critical_point_stays_and_is_classified(scale, kind, index):
    """Zero weights are a saddle of a linear network; at the minimum u = v = 1 the speed is exactly zero, too."""
    model = TwoLayer(Dense(linear, inputs=1), width=2 if scale == 0 else 1, scale=scale, key=jax.random.key(0))
    if scale:
        model = with_units(model, np.ones((1, 1)), np.ones((1, 1)))
    data = (jnp.ones((1, 1)), jnp.ones((1, 1)))
    flow = simulate(model, half_squared_error, data, t1=1.0)
    assert np.all(flow.speeds == 0)
    (visit,) = itinerary(flow)
    assert (visit.kind.name, visit.kind.index, visit.passage.departure) == (kind, index, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plt.close(plot(flow, (visit,)))
