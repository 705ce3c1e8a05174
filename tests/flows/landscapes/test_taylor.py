"""Taylor arithmetic against series known otherwise: polynomials in NumPy, Cauchy's integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from numpy.polynomial import Polynomial
from saddlescope.flows import Landscape
from saddlescope.flows.landscapes.power_series import FEW, product
from saddlescope.flows.landscapes.taylor import gradient_series, gradient_series_batch, relaxed_series
from saddlescope.flows.landscapes.taylor_rules import Series, evaluate
from saddlescope.models.quick import quickly_compiled

from compilations import compiled
from vector import Vector

ORDER = 11


def landscape(loss, at):
    return Landscape(Vector(jnp.asarray(at, float)), lambda model, data: loss(model.x), None)


def along(theta, curve, s):
    return theta + sum(s ** (k + 1) * row for k, row in enumerate(curve))


def assert_series_is_the_gradient(plane, theta, curve, sizes=(0.03, 0.1), sign=1):
    """The series, of order 11, against the gradient at some s: what is left is of order s¹²."""
    series = gradient_series(plane, theta, curve, ORDER)
    for s in sizes:
        expected = plane.gradient(along(theta, curve, sign * s))
        found = sum((sign * s) ** k * row for k, row in enumerate(series))
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13 + 10 * s**12)


# Functions of a real argument in JAX and of a complex one, regular within the unit circle.
FUNCTIONS = [
    (jnp.exp, np.exp),
    (lambda x: jnp.exp2(x), lambda x: 2**x),
    (jnp.expm1, np.expm1),
    (lambda x: jnp.log(2 + x), lambda x: np.log(2 + x)),
    (lambda x: jnp.log2(2 + x), lambda x: np.log2(2 + x)),
    (jnp.log1p, lambda x: np.log(1 + x)),
    (lambda x: jnp.sqrt(2 + x), lambda x: np.sqrt(2 + x)),
    (lambda x: jax.lax.rsqrt(2 + x), lambda x: 1 / np.sqrt(2 + x)),
    (lambda x: (2 + x) ** 1.7, lambda x: (2 + x) ** 1.7),
    (lambda x: (2 + x) ** x, lambda x: (2 + x) ** x),
    (lambda x: x**3.0, lambda x: x**3),
    (lambda x: x**7, lambda x: x**7),
    (lambda x: (2 + x) ** -3, lambda x: (2 + x) ** -3),
    (lambda x: x / (2 + x), lambda x: x / (2 + x)),
    (jnp.tanh, np.tanh),
    (jax.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    (jnp.tan, np.tan),
    (jnp.sin, np.sin),
    (jnp.cos, np.cos),
    (jnp.sinh, np.sinh),
    (jnp.cosh, np.cosh),
    (lambda x: jnp.arcsin(x / 2), lambda x: np.arcsin(x / 2)),
    (lambda x: jnp.arccos(x / 2), lambda x: np.arccos(x / 2)),
    (jnp.arctan, np.arctan),
    (jnp.arcsinh, np.arcsinh),
    (lambda x: jnp.arccosh(2 + x), lambda x: np.arccosh(2 + x)),
    (lambda x: jnp.arctanh(x / 2), lambda x: np.arctanh(x / 2)),
    (jax.lax.erf, scipy.special.erf),
    (jax.lax.erfc, scipy.special.erfc),
    # Smooth functions made of functions with a kink at zero.
    (jax.nn.softplus, lambda x: np.log(1 + np.exp(x))),
    (lambda x: jnp.log(jnp.cosh(x)), lambda x: np.log(np.cosh(x))),
    (lambda x: jnp.abs(x) * jnp.sign(x), lambda x: x),
]


def test_functions_by_cauchys_integral():
    """Twelve coefficients of each function along a curve of arguments, beginning also at exactly zero."""
    closed = jax.make_jaxpr(lambda x: jnp.stack([function(x) for function, _ in FUNCTIONS]))(0.0)
    series = quickly_compiled(lambda rows: evaluate(closed.jaxpr, closed.consts, Series(rows))[0].rows)
    radius, count = 0.5, 256
    circle = radius * np.exp(2j * np.pi * np.arange(count) / count)
    for start in (0.0, 0.3, -0.4):
        found = np.asarray(series(np.pad([start, 0.8, -0.3], (0, ORDER - 2))))
        for column, (_, function) in zip(found.T, FUNCTIONS, strict=True):
            values = function(start + 0.8 * circle - 0.3 * circle**2)
            expected = np.fft.fft(values).real[: ORDER + 1] / count / radius ** np.arange(ORDER + 1)
            np.testing.assert_allclose(
                column, expected, rtol=1e-11, atol=1e-15 * radius**-ORDER * np.max(np.abs(values))
            )


def powers(w):
    """Each way to write a power, on coordinates of its own."""
    return (
        w[0] ** 3
        + w[1] ** 7
        + jnp.power(w[2], 3)
        + w[3] ** 2.0 * w[4] ** 4.0
        + jnp.prod(w[5:10])
        + jnp.sum(jnp.cumprod(w[10:12]))
        + (w[12:14] @ w[12:14]) ** 3
        + jnp.square(w[14]) ** 2
    )


def test_powers_and_products_at_zero():
    """Their gradients by NumPy's polynomials, at zero to the last bit of nothing, and at a random point."""
    random = np.random.default_rng(0)
    curve = random.uniform(-0.5, 0.5, (3, 15))
    for theta in (np.zeros(15), random.standard_normal(15)):
        w = [Polynomial([theta[k], *curve[:, k]]) for k in range(15)]
        squares = w[12] ** 2 + w[13] ** 2
        expected = [3 * w[0] ** 2, 7 * w[1] ** 6, 3 * w[2] ** 2, 2 * w[3] * w[4] ** 4, 4 * w[3] ** 2 * w[4] ** 3]
        expected += [np.prod([w[k] for k in range(5, 10) if k != j]) for j in range(5, 10)]
        expected += [1 + w[11], w[10], 6 * w[12] * squares**2, 6 * w[13] * squares**2, 4 * w[14] ** 3]
        expected = np.stack([np.pad(p.coef, (0, 20))[: ORDER + 1] for p in expected], axis=1)
        found = gradient_series(landscape(powers, theta), theta, curve, ORDER)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 if np.any(theta) else 1e-16)


@pytest.mark.parametrize("axes", [0, 1, 2, (0, 2), (1, 2)])
def test_products_over_some_axes(axes):
    """Of half the sum of their squares the gradient is the product times the other factors, by NumPy's polynomials."""
    shape, random = (2, 3, 2), np.random.default_rng(0)
    theta, curve = random.uniform(1, 2, 12), random.uniform(-0.5, 0.5, (2, 12))
    w = np.array([Polynomial([theta[k], *curve[:, k]]) for k in range(12)]).reshape(shape)
    expected = []
    for place in np.ndindex(shape):
        along = tuple(slice(None) if axis in np.atleast_1d(axes) else place[axis] for axis in range(3))
        factors = np.ravel(w[along])
        others = [each for each in factors if each is not w[place]]
        expected.append(np.pad(np.prod([*factors, *others]).coef, (0, 20))[: ORDER + 1])

    @jax.custom_jvp
    def function(flat):
        return jnp.sum(jnp.prod(flat.reshape(shape), axis=axes) ** 2) / 2

    @function.defjvp
    def by_its_own_rule(primals, tangents):
        # JAX's own derivative of a product is made of multiplications alone.
        entries = primals[0].reshape(shape)
        slopes = jnp.prod(entries, axis=axes, keepdims=True) ** 2 / entries
        return function(*primals), jnp.sum(slopes.ravel() * tangents[0])

    found = gradient_series(landscape(function, theta), theta, curve, ORDER)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(), (2, 3), (FEW + 1,)])
def test_cauchy_products(shape):
    """Few numbers are multiplied in another way than many; a coefficient that is not finite spoils those from it on."""
    u, w = np.random.default_rng(0).standard_normal((2, 6, *shape))
    column = np.stack([np.convolve(a, b)[:6] for a, b in zip(u.reshape(6, -1).T, w.reshape(6, -1).T, strict=True)])
    np.testing.assert_allclose(
        product(jnp.asarray(u), jnp.asarray(w)), column.T.reshape(u.shape), rtol=1e-12, atol=1e-14
    )
    u[3] = np.inf
    spoilt = np.asarray(product(jnp.asarray(u), jnp.asarray(w)))
    np.testing.assert_allclose(spoilt[:3], column.T.reshape(u.shape)[:3], rtol=1e-12, atol=1e-14)
    assert not np.any(np.isfinite(spoilt[3:]))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_relaxed_curves(known, last):
    """L = (z + x² + x³)² + x⁶: the valley's floor is z = −x² − x³. Sorting has no rule: order 5 is then the last."""

    def loss(w):
        return (w[1] + w[0] ** 2 + w[0] ** 3) ** 2 + w[0] ** 6 + (0 if known else 0 * jnp.sum(jnp.sort(w)))

    plane, inverse = landscape(loss, np.zeros(2)), (np.eye(2), np.array([0.0, 0.5]))
    # What stands in the places to be relaxed is not read.
    start = np.array([[1.0, 0.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])[:last]
    curve, rows = relaxed_series(plane, np.zeros(2), start, inverse, last, ORDER)
    floor = np.array([[1.0, 0.0], [0.0, -1.0], [0.0, -1.0], *np.zeros((ORDER - 3, 2))])
    np.testing.assert_allclose(curve, np.where(np.arange(ORDER)[:, None] < last, floor, 0), atol=1e-14)
    np.testing.assert_allclose(rows, gradient_series(plane, np.zeros(2), curve, ORDER), atol=1e-13)
    if last >= 3:
        np.testing.assert_allclose(rows[:6], [*np.zeros((5, 2)), [6.0, 0.0]], atol=1e-13)
    assert np.all(np.isfinite(rows[6:]) == known)


def programming(w):
    """Indexing, branches, loops, convolutions and maxima."""
    looped = jax.lax.fori_loop(0, 3, lambda k, c: jnp.sin(c * w[k] + w[0]), w[1])
    branched = jax.lax.cond(w[0] > -1, lambda v: jnp.sum(v**3), lambda v: v[0], w)
    written = jnp.sum(w.at[0].set(w[1] ** 2).at[1].add(w[2]) ** 2)
    indexed = jnp.sum(w[jnp.array([0, 0, 2])] ** 3) + jnp.sum(jnp.cumsum(w) ** 4)
    convolved = jnp.sum(jnp.convolve(w, w) ** 2)
    soft = jax.nn.logsumexp(w) + jnp.sum(jax.nn.gelu(w))
    kept = jax.checkpoint(lambda v: jnp.sum(jnp.sin(v) ** 2))(w)
    return looped**2 + branched + written + indexed + convolved + soft + kept


@pytest.mark.parametrize("theta", [np.zeros(3), np.array([0.3, -0.2, 0.5])])
def test_programs(theta):
    curve = 0.3 * np.random.default_rng(0).standard_normal((2, 3))
    plane = landscape(programming, theta)
    for sign in (1, -1):  # without a kink: the same series on both sides
        assert_series_is_the_gradient(plane, theta, curve, sizes=(0.03, 0.06), sign=sign)


def test_at_a_kink_the_series_is_that_ahead():
    kinks = lambda w: (  # noqa: E731
        jnp.sum(jax.nn.relu(w) * w**2)
        + jnp.sum(jnp.where(w > 0, w**3, 2 * w**3))
        + jnp.max(w) ** 3
        + jnp.sum(jnp.maximum(w, w[::-1]) ** 3)
        + jnp.sum(jnp.clip(w, 0, 1) ** 2)
        + jnp.sum(jnp.abs(w) ** 3)
    )
    curve = np.array([[0.3, -0.2, 0.0], [0.1, 0.4, -0.5]])
    assert_series_is_the_gradient(landscape(kinks, np.zeros(3)), np.zeros(3), curve)
    assert_series_is_the_gradient(landscape(kinks, np.zeros(3)), np.zeros(3), -curve)


def test_a_network():
    random = np.random.default_rng(0)
    x, y = random.standard_normal((20, 2)), random.standard_normal((20, 1))

    def loss(w):
        return jnp.mean((jnp.tanh(x @ w[:6].reshape(2, 3)) @ w[6:].reshape(3, 1) - y) ** 2) / 2

    for theta in (np.zeros(9), random.standard_normal(9)):
        assert_series_is_the_gradient(landscape(loss, theta), theta, 0.5 * random.standard_normal((2, 9)), (0.02, 0.05))


def test_what_is_not_known_is_not_a_number():
    """Where there is no rule five orders are known; where the gradient is no number, none."""
    sorted_powers = lambda w: jnp.sum(jnp.sort(w) ** 3 * jnp.arange(3.0))  # noqa: E731
    theta, direction = np.array([0.3, -0.2, 0.5]), np.array([[1.0, 2.0, -1.0]])
    series = gradient_series(landscape(sorted_powers, theta), theta, direction, ORDER)
    weights = np.array([1.0, 0.0, 2.0])
    np.testing.assert_allclose(series[:3], 3 * weights * [theta**2, 2 * theta * direction[0], direction[0] ** 2])
    np.testing.assert_allclose(series[3:6], 0.0, atol=1e-12)
    assert np.all(np.isnan(series[6:]))
    norm = landscape(lambda w: jnp.linalg.norm(w) ** 4, np.zeros(3))
    assert np.all(np.isnan(gradient_series(norm, np.zeros(3), direction, ORDER)))


def test_a_linear_loss():
    series = gradient_series(landscape(lambda w: w @ np.arange(3.0), np.ones(3)), np.ones(3), np.ones((1, 3)))
    np.testing.assert_array_equal(series, np.concatenate([[np.arange(3.0)], np.zeros((5, 3))]))


def test_batches_are_one_program():
    random = np.random.default_rng(0)
    theta, curves = random.standard_normal(4), random.standard_normal((37, 2, 4))
    plane = landscape(lambda w: jnp.prod(w) + jnp.sin(w[0]) ** 3, theta)
    found = gradient_series_batch(plane, theta, curves, 7)
    assert found.shape == (37, 8, 4)
    with compiled() as programs:
        few = gradient_series_batch(plane, theta, curves[:3], 7)
        none = gradient_series_batch(plane, theta, curves[:0], 7)
    assert not programs and none.shape == (0, 8, 4)
    np.testing.assert_array_equal(few, found[:3])
    for k in (0, 20, 36):
        np.testing.assert_allclose(found[k], gradient_series(plane, theta, curves[k], 7), rtol=1e-12, atol=1e-13)
