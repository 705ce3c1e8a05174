r"""The Hessian of squared errors from its parts: Gauss–Newton by one matrix product, and small blocks for the rest.

$L = w \sum_j r_j(\theta)^2 + $ const has
$\nabla^2 L = 2w\,(J^\top J + \sum_j r_j \nabla^2 r_j)$, $J = \partial r / \partial \theta$.
Residuals that are sums over units have no second derivatives between different units. The second part is then found,
for all units at once, from as many Hessian–vector products as one unit has parameters (Curtis, Powell & Reid 1974).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..models import unit_vectors, units_of
from .field import GradientFlow, flatten, unflatten
from .loss import half_squared_error, mean_squared_error
from .statistics import residual_matrix, statistics_loss

# Samples whose Jacobians are held at once: 20 MB for a thousand parameters, and still one long matrix product.
BATCH = 2048
# Relative agreement with an exact Hessian–vector product, on a random vector, that shows the structure to be there.
AGREEMENT = 1e-9


class UnitHessian(eqx.Module):
    r"""The Hessian $\nabla^2 L(\theta)$ of a squared error whose residuals are sums over units.

    - `flow`: model and loss; `units`: positions in θ of the parameters of each unit; `others`: all other positions.
    """

    flow: GradientFlow
    units: Int[Array, "H d"]
    others: Int[Array, " k"]

    def __call__(self, theta: Float[Array, " n"], data: Any) -> Float[Array, "n n"]:
        """The dense Hessian at θ."""
        return self._gauss_newton(theta, data) + self._curvature_of_residuals(theta, data)

    def residuals(self, data: Any) -> int:
        """The number of residuals r_j whose squares make the loss."""
        if self.flow.loss is statistics_loss:
            return residual_matrix(self.flow.model, data).size
        return data[1].size

    def _gauss_newton(self, theta: Array, data: Any) -> Array:
        if self.flow.loss is statistics_loss:
            jacobian = jax.jacrev(lambda p: residual_matrix(unflatten(self.flow.model, p), data).ravel())(theta)
            return 2 * jacobian.T @ jacobian
        x, y = data
        per_sample = jax.jacrev(lambda p, inputs: jnp.ravel(unflatten(self.flow.model, p)(inputs)))

        def product(inputs: Any) -> Array:
            jacobian = jax.vmap(per_sample, (None, 0))(theta, inputs).reshape(-1, theta.size)
            return jacobian.T @ jacobian

        count, batch = y.shape[0], min(BATCH, y.shape[0])
        whole, left = divmod(count, batch)
        cut = lambda start, size: jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), x)  # noqa: E731
        total = product(cut(count - left, left)) if left else jnp.zeros((theta.size,) * 2, theta.dtype)
        total = jax.lax.fori_loop(0, whole, lambda i, s: s + product(cut(i * batch, batch)), total)
        return 2 * _weight(self.flow.loss, y) * total

    def _curvature_of_residuals(self, theta: Array, data: Any) -> Array:
        r"""$2w \sum_j r_j \nabla^2 r_j$, the Hessian of $2w \sum_j r_j(\theta_0) r_j(\theta)$ at $\theta_0$."""
        linearised = jax.grad(lambda p: _paired(self.flow, p, jax.lax.stop_gradient(theta), data))
        _, product = jax.linearize(linearised, theta)
        count = self.units.shape[1]
        seeds = jnp.zeros((count + self.others.size, theta.size), theta.dtype)
        seeds = seeds.at[jnp.arange(count)[:, None], self.units.T].set(1)
        seeds = seeds.at[count + jnp.arange(self.others.size), self.others].set(1)
        columns = jax.vmap(product)(seeds)
        blocks = columns[:count, self.units].transpose(1, 2, 0)
        matrix = jnp.zeros((theta.size,) * 2, theta.dtype)
        matrix = matrix.at[self.units[:, :, None], self.units[:, None, :]].set(blocks)
        return matrix.at[:, self.others].set(columns[count:].T).at[self.others, :].set(columns[count:])


def _paired(flow: GradientFlow, theta: Array, fixed: Array, data: Any) -> Array:
    r"""$2w \sum_j r_j(\theta_0) r_j(\theta)$."""
    at, at_fixed = (unflatten(flow.model, p) for p in (theta, fixed))
    if flow.loss is statistics_loss:
        return 2 * jnp.sum(residual_matrix(at_fixed, data) * residual_matrix(at, data))
    x, y = data
    residuals = jax.vmap(at_fixed)(x) - y
    return 2 * _weight(flow.loss, y) * jnp.sum(jax.lax.stop_gradient(residuals) * jax.vmap(at)(x))


def _weight(loss: Callable, y: Array) -> float:
    return 1 / y.size if loss is mean_squared_error else 1 / (2 * y.shape[0])


class DenseHessian(eqx.Module):
    r"""The Hessian $\nabla^2 L(\theta)$ of any loss, one Hessian–vector product per parameter."""

    flow: GradientFlow

    def __call__(self, theta: Float[Array, " n"], data: Any) -> Float[Array, "n n"]:
        """The dense Hessian at θ."""
        return jax.jacfwd(jax.grad(self.flow.value))(theta, data)


def unit_positions(model: Any) -> Int[np.ndarray, "H d"]:
    """Where the parameters of each unit are in the flattened model, one row each."""
    theta = flatten(model)
    return np.asarray(unit_vectors(unflatten(model, jnp.arange(theta.size, dtype=theta.dtype)))).astype(int)


def hessian_of(flow: GradientFlow, data: Any) -> UnitHessian | DenseHessian:
    """The cheapest exact Hessian: from its parts where loss and model allow it, which is checked at a random point.

    **Arguments:** `flow`: whose model gives the shapes and the size of the weights; `data`: as in the flow.
    """
    if flow.loss not in (mean_squared_error, half_squared_error, statistics_loss) or units_of(flow.model) is None:
        return DenseHessian(flow)
    theta = flatten(flow.model)
    units = unit_positions(flow.model)
    others = np.setdiff1d(np.arange(theta.size), units)
    candidate = UnitHessian(flow, jnp.asarray(units), jnp.asarray(others))
    return candidate if _agrees(candidate, theta, data) else DenseHessian(flow)


def _agrees(candidate: UnitHessian, theta: Array, data: Any) -> bool:
    """Whether the parts make the Hessian, at weights of size one, where no part of it vanishes."""
    generator = np.random.default_rng(0)
    point, direction = (jnp.asarray(generator.standard_normal(theta.size), theta.dtype) for _ in range(2))
    product, exact = _products(candidate, point, direction, data)
    tolerance = max(AGREEMENT, 1e3 * float(jnp.finfo(theta.dtype).eps))
    return bool(jnp.linalg.norm(product - exact) <= tolerance * jnp.linalg.norm(exact))


@eqx.filter_jit
def _products(candidate: UnitHessian, point: Array, direction: Array, data: Any) -> tuple[Array, Array]:
    gradient = jax.grad(candidate.flow.value)
    exact = jax.jvp(lambda p: gradient(p, data), (point,), (direction,))[1]
    return candidate(point, data) @ direction, exact


class FlowJacobian(eqx.Module):
    r"""The Jacobian of `GradientFlow` in its state, $(-\nabla^2 L, 0; 2 \nabla L^\top \nabla^2 L, 0)$, for solvers."""

    hessian: UnitHessian | DenseHessian

    def __call__(self, t: Any, state: tuple[Array, Array], data: Any) -> Float[Array, "n+1 n+1"]:
        """The Jacobian at a state (θ, E)."""
        del t
        theta = state[0]
        matrix = self.hessian(theta, data)
        # The compiler shares this gradient with the field's own.
        gradient = jax.grad(self.hessian.flow.value)(theta, data)
        rows = jnp.concatenate([-matrix, 2 * (gradient @ matrix)[None]])
        return jnp.pad(rows, ((0, 0), (0, 1)))
