"""Refinement by products leads to the critical points to which the dense one does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.critical_points.descent import descend_by_products
from saddlescope.analysis.critical_points.refine import solve_gradient
from saddlescope.analysis.critical_points.refine_by_products import solve_by_products
from saddlescope.analysis.critical_points.zero_gradient import is_critical
from saddlescope.analysis.curvature.krylov import krylov_space
from saddlescope.flows import Landscape

from vector import Vector


def test_a_krylov_space_holds_the_damped_steps():
    """Beside the dense solution of (H² + μ²) s = −H b, for an indefinite H."""
    random = np.random.default_rng(0)
    matrix = random.standard_normal((30, 30))
    matrix, b = matrix + matrix.T, random.standard_normal(30)
    steps = krylov_space(lambda v: matrix @ v, b, 30).damped_steps(np.array([3.0, 0.1]))
    for step, damping in zip(steps, (3.0, 0.1), strict=True):
        exact = -np.linalg.solve(matrix @ matrix + damping**2 * np.eye(30), matrix @ b)
        np.testing.assert_allclose(step, exact, rtol=1e-9, atol=1e-10)


def test_a_krylov_space_ends_where_the_equation_is_solved():
    values = np.repeat([-2.0, 0.5, 3.0], 40)
    space = krylov_space(lambda v: values * v, np.ones(120), 100, residual=1e-10)
    assert len(space.basis) == 3
    np.testing.assert_allclose(space.damped_steps(np.zeros(1))[0], -1 / values, rtol=1e-12)


@pytest.mark.parametrize("last", [1, 3])
def test_a_krylov_space_ends_before_a_product_that_is_not_finite(last):
    values, calls = np.array([1.0, 2.0, -3.0, 4.0, 5.0]), []

    def product(v):
        calls.append(v)
        return values * v if len(calls) <= last else np.nan * v

    space, whole = krylov_space(product, np.ones(5), 5), krylov_space(lambda v: values * v, np.ones(5), last)
    np.testing.assert_array_equal(space.basis, whole.basis)
    np.testing.assert_array_equal(space.tridiagonal, whole.tridiagonal)


def weighted(model, data):
    r"""$\sum_k c_k (1 - x_k^2)^2 / 4$: saddles wherever each x is −1, 0 or 1."""
    return jnp.sum(data * (1 - model.x**2) ** 2) / 4


def test_the_nearest_of_many_saddles_is_found():
    """The saddle is known: the coordinates, rounded."""
    random = np.random.default_rng(1)
    exact = random.integers(-1, 2, 500).astype(float)
    start = exact + 0.02 * random.standard_normal(500)
    landscape = Landscape(Vector(jnp.asarray(start)), weighted, jnp.asarray(random.uniform(0.1, 3.0, 500)))
    np.testing.assert_allclose(solve_by_products(landscape, start), exact, atol=1e-12)


def tanh_network(width, seed):
    x = np.random.default_rng(seed).standard_normal((40, 3))
    y = np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:]

    def loss(model, data):
        decay = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
        return jnp.mean((jax.vmap(model)(data[0]) - data[1]) ** 2) + 0.01 * decay

    model = eqx.nn.MLP(3, 1, width, 1, activation=jnp.tanh, key=jax.random.key(seed))
    return Landscape(model, loss, (jnp.asarray(x), jnp.asarray(y)))


@pytest.mark.parametrize("scale", [0.05, 0.3])
def test_refinement_agrees_with_the_dense_one(scale):
    """With weight decay critical points are isolated, so that both find the same one."""
    landscape = tanh_network(6, 0)
    start = scale * landscape.theta
    dense, krylov = solve_gradient(landscape, start), solve_by_products(landscape, start)
    assert is_critical(landscape, krylov, moved=float(np.linalg.norm(krylov - start)))
    np.testing.assert_allclose(krylov, dense, atol=1e-8)


@pytest.mark.slow
def test_a_descent_and_a_refinement_of_a_large_network_end_in_a_minimum():
    landscape = tanh_network(100, 1)
    end = solve_by_products(landscape, descend_by_products(landscape, landscape.theta))
    assert is_critical(landscape, end, moved=float(np.linalg.norm(end - landscape.theta)))
    assert np.linalg.eigvalsh(landscape.hessian(end))[0] > 0


def test_a_descent_ends_below_a_loss():
    landscape = tanh_network(6, 0)
    lowest = float(landscape.value(landscape.theta)) * 0.9
    end = float(landscape.value(descend_by_products(landscape, landscape.theta, lowest=lowest)))
    assert end < lowest
    assert end > float(landscape.value(descend_by_products(landscape, landscape.theta)))
