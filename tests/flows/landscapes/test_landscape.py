"""A landscape is the function that its model, loss and data make, and compares by what it computes."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.embeddings.embed import embed
from saddlescope.analysis.embeddings.narrow_landscape import added_positions, narrow_landscape
from saddlescope.analysis.embeddings.reduction import reduce
from saddlescope.flows import (
    GradientFlow,
    Landscape,
    flatten,
    half_squared_error,
    mean_squared_error,
    simulate,
    unflatten,
)
from saddlescope.flows.compilation.traced import trace
from saddlescope.flows.landscapes.taylor import _nested_series, gradient_series, third_products
from saddlescope.flows.losses.statistics import SufficientStatistics, reduced_data
from saddlescope.flows.solvers.stabilised.spectral_radius import radius_by_products
from saddlescope.models import Activation, Deep, Dense, TwoLayer, linear, quadratic, relu, tanh
from saddlescope.models.features import features_of
from saddlescope.models.units import map_units

from architectures import problem
from compilations import compiled

SCALE = 2.0


def network(width=5, seed=0, activation=tanh, scale=0.5):
    return TwoLayer(Dense(activation, inputs=2), width=width, scale=scale, key=jax.random.key(seed))


def sample(seed=0, count=7):
    x = np.random.default_rng(seed).standard_normal((count, 2))
    return x, np.sin(x[:, :1])


def test_value_and_derivatives_are_those_of_the_loss():
    model, data = network(), sample()
    landscape, theta = Landscape(model, mean_squared_error, data), flatten(model)
    loss = lambda p: mean_squared_error(unflatten(model, p), data)  # noqa: E731
    hessian = jax.hessian(loss)(jnp.asarray(theta))
    value, gradient = landscape.value_and_gradient(theta)
    np.testing.assert_allclose(value, loss(theta), rtol=1e-14)
    np.testing.assert_allclose(gradient, jax.grad(loss)(jnp.asarray(theta)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(landscape.hessian(theta), hessian, atol=1e-13)
    direction = np.arange(theta.size) / 7.0
    np.testing.assert_allclose(landscape.hessian_product(theta, direction), hessian @ direction, atol=1e-13)
    many = np.stack([direction, direction**2], axis=1)
    np.testing.assert_allclose(landscape.hessian_products(theta, many), hessian @ many, atol=1e-12)
    np.testing.assert_allclose(landscape.sharpness(theta), np.max(np.abs(np.linalg.eigvalsh(hessian))), rtol=0.1)
    values, gradients = landscape.values_and_gradients(np.stack([theta, 2 * theta]))
    np.testing.assert_allclose((values[0], *gradients[0]), (value, *gradient), rtol=1e-12, atol=1e-15)
    assert isinstance(value, np.ndarray)
    assert isinstance(gradient, np.ndarray)


@pytest.mark.parametrize("seed", range(5))
def test_sharpness_by_products(seed):
    """Of more than 300 parameters, and where nothing curves or is finite."""
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((400, 400))
    matrix = matrix + matrix.T
    landscape = Landscape(jnp.zeros(400), lambda x, data: x @ data @ x / 2, matrix)
    exact = float(np.max(np.abs(np.linalg.eigvalsh(matrix))))
    assert landscape.sharpness(np.zeros(400)) == pytest.approx(exact, rel=0.1)
    assert radius_by_products(lambda v: exact * v, 400, np.float64) == pytest.approx(exact, rel=1e-14)
    assert radius_by_products(np.zeros_like, 400, np.float64) == 0
    assert not np.isfinite(radius_by_products(lambda v: v * np.nan, 400, np.float64))


def test_a_landscape_says_what_it_is():
    landscape = Landscape(network(), mean_squared_error, sample())
    lines = ["Loss landscape of TwoLayer with 15 parameters", "loss: mean squared error", "data: 7×2, 7×1"]
    assert str(landscape).splitlines() == lines
    assert str(GradientFlow(landscape)).splitlines()[1:] == lines
    assert str(Landscape(network(), lambda model, data: jnp.sum(model.u), None)).splitlines()[1:] == [
        "loss: <lambda>",
        "data: none",
    ]


def test_what_computes_the_same_is_compiled_once():
    """Fresh lambdas over the same code, copies, other weights and other data of the same shapes compile nothing new."""

    def ready(seed, model):
        landscape = Landscape(model, lambda model, data: SCALE * half_squared_error(model, data), sample(seed))
        return landscape.gradient(landscape.theta)

    ready(0, network())
    copied = copy.deepcopy(network())
    own = network(seed=3, activation=Activation("mine", lambda x: jnp.tanh(x), law=tanh.law, check=False))
    with compiled() as programs:
        ready(1, copied)
        ready(2, own)
    assert programs == []


def test_what_computes_something_else_is_not_taken_for_the_same(monkeypatch):
    model, data = network(), sample()
    loss = lambda model, data: SCALE * half_squared_error(model, data)  # noqa: E731
    first = Landscape(model, loss, data)
    value = float(first.value(first.theta))
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    second = Landscape(model, lambda model, data: SCALE * half_squared_error(model, data), data)
    assert first.program.program != second.program.program
    np.testing.assert_allclose(second.value(second.theta), 1.5 * value, rtol=1e-14)
    assert float(first.value(first.theta)) == value


def test_constants_of_a_loss_are_not_compiled_in():
    """A loss that closes over an array is evaluated with that array, though it shares its program with others."""

    def with_weights(weights):
        return Landscape(network(), lambda model, data: jnp.sum(weights * jax.vmap(model)(data[0])[:, 0]), sample())

    one, two = (with_weights(jnp.full(7, factor)) for factor in (1.0, 2.0))
    first = one.value(one.theta)
    with compiled() as programs:
        second = two.value(two.theta)
    assert programs == []
    np.testing.assert_allclose(second, 2 * first, rtol=1e-14)


def test_rules_of_differentiation_count():
    """Two functions of equal values and names, whose rules differ, are two."""

    def ruled(slope):
        @jax.custom_jvp
        def function(x):
            return jnp.maximum(x, 0.0)

        @function.defjvp
        def rule(primals, tangents):
            return function(*primals), jnp.where(primals[0] > 0, slope, 0.0) * tangents[0]

        return trace(function, jnp.ones(3)).program

    assert ruled(1.0) == ruled(1.0)
    assert ruled(1.0) != ruled(2.0)


def test_arrays_in_full():
    """Programs that differ in the middle of a long constant index are two."""

    def picked(middle):
        index = tuple(np.r_[np.arange(1000), middle, np.arange(1000)].tolist())
        return trace(lambda x: jax.lax.full((2001,), 1.0) * x[jnp.asarray(index)], jnp.ones(2001))

    one, two = picked(5), picked(6)
    x = jnp.arange(2001.0)
    assert one(x)[1000] == 5.0
    assert two(x)[1000] == 6.0


def test_a_copied_model_keeps_its_features():
    """They follow from the activation's law, whoever made it: a copy's, and a user's own linear one with its slope."""
    x = np.random.default_rng(0).standard_normal((40, 2))
    data = x, x @ np.ones((2, 1))
    twice = Activation("twice", lambda z: 2 * z)
    squares = Activation("squares", lambda z: 3 * z**2)
    for activation in (copy.deepcopy(linear), twice, copy.deepcopy(quadratic), squares):
        model = copy.deepcopy(network(activation=activation))
        assert features_of(model) is not None
        loss, statistics = reduced_data(model, mean_squared_error, data)
        assert isinstance(statistics, SufficientStatistics)
        assert float(loss(model, statistics)) == pytest.approx(float(mean_squared_error(model, data)), rel=1e-12)
    deep = Deep(Dense(twice, inputs=2), widths=(3, 3), activation=twice, scale=0.5, key=jax.random.key(0))
    loss, statistics = reduced_data(deep, mean_squared_error, data)
    assert float(loss(deep, statistics)) == pytest.approx(float(mean_squared_error(deep, data)), rel=1e-12)


def flow_programs(make, runs):
    with compiled() as programs:
        for run in runs:
            simulate(make(run), mean_squared_error, sample(), t1=3.0, rtol=1e-6)
    return len(programs)


def print_programs(count):
    """How many programs the first flow needs, others that differ in their seed, and others that differ in width."""
    one = flow_programs(lambda seed: network(6, seed), [100])
    seeds = flow_programs(lambda seed: network(6, seed), range(12))
    print(one, seeds, flow_programs(network, range(21, 20 + count)))


@pytest.mark.parametrize("count", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_flows_that_differ_in_seed_or_width_hardly_compile(count):
    """In a process of their own, in which nothing has been compiled."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1]), *sys.path])}
    script = f"import conftest, test_landscape; test_landscape.print_programs({count})"
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    one, seeds, widths = map(int, ended.stdout.split())
    assert 1 <= one <= 12
    assert seeds == 0
    assert 1 <= widths <= 6 * (count - 1)


class Polynomial(eqx.Module):
    """Two numbers."""

    w: jax.Array


def test_gradient_series_of_a_polynomial():
    """L = x²y³ along a curve: the coefficients by NumPy's polynomials."""
    model = Polynomial(jnp.array([0.7, -0.4]))
    landscape = Landscape(model, lambda model, data: model.w[0] ** 2 * model.w[1] ** 3, None)
    curve = np.random.default_rng(0).standard_normal((3, 2))
    x, y = (np.polynomial.Polynomial([start, *curve[:, k]]) for k, start in enumerate((0.7, -0.4)))
    expected = np.stack([(2 * x * y**3).coef[:6], (3 * x**2 * y**2).coef[:6]], axis=1)
    series = gradient_series(landscape, landscape.theta, curve)
    np.testing.assert_allclose(series, expected, atol=1e-12)
    nested = _nested_series(landscape, landscape.theta, np.pad(curve, ((0, 2), (0, 0))))
    np.testing.assert_allclose(nested, expected, atol=1e-12)


def test_gradient_series_of_a_network_with_kinks():
    """ReLU has a derivative of its own: on one side of all kinks the series is the gradient to the last term."""
    landscape = Landscape(network(activation=relu), mean_squared_error, sample())
    theta, direction = landscape.theta, np.random.default_rng(1).standard_normal(landscape.theta.size)
    series, s = gradient_series(landscape, theta, direction[None]), 1e-4
    # The loss is a polynomial of degree four there, the gradient one of degree three.
    expected = sum(s**k * row for k, row in enumerate(series))
    np.testing.assert_allclose(landscape.gradient(theta + s * direction), expected, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(series[4:], 0, atol=1e-12)


def test_third_products():
    landscape = Landscape(network(), mean_squared_error, sample())
    theta, d = landscape.theta, np.random.default_rng(0).standard_normal((landscape.theta.size, 2))
    step = 1e-4
    for k in range(2):
        ahead, behind = (landscape.hessian_product(theta + sign * step * d[:, k], d[:, k]) for sign in (1, -1))
        expected = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(third_products(landscape, theta, d)[:, k], expected, rtol=1e-5, atol=1e-7)
    single = Landscape(
        jax.tree.map(lambda leaf: leaf.astype(np.float32), landscape.model), mean_squared_error, sample()
    )
    found = third_products(single, single.theta, d)
    np.testing.assert_allclose(found, third_products(landscape, theta, d), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "deep-linear", "attention", "softmax-attention"])
@pytest.mark.parametrize("spare", [(), (0,)])
@pytest.mark.fast_for("spare1-attention", "spare1-deep-linear", "spare1-linear", "spare1-tanh")
def test_a_narrow_network_in_the_wide_landscape(name, spare):
    """Value, gradient and Hessian are those of the narrow network by itself, spare zero units included."""
    model, data = problem(name)
    narrow = map_units(model, np.eye(2, 3) @ np.eye(3, _width(model)), np.eye(2, 3) @ np.eye(3, _width(model)))
    embedding = embed(narrow, "i", gamma_v=[0.4])
    wide = Landscape(embedding.wide(), mean_squared_error, data)
    inside = narrow_landscape(wide, embedding, spare=spare)
    alone = Landscape(inside.model, mean_squared_error, data)
    theta = alone.theta
    np.testing.assert_array_equal(theta, inside.theta)
    np.testing.assert_allclose(inside.value_and_gradient(theta)[0], alone.value(theta), rtol=1e-13)
    np.testing.assert_allclose(inside.gradient(theta), alone.gradient(theta), atol=1e-13)
    np.testing.assert_allclose(inside.hessian(theta), alone.hessian(theta), atol=1e-12)
    if spare:
        u, v = added_positions(inside)
        assert np.all(theta[u] == 0)
        assert np.all(theta[v] == 0)
        assert len({*u, *v}) == len(u) + len(v)


def _width(model):
    return reduce(model).p_in.shape[0]


def test_spare_units_use_the_room_of_the_wide_network():
    """Where a linear network has a direction to spare, or any a zero unit, nothing wider is made."""
    model, data = problem("linear")
    narrow = map_units(model, np.eye(2, 5), np.eye(2, 5))
    orthogonal = reduce(map_units(narrow, np.linalg.qr(np.ones((5, 2)) + np.eye(5, 2))[0], np.eye(5, 2)))
    landscape = Landscape(model, mean_squared_error, data)
    assert narrow_landscape(landscape, orthogonal, spare=(0,)).landscape is landscape
    zero = embed(narrow, "ii", count=3)
    wide = Landscape(zero.wide(), mean_squared_error, data)
    assert narrow_landscape(wide, zero, spare=(0,)).landscape is wide
