"""Squared errors without the sample: exact sufficient statistics."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ...models.features import Features, features_of
from ...models.units import as_jax
from ..compilation.traced import Traced, trace
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten
from .declaration import declares
from .prefix_cross_entropy import PrefixCrossEntropy, prefix_loss
from .squared_error import SquaredError


class SufficientStatistics(eqx.Module):
    r"""All that a squared error needs of data if the model is linear in features, $f = A Z$.

    $L(A) = \|(A - A^*) R^\top\|_F^2 + L^*$. The difference $A - A^*$ is formed before anything is squared, so that
    nothing cancels near convergence.

    Attributes:
        factor: R, with $R^\top R = w \langle Z Z^\top \rangle$ and w the loss's weight of a squared residual.
        target: the best coefficients $A^*$.
        constant: $L^*$, the loss there.
    """

    factor: Float[Any, "R F"]
    target: Float[Any, "outputs F"]
    constant: Float[Any, ""]

    def __str__(self) -> str:
        outputs, features = self.target.shape
        known = not isinstance(self.constant, Tracer)
        rank = f" of rank {np.linalg.matrix_rank(np.asarray(self.factor))}" if known else ""
        least = f"{float(self.constant):.6g}" if known else "unknown under tracing"
        return (
            f"sufficient statistics of {features} features{rank} and {outputs} output{'s' * (outputs != 1)}\n"
            f"  smallest loss of linear coefficients: {least}"
        )


def _least_loss(data: SufficientStatistics) -> Any:
    """The loss of the best coefficients, which no model undercuts."""
    return data.constant


@declares(lower_bound=_least_loss, convex=True)
def statistics_loss(model: Any, data: SufficientStatistics) -> Float[Array, ""]:
    """The squared error of a model that declares its features, from `SufficientStatistics` instead of a sample."""
    return jnp.sum(residual_matrix(model, data) ** 2) + data.constant


def residual_matrix(model: Any, data: SufficientStatistics) -> Float[Array, "outputs R"]:
    r"""The matrix $(A - A^*) R^\top$, whose squares sum to the loss above its minimum.

    Args:
        model: a model that declares its features.
        data: its statistics.

    Returns:
        The residual matrix.

    Raises:
        ValueError: when the model declares no features.
    """
    features = features_of(model)
    if features is None:
        raise ValueError(f"{type(model).__name__} declares no features; statistics do not apply to it.")
    return (features.coefficients(model) - data.target) @ data.factor.T


def from_sample(z: Float[np.ndarray, "P F"], y: Float[np.ndarray, "P outputs"], weight: float) -> SufficientStatistics:
    r"""Statistics of a sample, for the loss $w \sum_\mu \|y_\mu - A z_\mu\|^2$.

    By a QR factorisation of the features and targets together, not of their moments, whose condition number is the
    square.

    Args:
        z: the features, one row per sample.
        y: the targets, one row per sample.
        weight: w.

    Returns:
        The statistics.
    """
    # In double precision, also of data in a lower one: the model may be in double precision, and so is its loss then.
    factor = np.linalg.qr(np.column_stack([z, y]).astype(float), mode="r") * np.sqrt(weight)
    count = z.shape[1]
    r, targets = factor[:, :count], factor[:, count:]
    # Features may depend on each other: then the shortest of the best coefficients serves as well as any.
    target = np.linalg.lstsq(r, targets, rcond=None)[0]
    constant = np.sum((targets - r @ target) ** 2)
    return _statistics(r[:count], target.T, constant)


def from_moments(
    second: Float[np.ndarray, "F F"], cross: Float[np.ndarray, "outputs F"], total: float, weight: float = 1.0
) -> SufficientStatistics:
    r"""Statistics of a population, for the loss $w E\|y - A Z\|^2$.

    Args:
        second: second moments $E[ZZ^\top]$ of the features.
        cross: cross moments $E[yZ^\top]$.
        total: second moment $E\|y\|^2$ of the targets.
        weight: w.

    Returns:
        The statistics.

    Raises:
        ValueError: when the second moments are not positive semidefinite.
    """
    values, vectors = np.linalg.eigh(second)
    if values[0] < -1e-12 * values[-1]:  # beyond rounding
        raise ValueError(f"second moments must be positive semidefinite; their lowest eigenvalue is {values[0]:g}.")
    factor = np.sqrt(weight * np.maximum(values, 0.0))[:, None] * vectors.T
    target = cross @ np.linalg.pinv(second, hermitian=True)
    constant = weight * max(total - float(np.sum(target * cross)), 0.0)
    return _statistics(factor, target, np.asarray(constant))


def _statistics(factor: np.ndarray, target: np.ndarray, constant: Any) -> SufficientStatistics:
    return SufficientStatistics(factor=as_jax(factor), target=as_jax(target), constant=as_jax(constant))


def reduced_data(model: Any, loss: Callable[[Any, Any], Any], data: Any) -> tuple[Callable[[Any, Any], Any], Any]:
    """(`statistics_loss`, statistics) where these can replace the sample, else the `prefix_loss` of data."""
    statistics = sufficient_statistics(model, loss, data)
    if statistics is not None:
        return statistics_loss, statistics
    return (prefix_loss(model, loss, data) if hasattr(model, "on_prefixes") else loss), data


def is_reduced(landscape: Landscape) -> bool:
    """Whether a landscape is on what `reduced_data` makes of a sample."""
    return isinstance(landscape.data, SufficientStatistics) or isinstance(landscape.loss, PrefixCrossEntropy)


def reduced_landscape(landscape: Landscape) -> Landscape:
    """The same landscape on exact sufficient statistics of its data, where these can replace the sample."""
    loss, data = reduced_data(landscape.model, landscape.loss, landscape.data)
    same = data is landscape.data and loss is landscape.loss
    return landscape if same else Landscape(landscape.model, loss, data)


def features_on(features: Features, x: Any) -> Float[np.ndarray, "P F"]:
    """The features of every input of a sample."""
    one = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape[1:], array.dtype), x)
    return np.asarray(_features(trace(features.of_input, one), x))


@eqx.filter_jit
def _features(of_input: Traced, x: Any) -> Float[Array, "P F"]:
    return jax.vmap(of_input)(x)


def sufficient_statistics(model: Any, loss: Callable[[Any, Any], Any], data: Any) -> SufficientStatistics | None:
    """Exact statistics that can replace a sample.

    Args:
        model: any model.
        loss: scalar function of (model, data).
        data: for a squared error, the pair (x, y) with the samples on the first axis.

    Returns:
        The statistics, in the precision of the loss; `None` where the loss is not a `SquaredError`, the model declares
        no features, or they would not be smaller than the sample or would leave the range of its numbers.
    """
    features = features_of(model)
    if features is None or not isinstance(loss, SquaredError):
        return None
    x, y = data
    outputs = y.reshape(y.shape[0], -1)
    z = features_on(features, x)
    if z.shape[0] <= z.shape[1] + outputs.shape[1]:
        return None
    with np.errstate(all="ignore"):
        statistics = from_sample(z, np.asarray(outputs), loss.weight(y))
        dtype = jnp.result_type(flatten(model).dtype, z, y)
        statistics = jax.tree.map(lambda array: as_jax(np.asarray(array, dtype)), statistics)
    return statistics if all(np.all(np.isfinite(array)) for array in jax.tree.leaves(statistics)) else None
