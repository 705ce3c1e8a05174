"""Derivatives through a flow against closed forms and finite differences."""

from functools import partial

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.flows import half_squared_error, statistics_loss
from saddlescope.flows.losses.statistics import SufficientStatistics
from saddlescope.flows.sensitivity.crossing import Crossing, crossing_time, dwell_time, flow_map
from saddlescope.flows.solvers.kvaerno import kvaerno5
from saddlescope.models import Dense, TwoLayer, linear, relu, tanh
from saddlescope.models.units import with_units
from scipy.optimize import brentq


class Modes(eqx.Module):
    """Aligned modes of a two-layer linear network: strengths u = first · second."""

    first: Array
    second: Array


def modes_loss(model, strengths):
    return 0.5 * jnp.sum((strengths - model.first * model.second) ** 2)


def balanced(scale, mask=(1.0,)):
    weights = scale * jnp.asarray(mask)
    return Modes(weights, weights)


def sigmoid(s, u0, t):
    """u' = 2u(s − u)."""
    return s / (1 + (s / u0 - 1) * jnp.exp(-2 * s * t))


def logistic_time(s, u0, u):
    """When the sigmoid that starts at u0 is at u."""
    return jnp.log((s / u0 - 1) / (s / u - 1)) / (2 * s)


@pytest.mark.slow
def test_flow_map_of_a_quadratic_is_the_matrix_exponential():
    matrix = jnp.array([[3.0, 1.0], [0.5, 0.2]])
    start, weights, time = jnp.array([1.0, -0.7]), jnp.array([0.3, 2.0]), 1.7

    def flown(theta, matrix, t1, **options):
        passage = flow_map(theta, lambda theta, a: theta @ a @ theta / 2, matrix, t1, **options)
        return weights @ passage.model

    def exact(theta, matrix, t1):
        return weights @ jax.scipy.linalg.expm(-t1 * (matrix + matrix.T) / 2) @ theta

    value, gradient = jax.jit(jax.value_and_grad(flown, (0, 1, 2)))(start, matrix, time)
    np.testing.assert_allclose(value, exact(start, matrix, time), rtol=1e-9)
    for ours, theirs in zip(gradient, jax.grad(exact, (0, 1, 2))(start, matrix, time), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    direction = jnp.array([[0.4, -1.0], [1.0, 0.3]])
    forward = lambda matrix: flown(start, matrix, time, adjoint=dfx.ForwardMode())  # noqa: E731
    tangent = jax.jit(lambda matrix: jax.jvp(forward, (matrix,), (direction,))[1])(matrix)
    np.testing.assert_allclose(tangent, jnp.sum(gradient[1] * direction), rtol=1e-10)


@pytest.mark.parametrize("solver", [None, kvaerno5()], ids=["Tsit5", "implicit"])
@pytest.mark.slow
def test_crossing_time_of_one_mode(solver):
    """Also of levels that are not reached by t_max, or were at the start: constants."""

    def ours(scale, s, level):
        passage = crossing_time(balanced(scale), modes_loss, s, level, 50.0, solver=solver)
        return passage.time, passage.reached

    def exact(scale, s, level):
        return logistic_time(s, scale**2, s - jnp.sqrt(2 * level))

    each = lambda function, **options: jax.vmap(  # noqa: E731
        jax.value_and_grad(function, (0, 1, 2), **options), (0, None, 0)
    )
    scales, levels = jnp.array([1e-4, 1e-3, 1e-1, 1e-3, 1e-3]), jnp.array([0.5, 0.5, 1.2, -1.0, 3.0])
    (times, reached), slopes = jax.jit(each(ours, has_aux=True))(scales, 2.0, levels)
    np.testing.assert_array_equal(reached, [True, True, True, False, True])
    np.testing.assert_array_equal(times[3:], [50.0, 0.0])
    np.testing.assert_array_equal(jnp.stack(slopes)[:, 3:], 0.0)
    true_times, true_slopes = jax.jit(each(exact))(scales[:3], 2.0, levels[:3])
    np.testing.assert_allclose(times[:3], true_times, rtol=1e-9)
    for mine, true in zip(slopes, true_slopes, strict=True):
        np.testing.assert_allclose(mine[:3], true, rtol=1e-8)


def dwell(*arguments):
    """((dwell time, whether reached), derivatives by initialisation scale and strengths) of two modes."""
    # Of one type, so that it is compiled once.
    return _dwell(*(np.asarray(argument, float) for argument in arguments))


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
def _dwell(scale, strengths, mask, upper, lower, t_max):
    passage = dwell_time(balanced(scale, mask), modes_loss, strengths, upper, lower, t_max)
    return passage.time, passage.reached


@pytest.mark.slow
def test_dwell_time_between_two_modes():
    """For ε ≪ 1 each mode's time moves by −1/s per e-fold of ε, and so the dwell time by −(1/s₂ − 1/s₁)."""
    s, levels, scale = np.array([3.0, 1.0]), np.array([0.7, 0.3]), 1e-3

    def loss(t, scale):
        return 0.5 * jnp.sum((s - sigmoid(s, scale**2, t)) ** 2)

    (value, reached), (slope, _) = dwell(scale, jnp.asarray(s), jnp.ones(2), *levels, 60.0)
    times = np.array([brentq(lambda t, at=at: float(loss(t, scale)) - at, 0, 20, xtol=1e-14) for at in levels])
    by_time, by_scale = jax.vmap(jax.grad(loss, (0, 1)), (0, None))(jnp.asarray(times), scale)
    assert reached
    np.testing.assert_allclose(value, np.diff(times)[0], rtol=1e-9)
    np.testing.assert_allclose(slope, np.diff(-by_scale / by_time)[0], rtol=1e-8)
    np.testing.assert_allclose(slope * scale, -(1 / s[1] - 1 / s[0]), rtol=2e-2)


@pytest.mark.slow
def test_dwell_time_of_one_mode_does_not_depend_on_where_it_came_from():
    # The second mode has nothing to learn.
    s, alone, levels = jnp.array([2.0, 0.0]), jnp.array([1.0, 0.0]), (0.5, 0.02)
    exact = lambda s: logistic_time(s, s - 1.0, s - 0.2)  # noqa: E731
    (value, reached), (by_scale, by_s) = dwell(1e-3, s, alone, *levels, 50.0)
    assert reached
    np.testing.assert_allclose(value, exact(2.0), rtol=1e-9)
    np.testing.assert_allclose(by_s[0], jax.grad(exact)(2.0), rtol=1e-8)
    # The crossing times themselves move by −1/s per e-fold of ε.
    assert abs(by_scale * 1e-3) < 1e-9


def test_dwell_time_until_t_max():
    s, alone, levels = jnp.array([2.0, 0.0]), jnp.array([1.0, 0.0]), (0.5, 0.02)
    upper = lambda scale: logistic_time(2.0, scale**2, 1.0)  # noqa: E731
    (value, reached), (by_scale, _) = dwell(1e-3, s, alone, *levels, 3.7)
    assert not reached
    np.testing.assert_allclose(value, 3.7 - upper(1e-3), rtol=1e-8)
    np.testing.assert_allclose(by_scale, -jax.grad(upper)(1e-3), rtol=1e-8)
    (value, reached), slopes = dwell(1e-3, s, alone, *levels, 1.0)
    assert not reached
    np.testing.assert_array_equal(np.hstack([value, *slopes]), 0.0)


@pytest.mark.slow
def test_crossing_time_and_the_covariance():
    r"""One mode of variance d and covariance s with the target, $\dot a = 2a(s - da)$, in any position."""
    d, s, a0, level = 1.6, 0.9, 1e-4, 0.05
    q = np.array([np.cos(0.7), np.sin(0.7)])
    second = d * np.outer(q, q) + 0.4 * (np.eye(2) - np.outer(q, q))
    model = TwoLayer(Dense(linear, inputs=2), width=1, scale=1.0, key=jax.random.key(0))
    model = with_units(model, jnp.sqrt(a0) * jnp.asarray(q)[None], jnp.full((1, 1), jnp.sqrt(a0)))

    def ours(second, cross):
        factor = jnp.linalg.cholesky(second / 2).T
        statistics = SufficientStatistics(factor, jnp.linalg.solve(second, cross)[None], jnp.zeros(()))
        return crossing_time(model, statistics_loss, statistics, level, 50.0).time

    def exact(d, s):
        return logistic_time(s / d * d, d * a0, s - jnp.sqrt(2 * level * d))

    value, gradient = jax.jit(jax.value_and_grad(ours, (0, 1)))(jnp.asarray(second), jnp.asarray(s * q))
    np.testing.assert_allclose(value, exact(d, s), rtol=1e-9)
    by_d, by_s = jax.grad(exact, (0, 1))(d, s)
    # Perturbations off the mode act at second order only.
    np.testing.assert_allclose(gradient[0], by_d * np.outer(q, q), rtol=1e-7, atol=1e-7 * abs(by_d))
    np.testing.assert_allclose(gradient[1], by_s * q, rtol=1e-7)


@pytest.fixture(scope="module")
def network():
    """A random tanh network, its data, and the crossing time as a function of both, with its gradient."""
    keys = jax.random.split(jax.random.key(3), 4)
    model = TwoLayer(Dense(tanh, inputs=3), width=4, scale=0.3, key=keys[0])
    x = jax.random.normal(keys[1], (12, 3))
    data = x, jnp.tanh(x @ jax.random.normal(keys[2], (3, 2)) * 2).sum(1, keepdims=True)

    def passage(inputs, adjoint=None):
        return crossing_time(inputs[0], half_squared_error, inputs[1], 0.3, 50.0, adjoint=adjoint)

    return (model, data), passage, jax.jit(jax.grad(lambda inputs: passage(inputs).time))((model, data))


def direction_like(tree):
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(5)
    return jax.tree.unflatten(structure, [jnp.asarray(rng.standard_normal(np.shape(leaf))) for leaf in leaves])


def inner(a, b):
    return sum(float(jnp.sum(x * y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.slow
def test_tanh_network_by_finite_differences(network):
    inputs, passage, gradient = network
    direction = direction_like(inputs)
    value = jax.jit(lambda inputs: passage(inputs).time)
    step = 1e-4
    moved = [jax.tree.map(lambda x, d, h=h: x + h * d, inputs, direction) for h in (-2 * step, -step, step, 2 * step)]
    times = [float(value(inputs)) for inputs in moved]
    difference = (times[0] - 8 * times[1] + 8 * times[2] - times[3]) / (12 * step)
    np.testing.assert_allclose(inner(gradient, direction), difference, rtol=1e-6)


@pytest.mark.slow
def test_forward_mode_agrees_and_the_model_stays_on_the_level(network):
    """L(θ(t*)) = level whatever the weights: the derivative of what the passage ends at is zero."""
    inputs, passage, gradient = network
    direction = direction_like(inputs)

    def arrival(inputs, adjoint):
        end = passage(inputs, adjoint)
        return end.time, half_squared_error(end.model, inputs[1])

    (_, loss), (slope, change) = jax.jit(
        lambda *pair: jax.jvp(lambda inputs: arrival(inputs, dfx.ForwardMode()), pair[:1], pair[1:])
    )(inputs, direction)
    np.testing.assert_allclose(slope, inner(gradient, direction), rtol=1e-10)
    np.testing.assert_allclose(loss, 0.3, rtol=1e-12)
    assert abs(change) < 1e-9 * abs(slope)


def test_too_few_steps_are_a_value():
    run = eqx.filter_jit(lambda model: crossing_time(model, modes_loss, 2.0, 0.5, 50.0, max_steps=5))
    passage = run(balanced(1e-3))
    assert not passage.reached
    assert passage.result == dfx.RESULTS.max_steps_reached
    assert 0 < passage.time < 3
    assert 0.5 < modes_loss(passage.model, 2.0) < 2.0


def test_kinks_have_times_but_no_derivatives():
    """Differentiated steps miss what the derivative gains where a unit crosses a kink."""
    model = TwoLayer(Dense(relu, inputs=1), width=2, scale=0.5, key=jax.random.key(0))
    data = jnp.array([[1.0], [-1.0]]), jnp.array([[1.0], [2.0]])
    time = lambda inputs: flow_map(inputs[0], half_squared_error, inputs[1], 0.1).time  # noqa: E731
    assert time((model, data)) == 0.1
    with pytest.raises(ValueError, match="not smooth"):
        jax.grad(time)((model, data))
    with pytest.raises(ValueError, match="not smooth"):
        jax.grad(lambda data: time((model, data)))(data)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda m: flow_map(m, modes_loss, 2.0, -1.0), "t1 must be positive"),
        (lambda m: crossing_time(m, modes_loss, 2.0, np.nan, 1.0), "level must be finite"),
        (lambda m: crossing_time(m, modes_loss, 2.0, 0.5, np.inf), "t_max must be positive and finite"),
        (lambda m: dwell_time(m, modes_loss, 2.0, 0.1, 0.5, 1.0), "falls from upper to lower"),
        (lambda m: flow_map(m, modes_loss, 2.0, 1.0, rtol=1e-18), "cannot be met"),
        (lambda m: flow_map(m, modes_loss, np.nan, 1.0), "NaN"),
        (lambda m: flow_map(m, modes_loss, 2.0, 1.0, max_steps=0), "max_steps"),
        (lambda m: flow_map(m, modes_loss, 2.0, 1.0, adjoint=dfx.BacksolveAdjoint()), "backwards"),
    ],
)
def test_bad_input(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(balanced(1e-3))


def test_a_crossing_speaks():
    crossing = Crossing(time=jnp.asarray(1.25), model=(), reached=jnp.asarray(True), result=dfx.RESULTS.event_occurred)
    assert str(crossing) == "reached at t = 1.25"
    late = eqx.tree_at(lambda crossing: crossing.reached, crossing, jnp.asarray(False))
    assert str(late) == "not reached by t = 1.25"
    failed = Crossing(time=late.time, model=(), reached=late.reached, result=dfx.RESULTS.max_steps_reached)
    assert str(failed).startswith("not reached by t = 1.25: ") and "maximum number of" in str(failed)
    told = []
    jax.make_jaxpr(lambda t: told.append(str(eqx.tree_at(lambda c: c.time, crossing, t))))(1.0)
    assert told == ["a crossing whose time is traced"]
