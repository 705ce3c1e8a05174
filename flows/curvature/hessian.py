r"""The structured Hessian of squared errors: Gauss–Newton plus block-diagonal residual curvature.

$L = w \sum_j r_j(\theta)^2 + $ const has
$\nabla^2 L = 2w\,(J^\top J + \sum_j r_j \nabla^2 r_j)$, $J = \partial r / \partial \theta$.
The first part is one matrix product. Residuals that are sums over units have no second derivatives between different
units; the second part then takes, for all units at once, as many Hessian–vector products as one unit has parameters
(Curtis, Powell & Reid 1974).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...models.units import layer_of
from ..compilation.traced import Traced, trace
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import unflatten
from ..landscapes.unit_positions import unit_positions
from ..losses.squared_error import SquaredError
from ..losses.statistics import residual_matrix, statistics_loss

# Samples whose Jacobians are held at once: 20 MB for a thousand parameters, and still one long matrix product.
BATCH = 2048
# Relative agreement with an exact Hessian–vector product, on a random vector, that confirms the structure.
AGREEMENT = 1e-9


class UnitHessian(eqx.Module):
    r"""The structured Hessian $\nabla^2 L(\theta)$ of a squared error whose residuals are sums over units.

    Attributes:
        residuals: (θ, sample) ↦ the residuals $r_j$ of one sample, traced.
        samples: all samples, on the leading axis of each array.
        weight: w.
        units: positions in θ of the parameters of each unit, one row each.
        others: all other positions.
    """

    residuals: Traced
    samples: Any
    weight: Float[Any, ""]
    units: Int[Array, "H d"]
    others: Int[Array, " k"]

    def __call__(self, theta: Float[Any, " n"]) -> Float[Array, "n n"]:
        """The dense Hessian at θ."""
        return self.with_gradient(theta)[0]

    def with_gradient(self, theta: Float[Any, " n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """The dense Hessian at θ, and the gradient, a by-product."""
        curvature, gradient = self._curvature_of_residuals(theta)
        return 2 * self.weight * (self._gauss_newton(theta) + curvature), 2 * self.weight * gradient

    @property
    def count(self) -> int:
        """The number of residuals r_j."""
        return jax.eval_shape(self._all, jax.ShapeDtypeStruct((self._size,), self.weight.dtype)).size

    @property
    def _size(self) -> int:
        return self.units.size + self.others.size

    def _all(self, theta: Float[Any, " n"]) -> Float[Array, "P r"]:
        return jax.vmap(self.residuals, (None, 0))(theta, self.samples)

    def _gauss_newton(self, theta: Any) -> Array:
        per_sample = jax.jacrev(self.residuals)

        def product(samples: Any) -> Array:
            jacobian = jax.vmap(per_sample, (None, 0))(theta, samples).reshape(-1, theta.size)
            return jacobian.T @ jacobian

        count = jax.tree.leaves(self.samples)[0].shape[0]
        whole, left = divmod(count, batch := min(BATCH, count))
        cut = lambda start, size: jax.tree.map(  # noqa: E731
            lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), self.samples
        )
        if whole == 1 and not left:
            return product(self.samples)
        total = product(cut(count - left, left)) if left else jnp.zeros((theta.size,) * 2, theta.dtype)
        return jax.lax.fori_loop(0, whole, lambda i, s: s + product(cut(i * batch, batch)), total)

    def _curvature_of_residuals(self, theta: Any) -> tuple[Array, Array]:
        r"""$\sum_j r_j \nabla^2 r_j$ and $\sum_j r_j \nabla r_j$."""
        # Hessian and gradient of $\sum_j r_j(\theta_0) r_j(\theta)$ at $\theta_0$.
        fixed = jax.lax.stop_gradient(self._all(theta))
        gradient, product = jax.linearize(jax.grad(lambda p: jnp.sum(fixed * self._all(p))), theta)
        count = self.units.shape[1]
        seeds = jnp.zeros((count + self.others.size, theta.size), theta.dtype)
        seeds = seeds.at[jnp.arange(count)[:, None], self.units.T].set(1)
        seeds = seeds.at[count + jnp.arange(self.others.size), self.others].set(1)
        columns = jax.vmap(product)(seeds)
        blocks = columns[:count, self.units].transpose(1, 2, 0)
        matrix = jnp.zeros((theta.size,) * 2, theta.dtype)
        matrix = matrix.at[self.units[:, :, None], self.units[:, None, :]].set(blocks)
        matrix = matrix.at[:, self.others].set(columns[count:].T).at[self.others, :].set(columns[count:])
        return matrix, gradient


class DenseHessian(eqx.Module):
    r"""The Hessian $\nabla^2 L(\theta)$ of any loss, one Hessian–vector product per parameter.

    Attributes:
        landscape: the landscape of the loss.
    """

    landscape: Landscape

    def __call__(self, theta: Float[Any, " n"]) -> Float[Array, "n n"]:
        """The dense Hessian at θ."""
        return self.with_gradient(theta)[0]

    def with_gradient(self, theta: Float[Any, " n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """The dense Hessian at θ, and the gradient, a by-product."""
        return jax.jacfwd(lambda theta: (gradient := self.landscape.gradient(theta), gradient), has_aux=True)(theta)


def hessian_of(landscape: Landscape) -> UnitHessian | DenseHessian:
    """The cheapest exact Hessian: structured where loss and model allow it, which is checked at a random point."""
    model, loss = landscape.model, landscape.loss
    if not (isinstance(loss, SquaredError) or loss is statistics_loss) or layer_of(model) is None:
        return DenseHessian(landscape)
    units = unit_positions(model)
    others = np.setdiff1d(np.arange(landscape.theta.size), units)
    residuals, samples, weight = _residuals(landscape)
    candidate = UnitHessian(
        residuals=residuals,
        samples=samples,
        weight=weight,
        units=jnp.asarray(units),
        others=jnp.asarray(others),
    )
    return candidate if _agrees(candidate, landscape) else DenseHessian(landscape)


def _residuals(landscape: Landscape) -> tuple[Traced, Any, Float[np.ndarray, ""]]:
    """The residuals of one sample as a function of θ, all samples, and the weight of a squared residual."""
    model, data, theta = landscape.model, landscape.data, landscape.theta
    if not isinstance(landscape.loss, SquaredError):  # of sufficient statistics
        one, samples, weight = data, jax.tree.map(lambda a: np.asarray(a)[None], data), 1.0
        function = lambda theta, sample: residual_matrix(unflatten(model, theta), sample).ravel()  # noqa: E731
    else:
        x, y = samples = data
        weight = landscape.loss.weight(y)
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), (x, y))
        function = lambda theta, sample: jnp.ravel(unflatten(model, theta)(sample[0]) - sample[1])  # noqa: E731
    return trace(function, theta, one), samples, np.asarray(weight, theta.dtype)


def _agrees(candidate: UnitHessian, landscape: Landscape) -> bool:
    """Whether the structured Hessian is exact at parameters of size one, where no part of it vanishes."""
    generator, theta = np.random.default_rng(0), landscape.theta
    point, direction = (generator.standard_normal(theta.size).astype(theta.dtype) for _ in range(2))
    product, exact = (np.asarray(part) for part in _products(candidate, landscape, point, direction))
    tolerance = max(AGREEMENT, 1e3 * float(np.finfo(theta.dtype).eps))
    return bool(np.linalg.norm(product - exact) <= tolerance * np.linalg.norm(exact))


# Run once: optimising the code would take longer than it saves.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _products(candidate: UnitHessian, landscape: Landscape, point: Any, direction: Any) -> tuple[Array, Array]:
    return candidate(point) @ direction, landscape.hessian_product(point, direction)


class FlowJacobian(eqx.Module):
    r"""The Jacobian of `GradientFlow` in its state, $(-\nabla^2 L, 0; 2 \nabla L^\top \nabla^2 L, 0)$, for solvers.

    Attributes:
        hessian: θ ↦ $\nabla^2 L$, with the gradient as a by-product.
    """

    hessian: UnitHessian | DenseHessian

    def __call__(self, t: Any, state: tuple[Any, Any], args: Any = None) -> Float[Array, "m m"]:
        """The Jacobian at a state (θ, E)."""
        del t, args
        matrix, gradient = self.hessian.with_gradient(state[0])
        rows = jnp.concatenate([-matrix, 2 * (gradient @ matrix)[None]])
        return jnp.pad(rows, ((0, 0), (0, 1)))
