"""The Hessian of a landscape in the cheapest exact form, and the Jacobian of the flow made of it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...models.units import layer_of, layers_of
from ..compilation.traced import Traced, trace
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import unflatten
from ..landscapes.unit_positions import unit_positions
from ..losses.cross_entropy import cross_entropy
from ..losses.squared_error import SquaredError
from ..losses.statistics import residual_matrix, statistics_loss
from .structure import agrees, separate
from .unit_hessian import CROSS_ENTROPY, SQUARES, UnitHessian


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
    # Units in several layers act on each other, unless all layers but one are linear; it shows at little cost.
    confirmed = (len(layers_of(model)) == 1 or separate(candidate)) and agrees(candidate, landscape)
    return candidate if confirmed else DenseHessian(landscape)


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
