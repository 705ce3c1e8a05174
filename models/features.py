"""Models that are linear in fixed features of their input, f(x) = A(θ) Z(x)."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Features(eqx.Module):
    r"""Declares that $f(x) = A(\theta) Z(x)$: all of θ in the coefficients, all of x in the features.

    A model declares its features by an attribute or property `features` that holds this record. For squared errors
    the data then enter the loss through their second moments alone.

    Attributes:
        of_input: $Z(x) \in R^F$ of one input x.
        coefficients: $A(\theta) \in R^{outputs \times F}$ of a model.
        rank: the rank that A(θ) of a model cannot exceed, whatever θ; by default none is known.
    """

    _: KW_ONLY
    of_input: Callable[[Any], Any] = eqx.field(static=True)
    coefficients: Callable[[Any], Any] = eqx.field(static=True)
    rank: Callable[[Any], int] | None = eqx.field(static=True, default=None)

    def __str__(self) -> str:
        z, a = (getattr(f, "__name__", type(f).__name__) for f in (self.of_input, self.coefficients))
        return f"f(x) = A(θ) Z(x) with features Z = {z} and coefficients A = {a}"


def features_of(model: Any) -> Features | None:
    """Reads a model's declaration of features.

    Args:
        model: any object.

    Returns:
        The declaration, or `None` where the model has none.

    Raises:
        ValueError: for an attribute `features` that is no `Features`.
    """
    features = getattr(model, "features", None)
    if features is not None and not isinstance(features, Features):
        raise ValueError(f"model.features must be a saddlescope.models.Features; got {type(features).__name__}.")
    return features


def number_of_units(model: Any) -> int:
    r"""The number of units of a layer that is linear in them: the rank of $\sum_i v_i u_i^\top$ at most."""
    return model.parameters[0].shape[0]


def identity_features(x: Float[Any, " D"]) -> Float[Any, " D"]:
    """Z(x) = x."""
    return x


def product_features(x: Float[Any, " D"]) -> Float[Any, " F"]:
    """The D (D + 1) / 2 distinct products x_i x_j, i ≤ j."""
    first, second = np.triu_indices(x.shape[0])
    return x[first] * x[second]


def symmetric_coefficients(matrices: Float[Array, "outputs D D"]) -> Float[Array, "outputs F"]:
    """The coefficients of `product_features` that give xᵀAx for symmetric A."""
    first, second = np.triu_indices(matrices.shape[-1])
    return jnp.where(first == second, 1.0, 2.0) * matrices[:, first, second]


def outer_features(z: tuple[Float[Any, " D"], Float[Any, " E"]]) -> Float[Array, " F"]:
    """The D E products of an entry of the first input and one of the second."""
    return jnp.outer(*z).ravel()
