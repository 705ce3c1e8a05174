"""Slow but nowhere critical: ghosts and flat channels are told from critical points, and from each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point, flat_channel, ghost, itinerary
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, tanh

from vector import Vector


def at(*x):
    return Vector(jnp.array(x))


def saddle_node(model, epsilon):
    """L′(x) = x² + ε for small x, and a minimum at x = −1 + O(ε): a saddle and a minimum meet as ε passes zero."""
    x, y = model.x
    return x**3 / 3 + x**4 / 4 + epsilon * x + y**2


@pytest.mark.parametrize("epsilon", [np.array(1e-4), np.array(1e-6)], ids=str)
def test_a_ghost_behind_a_saddle_node_bifurcation(epsilon):
    """The flow needs π/√ε to pass, to leading order, as ẋ = −(x² + ε) does."""
    landscape = Landscape(at(0.3 * epsilon**0.5, 0.01), saddle_node, epsilon)
    kind = classify(critical_point(landscape, drop=1e-3))
    assert kind.name == "ghost"
    assert "nonzero minimum" in kind.evidence
    found = ghost(landscape)
    assert found.speed == pytest.approx(epsilon, rel=10 * epsilon**0.5)
    assert found.passage == pytest.approx(np.pi / epsilon**0.5, rel=10 * epsilon**0.5)
    # The stationary point of the speed solves L″ = 2x + 3x² = 0.
    np.testing.assert_allclose(found.model.x, 0.0, atol=1e-6)


def test_before_the_bifurcation_there_is_a_saddle_and_no_ghost():
    epsilon = np.array(-1e-4)
    kind = classify(critical_point(Landscape(at(-0.0103, 0.0), saddle_node, epsilon)))
    assert kind.name == "strict saddle"


def test_an_itinerary_names_the_ghost_that_held_the_flow_up():
    epsilon = np.array(1e-4)
    flow = simulate(at(0.8, 0.5), saddle_node, epsilon, t1=600.0)
    visits = itinerary(flow)
    assert [visit.kind.name for visit in visits] == ["ghost", "minimum"]
    # Measured between x = ±0.3: π/√ε less the time spent farther out, 2/0.3 to leading order.
    inside = flow.ts[np.abs(flow.thetas[:, 0]) < 0.3]
    assert inside[-1] - inside[0] == pytest.approx(np.pi / epsilon**0.5 - 2 / 0.3, rel=0.02)


def logistic(model, data):
    x, sign = data
    return jnp.mean(jax.nn.softplus(-sign * (x @ model.x)))


def test_separable_classification_has_no_minimum():
    """The weights grow like ln t along the margin for ever (Soudry et al. 2018); the gradient vanishes at infinity."""
    x = jax.random.normal(jax.random.key(0), (20, 2))
    data = x, jnp.sign(x @ jnp.array([1.0, 0.5]))
    flow = simulate(at(0.1, -0.2), logistic, data, t1=1e5)
    last = itinerary(flow)[-1]
    assert last.kind.name == "flat channel"
    # In each decade of time by about as much, ln 10 over the margin.
    channel = flat_channel(flow.landscape, flow.thetas[-1])
    assert np.linalg.norm(channel.model.x) > np.linalg.norm(flow.final_model.x) + 2


@pytest.mark.slow
def test_two_units_that_become_a_derivative_run_to_infinity():
    """x / cosh² x is the limit of (tanh((1 + δ)x) − tanh(x))/δ: the flow goes there along a channel."""
    x = jnp.linspace(-3, 3, 61)[:, None]
    data = x, x / jnp.cosh(x) ** 2
    model = TwoLayer(Dense(tanh, inputs=1, outputs=1), width=2, scale=1.0, key=jax.random.key(0))
    model = eqx.tree_at(lambda m: m.parameters, model, (jnp.array([[1.2], [0.8]]), jnp.array([[2.0], [-2.0]])))
    flow = simulate(model, half_squared_error, data, t1=1e4, rtol=1e-7)
    found = flat_channel(flow.landscape, flow.thetas[-1])
    assert found is not None and found.name == "flat channel"
    opposite = [float(m.v[0, 0] - m.v[1, 0]) for m in (model, flow.final_model, found.model)]
    apart = [float(m.u[0, 0] - m.u[1, 0]) for m in (model, flow.final_model, found.model)]
    assert opposite[2] > 1.2 * opposite[1] > opposite[0]
    assert 0 < apart[2] < apart[1] / 1.2
    # What the two units make together, v δ, has converged.
    assert opposite[2] * apart[2] == pytest.approx(opposite[1] * apart[1], rel=0.05)


def floor(model, exponent):
    """A floor of some order p, Σ |x − 1|^p."""
    return jnp.sum(((model.x - 1) ** 2) ** (exponent / 2))


@pytest.mark.parametrize("exponent", [2.0, 4.0, 6.0])
def test_flows_that_converge_are_in_no_channel(exponent):
    """However slowly: on a floor of order p like t^(−1/(p − 2))."""
    assert flat_channel(Landscape(at(0.3, 0.4), floor, np.array(exponent))) is None


def test_flows_out_of_a_well_are_in_no_channel():
    assert flat_channel(Landscape(at(0.3, 0.4), lambda m, d: (m.x[0] ** 2 - 1) ** 2 + m.x[1] ** 2, ())) is None


def tensor_error(model, target):
    """Of three terms a ⊗ b ⊗ c."""
    error = jnp.einsum("ri,rj,rk->ijk", *model.x.reshape(3, 3, 3)) - target
    return jnp.sum(error**2) / 2


@pytest.mark.parametrize(("seed", "distance"), [(0, 0.05), (3, 0.2), (6, 0.2)])
def test_slow_convergence_to_a_degenerate_point_is_no_ghost(seed, distance):
    """With one of three directions learned, the others fall at third order: searches end before the speed is zero."""
    target = np.zeros((3, 3, 3))
    target[range(3), range(3), range(3)] = 3.0, 2.0, 1.0
    learned = np.zeros((3, 3, 3))
    learned[:, 0, 0] = 3 ** (1 / 3)
    start = learned.ravel() + distance * np.random.default_rng(seed).standard_normal(27)
    assert ghost(Landscape(at(*start), tensor_error, target)) is None


def test_slopes_are_no_ghosts():
    """The speed of ẋ = −(1 + x) has no minimum near x = 0 but the zero at −1."""
    assert ghost(Landscape(at(0.0, 0.0), lambda m, d: m.x[0] + m.x[0] ** 2 / 2 + m.x[1] ** 2, ())) is None


def decaying(model, data):
    """e^{−x}: x = ln(1 + t) moves by ln 10 in each decade of time."""
    return jnp.exp(-model.x[0]) + data * model.x[1] ** 2


def test_a_channel_in_single_precision():
    start = Vector(jnp.array([1.0, 0.0], jnp.float32))
    found = flat_channel(Landscape(start, decaying, np.asarray(0.5, np.float32)))
    assert found is not None and found.name == "flat channel"
