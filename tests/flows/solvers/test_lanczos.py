"""Lanczos vectors against Matfree's, and the products made of them against a dense matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import matfree.decomp
import numpy as np
import pytest
from saddlescope.flows.solvers.exponential.lanczos import KrylovProducts, lanczos
from saddlescope.flows.solvers.exponential.linearisation import SymmetricMatrix

# Components of the state, the last of which is a quadrature.
SIZE = 31
# Vectors at most, the same in all tests, which so share a compiled program.
MAX_VECTORS = 24


def problem():
    """J with a cluster near zero and eigenvalues down to -100, b, and the step."""
    keys = jax.random.split(jax.random.key(0), 3)
    q, _ = jnp.linalg.qr(jax.random.normal(keys[0], (SIZE - 1, SIZE - 1)))
    values = -jnp.concatenate([jnp.geomspace(1e-3, 1.0, 15), jnp.linspace(2.0, 100.0, 15)])
    jacobian = jnp.zeros((SIZE, SIZE)).at[:-1, :-1].set((q * values) @ q.T).at[-1, :-1].set(q[0])
    return jacobian, jax.random.normal(keys[1], (SIZE,)), jnp.asarray(0.3)


@eqx.filter_jit
def krylov(jacobian, b, scale, tolerance):
    """Basis, error vector, number of products with J, and φ_0, …, φ_3 times b."""
    measure = lambda error: jnp.linalg.norm(error) / tolerance  # noqa: E731
    basis, error, count = lanczos(lambda v: jacobian @ v, b, b.size - 1, MAX_VECTORS, scale, 1, measure)
    return basis, error, count, KrylovProducts().products(basis, scale, 3)


@eqx.filter_jit
def dense(jacobian, b, scale):
    return SymmetricMatrix(jacobian, 1).products(b, scale, 3)


def test_vectors_and_projection_are_matfrees():
    jacobian, b, scale = problem()
    basis, _, count, _ = krylov(jacobian, b, scale, jnp.asarray(1e-30))
    decomposed = matfree.decomp.tridiag_sym(MAX_VECTORS, reortho="full", materialize=True)
    theirs = jax.jit(decomposed, static_argnums=0)(lambda v, matrix: matrix @ v, b[:-1], jacobian[:-1, :-1])
    assert count == MAX_VECTORS
    np.testing.assert_allclose(basis.projected, theirs.J_small, atol=1e-10)
    np.testing.assert_allclose(basis.vectors, theirs.Q_tall, atol=1e-10)
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(MAX_VECTORS), atol=1e-13)
    np.testing.assert_allclose(basis.rates[:, 0], basis.vectors @ jacobian[-1, :-1], atol=1e-12)


def test_products_are_as_accurate_as_asked_for_and_no_more():
    """The error is below its share of the tolerance, by no more vectors than that needs."""
    jacobian, b, scale = problem()
    expected, counts = dense(jacobian, b, scale), []
    for tolerance in 10.0 ** -np.arange(2, 11):
        _, estimate, count, found = krylov(jacobian, b, scale, jnp.asarray(tolerance))
        error = np.linalg.norm((found - expected)[1, :-1])
        print(tolerance, error / tolerance, np.linalg.norm(estimate) / tolerance, count)
        assert error < 0.1 * tolerance
        counts.append(int(count))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] < MAX_VECTORS


@pytest.mark.parametrize("coupling", [1e-13, 1e-18])
def test_a_space_is_invariant_only_below_rounding(coupling):
    """A component coupled by 500 roundings is followed, one by less than a rounding is not."""
    jacobian = jnp.zeros((SIZE, SIZE)).at[0, 0].set(1.0).at[1, 1].set(-1.0)
    jacobian = jacobian.at[0, 1].set(coupling).at[1, 0].set(coupling)
    b = jnp.zeros(SIZE).at[0].set(1.0)
    _, _, count, found = krylov(jacobian, b, jnp.asarray(1.0), jnp.asarray(1e-20))
    assert count == (2 if coupling > 1e-15 else 1)
    # φ_1[1, -1] times the coupling.
    expected = coupling * ((np.e - 1) - (1 - 1 / np.e)) / 2
    assert float(found[1, 1]) == pytest.approx(expected if coupling > 1e-15 else 0.0, rel=1e-2)
