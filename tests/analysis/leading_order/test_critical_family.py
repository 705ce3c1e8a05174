"""Families of critical points, and degenerate points that are none, in any units.

The cases are branches of one program. Coordinates that a case does not use have the loss y²/2.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.curvature.spectrum import Spectrum, spectrum
from saddlescope.analysis.leading_order.critical_family import critical_family
from saddlescope.flows import Landscape

N = 8
MATRIX = np.array([[1.0, 0.5], [-0.3, 0.8]])
LEFT, STRENGTHS, RIGHT = np.linalg.svd(MATRIX)
FACTORS = np.sqrt(STRENGTHS[0]) * np.concatenate([LEFT[:, 0], RIGHT[0]])


def flat(x):
    """All derivatives vanish at zero, and nowhere else the first."""
    return jnp.where(x == 0, 0.0, jnp.exp(-1 / jnp.where(x == 0, 1.0, x) ** 2))


def factored(w):
    return jnp.sum((jnp.outer(w[:2], w[2:4]) - MATRIX) ** 2) / 2


# Loss of the first coordinates, the point, and the dimension of the family there.
FAMILIES = {
    "sphere": (lambda w: (w[:4] @ w[:4] - 1) ** 2, [1.0, 0.0, 0.0, 0.0], 3),
    "torus": (lambda w: (w[:2] @ w[:2] - 1) ** 2 + (w[2:4] @ w[2:4] - 4) ** 2, [0.6, 0.8, 0.0, 2.0], 2),
    "hyperbola": (lambda w: (w[0] * w[1] - 1) ** 2, [2.0, 0.5], 1),
    "unused": (lambda w: w[0] ** 2 + 0 * w[1] * w[2], [0.0, 0.0, 0.3], 2),
    "unused, at zero": (lambda w: w[0] ** 2 + 0 * w[1], [0.0, 0.0], 1),
    "valley": (lambda w: (w[0] + w[1] ** 2) ** 2, [0.0, 0.0], 1),
    "beside a cross": (lambda w: w[0] ** 2 * w[1] ** 2, [1.0, 0.0], 1),
    "one unit": (lambda w: (jnp.tanh(w[0]) * w[1] - 0.3) ** 2, [0.5, 0.3 / np.tanh(0.5)], 1),
    "low rank": (factored, FACTORS, 1),
}
# Likewise, with the nullity, but no family of that dimension.
OTHERS = {
    "flat, rises": (lambda w: w[0] ** 2 + flat(w[1]), [0.0, 0.0], 1),
    "flat, falls": (lambda w: w[0] ** 2 - flat(w[1]), [0.0, 0.0], 1),
    "order 3": (lambda w: w[0] ** 2 + w[1] ** 3, [0.0, 0.0], 1),
    "order 4, weak": (lambda w: w[0] ** 2 - 1e-5 * w[1] ** 4, [0.0, 0.0], 1),
    "order 7": (lambda w: w[0] ** 2 + w[1] ** 7, [0.0, 0.0], 1),
    "order 14": (lambda w: (w[0] - 1) ** 2 + w[1] ** 14, [1.0, 0.0], 1),
    "quartic minimum": (lambda w: w[0] ** 2 + w[1] ** 4, [0.0, 0.0], 1),
    "cross": (lambda w: w[0] ** 2 * w[1] ** 2, [0.0, 0.0], 2),
    "product": (jnp.prod, np.zeros(8), 8),
    "chain": (lambda w: (jnp.prod(w[:6]) - 1) ** 2 / 2, np.zeros(6), 6),
}
CASES = FAMILIES | OTHERS


def branch(name):
    function, point, _ = CASES[name]
    return lambda y: function(y) + jnp.sum(y[len(point) :] ** 2) / 2


BRANCHES = [branch(name) for name in CASES]


class Vector(eqx.Module):
    """Some numbers."""

    w: jax.Array


def loss(model, data):
    number, rotation, factor, constant = data
    return constant + factor * jax.lax.switch(number, BRANCHES, rotation @ model.w)


def case(name, *, factor=1.0, unit=1.0, constant=0.0, seed=None):
    """The landscape factor · f(Qθ/unit) + constant, at the case's point, and its spectrum."""
    rotation = np.eye(N) if seed is None else np.linalg.qr(np.random.default_rng(seed).standard_normal((N, N)))[0]
    point = np.pad(CASES[name][1], (0, N - len(CASES[name][1])))
    data = np.asarray(list(CASES).index(name)), rotation / unit, np.asarray(factor), np.asarray(constant)
    landscape = Landscape(Vector(jnp.asarray(unit * rotation.T @ point)), loss, data)
    found = spectrum(landscape)
    # With the nullity that is known: at points with a Hessian of rounding no threshold relative to it finds it.
    sizes = np.append(np.sort(np.abs(found.eigenvalues)), np.inf)
    zero = float(sizes[CASES[name][2] - 1])
    return landscape, Spectrum(eigenvalues=found.eigenvalues, eigenvectors=found.eigenvectors, zero_threshold=zero)


UNITS = [
    {},
    {"seed": 1},
    {"factor": 1e-12, "seed": 2},
    {"factor": 1e12, "seed": 3},
    {"unit": 1e6, "seed": 4},
    {"unit": 1e-6, "seed": 5},
    {"factor": 1e-3, "unit": 1e-3, "constant": 1.0, "seed": 6},
]


@pytest.mark.parametrize("units", UNITS, ids=str)
def test_families_are_told_from_degenerate_points(units):
    for name, (_, _, nullity) in CASES.items():
        landscape, spectral = case(name, **units)
        assert spectral.nullity == nullity
        found = critical_family(landscape, landscape.theta, spectral, basis=spectral.null_space)
        assert found.confirmed == (name in FAMILIES), f"{name}: {found}"
        assert found.dimension == nullity and (not found.reason) == found.confirmed
        said = "followed to a distance" if found.confirmed else "not confirmed: "
        assert said in str(found)


def test_a_path_stays_on_the_family():
    """Around the circle and beyond: the path of length 7 meets points of the circle only, so that nothing changes."""
    landscape, spectral = case("torus", seed=7)
    found = critical_family(landscape, landscape.theta, spectral, basis=spectral.null_space, length=7.0)
    assert found.confirmed and found.length == pytest.approx(7.0)
    assert found.loss_change < 1e-27 and found.gradient < 1e-12


def test_part_of_a_null_space():
    """Two unused coordinates are a family, whatever is the case of a third null direction."""
    landscape, spectral = case("quartic minimum")
    landscape, rest = case("unused")
    both = np.linalg.qr(np.concatenate([rest.null_space[:, :1]], axis=1))[0]
    found = critical_family(landscape, landscape.theta, rest, basis=both)
    assert found.confirmed and found.dimension == 1


def test_where_a_family_ends_it_is_not_confirmed():
    """From (1, 0) of x²y² the arm leads to the cross at a distance of one."""
    landscape, spectral = case("beside a cross")
    short = critical_family(landscape, landscape.theta, spectral, basis=spectral.null_space, length=0.9)
    through = critical_family(landscape, landscape.theta, spectral, basis=spectral.null_space, length=1.0)
    assert short.confirmed and not through.confirmed
    assert "nullity changes from 1 to 2" in through.reason


def test_a_point_that_is_not_critical():
    landscape, spectral = case("quartic minimum")
    beside = landscape.theta + np.eye(N)[1] * 1e-3
    found = critical_family(landscape, beside, spectral, basis=spectral.null_space)
    assert not found.confirmed and "the gradient is not zero" in found.reason
