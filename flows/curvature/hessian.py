r"""The structured Hessian of losses of sums over units: Gauss–Newton plus block-diagonal curvature of the outputs.

$L = w \sum_\mu \ell(f_\mu(\theta)) + $ const has
$\nabla^2 L = w\,(\sum_\mu J_\mu^\top \ell''_\mu J_\mu + \sum_\mu \ell'_\mu \cdot \nabla^2 f_\mu)$,
$J_\mu = \partial f_\mu / \partial \theta$. The first part is one matrix product, of the rows $F_\mu J_\mu$ with
$F_\mu^\top F_\mu = \ell''_\mu$. Outputs that are sums over units have no second derivatives between different units;
the second part then takes, for all units at once, as many Hessian–vector products as one unit has parameters (Curtis,
Powell & Reid 1974).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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
from ..losses.cross_entropy import cross_entropy, cross_entropy_rows
from ..losses.squared_error import SquaredError
from ..losses.statistics import residual_matrix, statistics_loss

# Samples whose Jacobians are held at once: 20 MB for a thousand parameters, and still one long matrix product.
BATCH = 2048
# Relative agreement with an exact Hessian–vector product, on a random vector, that confirms the structure.
AGREEMENT = 1e-9


class OutputLoss(NamedTuple):
    r"""The derivatives of the loss $\ell$ of one sample in its outputs f.

    Attributes:
        slope: (f, sample) ↦ $\ell'$.
        rows: (f, sample, J) ↦ $F J$ with $F^\top F = \ell''$.
    """

    slope: Callable[[Any, Any], Any]
    rows: Callable[[Any, Any, Any], Any]


# Half the square of residuals.
SQUARES = OutputLoss(slope=lambda f, sample: f, rows=lambda f, sample, jacobian: jacobian)
# Samples are inputs, distributions of labels, and weights.
CROSS_ENTROPY = OutputLoss(
    slope=lambda f, sample: sample[2] * (jax.nn.softmax(f) - sample[1]),
    rows=lambda f, sample, jacobian: jnp.sqrt(sample[2]) * cross_entropy_rows(f, jacobian),
)


class UnitHessian(eqx.Module):
    r"""The structured Hessian $\nabla^2 L(\theta)$ of a loss whose outputs, or residuals, are sums over units.

    Attributes:
        outputs: (θ, sample) ↦ the outputs f of one sample, traced.
        of_outputs: the derivatives of the loss in them.
        samples: all samples, on the leading axis of each array.
        weight: w.
        units: positions in θ of the parameters of each unit, one row each.
        others: all other positions.
    """

    outputs: Traced
    of_outputs: OutputLoss = eqx.field(static=True)
    samples: Any
    weight: Float[Any, ""]
    units: Int[Array, "H d"]
    others: Int[Array, " k"]

    def __call__(self, theta: Float[Any, " n"]) -> Float[Array, "n n"]:
        """The dense Hessian at θ."""
        return self.with_gradient(theta)[0]

    def with_gradient(self, theta: Float[Any, " n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """The dense Hessian at θ, and the gradient, a by-product."""
        curvature, gradient = self._curvature_of_outputs(theta)
        return self.weight * (self._gauss_newton(theta) + curvature), self.weight * gradient

    @property
    def count(self) -> int:
        """The number of outputs of all samples."""
        return jax.eval_shape(self._all, jax.ShapeDtypeStruct((self._size,), self.weight.dtype)).size

    @property
    def _size(self) -> int:
        return self.units.size + self.others.size

    def _all(self, theta: Float[Any, " n"]) -> Float[Array, "P r"]:
        return jax.vmap(self.outputs, (None, 0))(theta, self.samples)

    def _gauss_newton(self, theta: Any) -> Array:
        def of_sample(sample: Any) -> Array:
            outputs, pull = jax.vjp(lambda p: self.outputs(p, sample), theta)
            jacobian = jax.vmap(pull)(jnp.eye(outputs.size, dtype=outputs.dtype))[0]
            return self.of_outputs.rows(outputs, sample, jacobian)

        def product(samples: Any) -> Array:
            rows = jax.vmap(of_sample)(samples).reshape(-1, theta.size)
            return rows.T @ rows

        count = jax.tree.leaves(self.samples)[0].shape[0]
        whole, left = divmod(count, batch := min(BATCH, count))
        cut = lambda start, size: jax.tree.map(  # noqa: E731
            lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), self.samples
        )
        if whole == 1 and not left:
            return product(self.samples)
        total = product(cut(count - left, left)) if left else jnp.zeros((theta.size,) * 2, theta.dtype)
        return jax.lax.fori_loop(0, whole, lambda i, s: s + product(cut(i * batch, batch)), total)

    def _curvature_of_outputs(self, theta: Any) -> tuple[Array, Array]:
        r"""$\sum_\mu \ell'_\mu \cdot \nabla^2 f_\mu$ and $\sum_\mu \ell'_\mu \cdot \nabla f_\mu$."""
        # Hessian and gradient of $\sum_\mu \ell'_\mu(\theta_0) \cdot f_\mu(\theta)$ at $\theta_0$.
        fixed = jax.lax.stop_gradient(jax.vmap(self.of_outputs.slope)(self._all(theta), self.samples))
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
    known = isinstance(loss, SquaredError) or loss is statistics_loss or loss is cross_entropy
    if not known or layer_of(model) is None:
        return DenseHessian(landscape)
    units = unit_positions(model)
    others = np.setdiff1d(np.arange(landscape.theta.size), units)
    parts = _logits(landscape) if loss is cross_entropy else _residuals(landscape)
    if parts is None:
        return DenseHessian(landscape)
    outputs, samples, weight = parts
    candidate = UnitHessian(
        outputs=outputs,
        of_outputs=CROSS_ENTROPY if loss is cross_entropy else SQUARES,
        samples=samples,
        weight=weight,
        units=jnp.asarray(units),
        others=jnp.asarray(others),
    )
    return candidate if _agrees(candidate, landscape) else DenseHessian(landscape)


def _logits(landscape: Landscape) -> tuple[Traced, Any, Float[np.ndarray, ""]] | None:
    """The logits of one sample as a function of θ, all samples, and their weight; for one answer per sample."""
    model, data, theta = landscape.model, landscape.data, landscape.theta
    x, y = data[0], np.asarray(data[1])
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
    logits = jax.eval_shape(model, one)
    if logits.ndim != 1:
        return None
    if y.ndim == 1:
        y = np.eye(logits.size, dtype=theta.dtype)[y]
    weights = np.asarray(data[2] if len(data) > 2 else np.ones(len(y)), theta.dtype)
    samples = jax.device_put((x, y, weights))
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), samples)
    function = lambda theta, sample: unflatten(model, theta)(sample[0])  # noqa: E731
    return trace(function, theta, one), samples, np.asarray(1 / np.sum(weights), theta.dtype)


def _residuals(landscape: Landscape) -> tuple[Traced, Any, Float[np.ndarray, ""]]:
    """The residuals of one sample as a function of θ, all samples, and the weight of half a squared residual."""
    model, data, theta = landscape.model, landscape.data, landscape.theta
    if not isinstance(landscape.loss, SquaredError):  # of sufficient statistics
        one, samples, weight = data, jax.tree.map(lambda a: np.asarray(a)[None], data), 1.0
        function = lambda theta, sample: residual_matrix(unflatten(model, theta), sample).ravel()  # noqa: E731
    else:
        x, y = samples = data
        weight = landscape.loss.weight(y)
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), (x, y))
        function = lambda theta, sample: jnp.ravel(unflatten(model, theta)(sample[0]) - sample[1])  # noqa: E731
    return trace(function, theta, one), samples, np.asarray(2 * weight, theta.dtype)


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
