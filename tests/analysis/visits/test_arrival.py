"""A flow that was cut short has not arrived; separable data end in a channel along which the loss falls like 1/t."""

import jax.numpy as jnp
import numpy as np
import pytest
from diffrax import Tsit5
from saddlescope.analysis import itinerary
from saddlescope.analysis.critical_points.flat_channel import flat_channel
from saddlescope.flows import Landscape, simulate
from scipy.optimize import brentq
from scipy.special import expi

from vector import Vector


def valley(model, data):
    """A minimum at (1, 1), which x approaches like e^−t from beside a saddle at 0, and y like e^{−t/50}."""
    x, y = model.x
    return (1 - x**2) ** 2 / 8 + 0.02 * (y - 1) ** 2 / 2


@pytest.mark.parametrize(("t1", "name"), [(16.0, "not arrived"), (300.0, "minimum")])
def test_a_flow_cut_short_has_not_arrived(t1, name):
    """At t = 16 x has reached 1 but for 1e-3, and y has e^−0.32 to go; at t = 300 it has e^−6."""
    flow = simulate(Vector(jnp.array([0.01, 0.0])), valley, (), t1=t1)
    last = itinerary(flow)[-1]
    assert last.kind.name == name
    assert last.critical_point.distance == pytest.approx(np.exp(-t1 / 50), rel=0.02)


def test_the_time_to_arrive_is_about_right():
    """Beside the minimum x − 1 decays like e^−t, so that a thousandth of it takes log(1000 δ) more."""
    flow = simulate(Vector(jnp.array([0.5])), lambda model, data: jnp.sum((model.x - 1) ** 2) / 2, (), t1=1.0)
    kind = itinerary(flow)[-1].kind
    assert kind.name == "not arrived"
    distance = 0.5 * np.exp(-1.0)
    assert f"at distance {distance:.3g}" in kind.evidence
    assert f"takes {np.log(distance / 1e-3):.2g} more" in kind.evidence


def test_a_flow_cut_short_is_at_no_point_far_away():
    """From 1 on the way to a minimum at 100, at t = 0.01 and 2: it lies fifty times as far as the weights are large."""
    flow = simulate(Vector(jnp.array([1.0])), lambda model, data: jnp.sum((model.x - 100) ** 2) / 2, (), t1=0.01)
    kind = itinerary(flow)[-1].kind
    assert kind.name == "not arrived" and kind.index is None
    assert "lies at distance 98, and the weights are of size 1.99" in kind.evidence


def logistic(model, data):
    x, y = data
    return jnp.mean(jnp.log1p(jnp.exp(-y * (x @ model.x))))


def test_separable_data_end_in_a_flat_channel():
    """Logistic regression on one direction, w' = 1/(1 + e^w): L = log(1 + e^−w) and w + e^w = t + const, so L ~ 1/t."""
    data = (jnp.ones((1, 1)), jnp.ones(1))
    found = flat_channel(Landscape(Vector(jnp.array([2.0])), logistic, data))
    assert found is not None and found.name == "flat channel"
    assert found.exponent == pytest.approx(-1, abs=0.01)
    assert "like t^-1.0" in found.evidence


@pytest.mark.parametrize(("size", "rtol"), [(1, 1e-6), (400, 1e-4)])
def test_the_exponent_of_a_channel_does_not_depend_on_when_it_began(size, rtol):
    """On e^−x: e^x = t + const, and L = 1/(t + const) to all orders, wherever the flow is found."""
    for start in (0.5, 3.0):
        landscape = Landscape(Vector(jnp.full(size, start)), lambda m, _: jnp.sum(jnp.exp(-m.x)), ())
        assert flat_channel(landscape).exponent == pytest.approx(-1, abs=100 * rtol)


def test_channels_of_homogeneous_networks_fall_as_the_inverse_of_time_to_powers_of_its_logarithm():
    """On e^−uv, u = v, m = uv: 2 dt = e^m dm / m, so that t = Ei(m)/2 and (L − L₀)/‖∇L‖² = e^m / 2m."""
    m, pairs = 6.0, 200
    start = Vector(jnp.full(2 * pairs, m**0.5))
    channel = flat_channel(Landscape(start, lambda p, _: jnp.sum(jnp.exp(-p.x[:pairs] * p.x[pairs:])), ()))
    begin, end = expi(m) + np.exp(m) / m * (np.array([10**0.5, 10]) - 1)
    before, last = (brentq(lambda m, t=t: expi(m) - t, m, 4 * m) for t in (begin, end))
    exponent = -(end - begin) / (np.exp(last) / last - np.exp(before) / before)
    assert channel.theta[0] ** 2 == pytest.approx(last, rel=1e-3)
    assert channel.exponent == pytest.approx(exponent, rel=0.01) and exponent < -1.13


def test_a_channel_is_followed_by_the_solver_that_is_asked_for():
    landscape = Landscape(Vector(jnp.full(400, 1.0)), lambda m, _: jnp.sum(jnp.exp(-m.x)), ())
    chosen, explicit = flat_channel(landscape), flat_channel(landscape, solver=Tsit5())
    assert 0 < np.max(np.abs(chosen.theta - explicit.theta)) < 1e-3


def test_data_that_are_not_separable_end_at_a_minimum():
    x, y = jnp.array([[1.0], [1.0], [-0.5]]), jnp.array([1.0, 1.0, 1.0])
    flow = simulate(Vector(jnp.array([0.1])), logistic, (x, y), t1=300.0)
    assert itinerary(flow)[-1].kind.name == "minimum"


@pytest.mark.parametrize("order", [4, 6])
def test_slow_convergence_is_no_channel(order):
    """On x^p the loss falls like t^{−p/(p−2)}, which is not 1/t."""
    landscape = Landscape(Vector(jnp.array([0.3, 0.2])), lambda model, data: jnp.sum(model.x**order), ())
    assert flat_channel(landscape) is None
