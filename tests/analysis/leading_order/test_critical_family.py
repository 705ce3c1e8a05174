r"""Families of critical points, and degenerate points that are none, in any units.

The losses are $\sum_t (a_t r_t + b_t r_t^2) + f e^{-1/y_1^2}$ with polynomials r of eight coordinates y = Qθ/s, and
are data of two programs, without and with the last term. Coordinates that a case does not use have the loss y².
"""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.curvature.spectrum import Spectrum, spectrum
from saddlescope.analysis.leading_order.critical_family import critical_family, noise_at, point_at
from saddlescope.flows import Landscape

from vector import Vector

N, TERMS, MONOMIALS, HIGHEST = 8, 8, 5, 14
MATRIX = np.array([[1.0, 0.5], [-0.3, 0.8]])
LEFT, STRENGTHS, RIGHT = np.linalg.svd(MATRIX)
FACTORS = np.sqrt(STRENGTHS[0]) * np.concatenate([LEFT[:, 0], RIGHT[0]])


def square(*monomials):
    """The square of a polynomial, given by pairs of a coefficient and exponents."""
    return 0.0, 1.0, monomials


def plain(*monomials):
    return 1.0, 0.0, monomials


def y(number, exponent=1):
    return (0,) * number + (exponent,)


CIRCLE = [(1.0, y(0, 2)), (1.0, y(1, 2))]
OTHER_CIRCLE = [(1.0, y(2, 2)), (1.0, y(3, 2)), (-4.0, ())]
ENTRIES = [(i, j) for i in range(2) for j in range(2)]
FACTORED = [square((1.0, np.eye(4, dtype=int)[[i, 2 + j]].sum(0)), (-MATRIX[i, j], ())) for i, j in ENTRIES]
FIRST = square((1.0, y(0)))
# Terms of the first coordinates, the point, and the dimension of the family there.
FAMILIES = {
    "sphere": ([square(*CIRCLE, *OTHER_CIRCLE[:2], (-1.0, ()))], [1.0, 0.0, 0.0, 0.0], 3),
    "torus": ([square(*CIRCLE, (-1.0, ())), square(*OTHER_CIRCLE)], [0.6, 0.8, 0.0, 2.0], 2),
    "hyperbola": ([square((1.0, (1, 1)), (-1.0, ()))], [2.0, 0.5], 1),
    "unused": ([FIRST], [0.0, 0.0, 0.3], 2),
    "unused, at zero": ([FIRST], [0.0, 0.0], 1),
    "valley": ([square((1.0, (1,)), (1.0, (0, 2)))], [0.0, 0.0], 1),
    "beside a cross": ([plain((1.0, (2, 2)))], [1.0, 0.0], 1),
    "low rank": (FACTORED, FACTORS, 1),
}
# Likewise, with the nullity, but no family of that dimension.
OTHERS = {
    "order 3": ([FIRST, plain((1.0, (0, 3)))], [0.0, 0.0], 1),
    "order 4, weak": ([FIRST, plain((-1e-5, (0, 4)))], [0.0, 0.0], 1),
    "order 7": ([FIRST, plain((1.0, (0, 7)))], [0.0, 0.0], 1),
    "order 14": ([square((1.0, y(0)), (-1.0, ())), plain((1.0, (0, 14)))], [1.0, 0.0], 1),
    "quartic minimum": ([FIRST, plain((1.0, (0, 4)))], [0.0, 0.0], 1),
    "cross": ([plain((1.0, (2, 2)))], [0.0, 0.0], 2),
    "product": ([plain((1.0, (1,) * 8))], np.zeros(8), 8),
    "chain": ([square((1.0, (1,) * 6), (-1.0, ()))], np.zeros(6), 6),
}
FLAT = {"flat, rises": 1.0, "flat, falls": -1.0}
CASES = FAMILIES | OTHERS | {name: ([FIRST], [0.0, 0.0], 1) for name in FLAT}


def loss(model, data):
    rotation, linear, quadratic, coefficients, exponents, constant, flat = data
    y = rotation @ model.x
    powers = jnp.concatenate([jnp.ones((1, N)), jnp.cumprod(jnp.broadcast_to(y, (HIGHEST, N)), axis=0)])
    r = jnp.sum(coefficients * jnp.prod(powers[exponents, jnp.arange(N)], axis=2), axis=1)
    value = constant + jnp.sum(linear * r + quadratic * r**2)
    if flat is None:
        return value
    return value + flat * jnp.where(y[1] == 0, 0.0, jnp.exp(-1 / jnp.where(y[1] == 0, 1.0, y[1]) ** 2))


def data_of(name, factor=1.0, unit=1.0, constant=0.0, seed=None):
    terms, point, _ = CASES[name]
    terms = [*terms, *[square((1.0, y(k))) for k in range(len(point), N)]]
    weights, coefficients = np.zeros((2, TERMS)), np.zeros((TERMS, MONOMIALS))
    exponents = np.zeros((TERMS, MONOMIALS, N), int)
    for t, (a, b, monomials) in enumerate(terms):
        weights[:, t] = factor * np.array([a, b])
        for m, (coefficient, powers) in enumerate(monomials):
            coefficients[t, m], exponents[t, m, : len(powers)] = coefficient, powers
    rotation = np.eye(N) if seed is None else np.linalg.qr(np.random.default_rng(seed).standard_normal((N, N)))[0]
    flat = np.asarray(factor * FLAT[name]) if name in FLAT else None
    theta = unit * rotation.T @ np.pad(point, (0, N - len(point)))
    return theta, [rotation / unit, *weights, coefficients, exponents, np.asarray(constant), flat]


@functools.cache
def traced(flat):
    """The landscape of all cases; tracing it takes longer than following a family."""
    return Landscape(Vector(jnp.zeros(N)), loss, data_of("flat, rises" if flat else "sphere")[1])


def case(name, **units):
    """The landscape factor · f(Qθ/unit) + constant, the case's point, and the spectrum there."""
    theta, data = data_of(name, **units)
    landscape = eqx.tree_at(lambda landscape: landscape.data, traced(name in FLAT), data)
    found = spectrum(landscape, theta)
    # With the nullity that is known: at points with a Hessian of rounding no threshold relative to it finds it.
    zero = float(np.sort(np.abs(found.eigenvalues))[CASES[name][2] - 1])
    spectral = Spectrum(eigenvalues=found.eigenvalues, eigenvectors=found.eigenvectors, zero_threshold=zero)
    return landscape, theta, spectral


def followed(name, *, length=None, **units):
    landscape, theta, spectral = case(name, **units)
    assert spectral.nullity == CASES[name][2]
    return critical_family(landscape, theta, spectral, basis=spectral.null_space, length=length)


UNITS = [
    {},
    pytest.param({"seed": 1}, marks=pytest.mark.slow),
    {"factor": 1e-12, "seed": 2},
    pytest.param({"factor": 1e12, "seed": 3}, marks=pytest.mark.slow),
    {"unit": 1e6, "seed": 4},
    pytest.param({"unit": 1e-6, "seed": 5}, marks=pytest.mark.slow),
    {"factor": 1e-3, "unit": 1e-3, "constant": 1.0, "seed": 6},
]


@pytest.mark.parametrize("units", UNITS, ids=str)
@pytest.mark.slow
def test_families_are_told_from_degenerate_points(units):
    for name, (_, _, nullity) in CASES.items():
        found = followed(name, **units)
        assert found.confirmed == (name in FAMILIES), f"{name}: {found}"
        assert found.dimension == nullity and (not found.reason) == found.confirmed
        said = "followed to a distance" if found.confirmed else "not confirmed: "
        assert said in str(found)


def test_a_path_stays_on_the_family():
    """Around the circles and beyond, points of the circles only are met, so that nothing changes."""
    found = followed("torus", seed=7, length=7.0)
    assert found.confirmed and found.length == pytest.approx(7.0)
    assert found.loss_change < 1e-27 and found.gradient < 1e-12


def test_part_of_a_null_space():
    landscape, theta, spectral = case("unused")
    found = critical_family(landscape, theta, spectral, basis=spectral.null_space[:, :1])
    assert found.confirmed and found.dimension == 1


def test_where_a_family_ends_it_is_not_confirmed():
    """From (1, 0) of x²y² the arm leads to the cross at a distance of one."""
    assert followed("beside a cross", length=0.9).confirmed
    through = followed("beside a cross", length=1.0)
    assert not through.confirmed and "nullity changes from 1 to 2" in through.reason


def test_a_point_that_is_not_critical():
    landscape, theta, spectral = case("quartic minimum")
    found = critical_family(landscape, theta + np.eye(N)[1] * 1e-3, spectral, basis=spectral.null_space)
    assert not found.confirmed and "the gradient is not zero" in found.reason


def test_what_the_last_place_of_a_point_does_to_its_gradient_is_no_noise():
    """A steep side of a valley has no other errors: the gradient changes by the Hessian times the point's change."""
    steep = 1e6
    landscape = Landscape(Vector(jnp.array([1.3, 0.7])), lambda model, data: steep / 2 * (model.x[0] - 1) ** 2, ())
    point = point_at(landscape, landscape.theta)
    loss_noise, rows = noise_at(landscape, point)
    response = steep * np.finfo(float).eps
    assert np.max(np.abs(rows)) < response * 0.3
    # The loss is known to what the last place of the point makes of it, to first order.
    assert 0.03 * response < loss_noise < 3 * response
