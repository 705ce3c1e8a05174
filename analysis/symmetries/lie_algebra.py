"""The number of quantities that a model's gradient flows conserve for any loss, from the rank of a Lie algebra."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ...flows import flatten, unflatten
from ...flows.compilation.traced import Traced, compiled, trace
from ...models.initialisation import normal_array, split_key
from ..numerical_rank import DERIVATIVE_TOLERANCE, numerical_rank
from .outputs import Outputs

# Random brackets beyond the number of parameters, so that they span all that brackets of their depth span.
SURPLUS = 10


class ConservedCount(eqx.Module):
    r"""The number of independent conserved quantities of a model.

    Attributes:
        count: $D - \dim \mathrm{Lie}$.
        parameters: D, the number of parameters.
        dimensions: of the span of brackets up to depth 1, 2, …; the last two agree unless `closed` is false.
        closed: whether the span did not grow with the last depth; if false, `count` is an upper bound.
        gap: smallest singular value that counts over the largest that does not; infinite if there is none.
    """

    count: int
    parameters: int
    dimensions: tuple[int, ...]
    closed: bool
    gap: float

    def __str__(self) -> str:
        bound = "" if self.closed else "at most "
        depths = ", ".join(map(str, self.dimensions))
        return (
            f"{bound}{self.count} conserved quantities of {self.parameters} parameters\n"
            f"  span of brackets of depth 1, 2, …: {depths} dimensions; gap in singular values {self.gap:.2g}"
        )


def conserved_count(model: Any, inputs: Any, *, max_depth: int = 4, points: int = 16, seed: int = 0) -> ConservedCount:
    r"""Counts the quantities that every gradient flow of the model's outputs conserves.

    A function h(θ) is conserved for every loss of the outputs and every data set if and only if
    $\nabla h \perp \nabla_\theta f_o(\theta; x)$ for all inputs x and outputs o, hence also $\perp$ to all brackets
    $[X, Y] = DY\,X - DX\,Y$ of these fields. At a generic θ the number of independent ones is D minus the dimension of
    the Lie algebra that they generate (Frobenius). Brackets $[X_1, [X_2, [\dots, X_d]]]$ of random combinations of the
    fields are computed by nested forward derivatives, depth by depth, until their span stops growing.

    Args:
        model: any Equinox module, called on one input.
        inputs: a batch of generic inputs, enough to span the fields (for ReLU networks: of all activation patterns).
        max_depth: the deepest brackets; the algebras of common architectures close at depth 2 or 3.
        points: number of standard normal θ, of which the one with the largest dimension counts: where ReLU units are
            inactive or always active, further quantities are conserved locally.
        seed: of these points.

    Returns:
        The count, with the dimensions that it rests on.

    Source: Marcotte, Gribonval & Peyré (2023), "Abide by the law and follow the flow".
    """
    return count_of_outputs(model, Outputs(inputs=inputs), max_depth=max_depth, points=points, seed=seed)


def count_of_outputs(
    model: Any, all_outputs: Outputs, *, max_depth: int = 4, points: int = 16, seed: int = 0
) -> ConservedCount:
    """As `conserved_count`, for the outputs that data determine.

    Args:
        model: any Equinox module.
        all_outputs: the function from a model to these outputs.
        max_depth: the deepest brackets.
        points: number of standard normal θ.
        seed: of these points.

    Returns:
        The count.
    """
    flat = flatten(model)
    outputs = trace(lambda point: all_outputs(unflatten(model, point)), flat)
    keys = split_key(jax.random.key(seed), points)
    found = [_count(outputs, np.asarray(normal_array(key, flat.shape), flat.dtype), max_depth) for key in keys]
    return min(found, key=lambda result: result.count)


def _count(outputs: Traced, theta: Float[np.ndarray, " D"], max_depth: int) -> ConservedCount:
    """The count at one point."""
    key, fields = jax.random.key(1), jax.eval_shape(outputs, theta).shape[0]
    rows, dimensions, gap = np.zeros((0, theta.size)), [], np.inf
    for depth in range(1, max_depth + 1):
        key, use = split_key(key, 2)
        weights = np.asarray(normal_array(use, (theta.size + SURPLUS, depth, fields), fields**-0.5), theta.dtype)
        rows = np.vstack([rows, _scaled(np.asarray(_brackets(outputs, theta, weights)), rows)])
        values = np.linalg.svd(rows, compute_uv=False)
        rank = numerical_rank(values, DERIVATIVE_TOLERANCE)
        gap = float(values[rank - 1] / values[rank]) if rank < len(values) and values[rank] > 0 else np.inf
        dimensions.append(rank)
        if rank == theta.size or dimensions[-2:] == [rank, rank]:
            break
    closed = dimensions[-1] == theta.size or (len(dimensions) > 1 and dimensions[-1] == dimensions[-2])
    size = theta.size
    return ConservedCount(
        count=size - dimensions[-1], parameters=size, dimensions=tuple(dimensions), closed=closed, gap=gap
    )


@compiled
def _brackets(outputs: Traced, theta: Any, weights: Float[Any, "k depth P"]) -> Float[Array, "k D"]:
    return jax.vmap(lambda combinations: _bracket(outputs, theta, combinations))(weights)


def _bracket(outputs: Callable[[Any], Array], theta: Any, combinations: Float[Array, "depth P"]) -> Float[Array, " D"]:
    def field(combination: Array) -> Callable[[Array], Array]:
        return jax.grad(lambda point: outputs(point) @ combination)

    inner = field(combinations[-1])
    for combination in combinations[-2::-1]:
        inner = _commutator(field(combination), inner)
    return inner(theta)


def _commutator(x: Callable[[Array], Array], y: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def commutator(point: Array) -> Array:
        # The value of y, itself a bracket, comes with its derivative, so that it is evaluated once at each depth.
        value, along_x = jax.jvp(y, (point,), (x(point),))
        return along_x - jax.jvp(x, (point,), (value,))[1]

    return commutator


def _scaled(found: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Brackets of one depth scaled to the size of the fields; those that vanish to rounding stay as they are."""
    size = np.max(np.linalg.norm(found, axis=1))
    reference = np.max(np.linalg.norm(known, axis=1), initial=0.0)
    return found * (reference / size) if reference and size > DERIVATIVE_TOLERANCE * reference else found
