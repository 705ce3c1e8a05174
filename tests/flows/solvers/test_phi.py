"""The functions φ_k against their series in exact arithmetic, and their derivatives in a matrix."""

from fractions import Fraction
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.flows.solvers.exponential.phi import (
    divided_differences,
    phi,
    phi_derivative,
    phi_products,
)

HIGHEST = 5


def rational(k, z):
    """Σ_j z^j / (j + k)! in rational numbers, until a term no longer matters."""
    z, total, term, j = Fraction(z), Fraction(0), Fraction(1, factorial(k)), 0
    while abs(term) > Fraction(1, 10**60) or j < 2 * abs(z):
        total, j = total + term, j + 1
        term = term * z / (j + k)
    return total


def exact(k, z):
    """φ_k(z), rounded once."""
    return float(rational(k, z))


# Around 1.5 the series ends and the recurrence begins.
EDGES = [s * r for s in (-1, 1) for r in (0.0, 1e-300, 1e-9, 1e-3, 1e-2, 1.5 * (1 - 1e-15), 1.5, 10.0, 40.0)]


@pytest.mark.parametrize("z", EDGES)
def test_values(z):
    expected = [exact(k, z) for k in range(HIGHEST + 1)]
    np.testing.assert_allclose(phi(jnp.asarray(z), HIGHEST), expected, rtol=1e-14)


@given(st.floats(-60, 60))
def test_values_anywhere(z):
    expected = [exact(k, z) for k in range(HIGHEST + 1)]
    np.testing.assert_allclose(phi(jnp.asarray(z), HIGHEST), expected, rtol=1e-14)


def test_far_decay_and_recurrence():
    z = -jnp.logspace(1, 12, 12)
    values = phi(z, HIGHEST)
    assert np.all(np.isfinite(values))
    for k in range(1, HIGHEST + 1):
        np.testing.assert_allclose(z * values[k] + 1 / factorial(k - 1), values[k - 1], atol=1e-15)


def test_derivative_of_numbers():
    z = jnp.linspace(-8.0, 4.0, 25)
    expected = jax.vmap(jax.jacfwd(lambda x: phi(x, HIGHEST)))(z).T
    np.testing.assert_allclose(phi_derivative(z, HIGHEST), expected, rtol=1e-11, atol=1e-13)


def test_divided_differences_at_every_gap():
    """To the accuracy of which the switch to derivatives is the best: 1e-11 at its worst gap."""
    gaps = 10.0 ** -np.arange(0, 13)
    z = 0.5 + np.concatenate([[0.0], gaps])
    found = jax.jit(divided_differences, static_argnums=1)(jnp.asarray(z), 3)[:, 0, 1:]
    for k in range(4):
        quotients = [(rational(k, end) - rational(k, z[0])) / (Fraction(end) - Fraction(z[0])) for end in z[1:]]
        np.testing.assert_allclose(found[k], [float(quotient) for quotient in quotients], rtol=1e-10)


def symmetric(seed, n=6):
    matrix = jax.random.normal(jax.random.key(seed), (n, n))
    return matrix + matrix.T


def products(matrix, scale, b):
    return phi_products(matrix, jnp.linalg.eigh(matrix), scale, b, 3)


def test_products_of_a_matrix():
    matrix, b = symmetric(0), jnp.arange(1.0, 7.0)
    found = products(matrix, jnp.asarray(0.3), b)
    np.testing.assert_allclose(found[0], jax.scipy.linalg.expm(0.3 * matrix) @ b, rtol=1e-12)
    for k in range(1, 4):
        np.testing.assert_allclose(0.3 * matrix @ found[k] + b / factorial(k - 1), found[k - 1], rtol=1e-11, atol=1e-12)


# Eigenvalues apart, and in clusters: exact, within the switch to derivatives, and just outside of it.
SPECTRA = [[-3.0, -2, -1, 0, 1, 2], [-3.0, -3, -1, -1, 0, 0], [-3.0, -3 + 1e-9, -1, -1 + 1e-6, 0, 3e-5]]


@pytest.mark.parametrize("values", SPECTRA)
@pytest.mark.fast_for("values1", "values2")
def test_derivative_in_the_matrix(values):
    _, q = jnp.linalg.eigh(symmetric(1))
    matrix, change, b = q @ jnp.diag(jnp.array(values)) @ q.T, symmetric(2), jnp.arange(1.0, 7.0)
    matrix = (matrix + matrix.T) / 2
    found = jax.jvp(lambda a: products(a, jnp.asarray(0.7), b), (matrix,), (change,))[1]
    # exp(A, E; 0, A) has the derivative of exp at A along E as its corner.
    corner = jax.scipy.linalg.expm(0.7 * jnp.block([[matrix, change], [jnp.zeros_like(matrix), matrix]]))[:6, 6:]
    np.testing.assert_allclose(found[0], corner @ b, rtol=1e-9, atol=1e-9)
    # The derivative of z φ_1(z) = φ_0(z) − 1, at 0.7 A.
    value = products(matrix, jnp.asarray(0.7), b)
    np.testing.assert_allclose(0.7 * (change @ value[1] + matrix @ found[1]), found[0], rtol=1e-9, atol=1e-9)
