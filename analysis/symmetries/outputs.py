"""What the data determine of a model: the function that a symmetry must leave invariant."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...flows.losses.statistics import SufficientStatistics
from ...models.features import features_of
from ...models.unit_axis import array_namespace

# Inputs on which a symmetry must hold: enough to determine it, few enough for the linear system to stay small.
INPUTS = 64


class Outputs(eqx.Module):
    """The function from a model to all that the data determine of it: its outputs, or its coefficients in features.

    Attributes:
        inputs: a batch of inputs; `None` for the coefficients, which all sufficient statistics depend on.
    """

    inputs: Any

    def __call__(self, model: Any) -> Float[Array, " k"]:
        """Outputs or coefficients, flattened."""
        if self.inputs is not None:
            return jnp.ravel(jax.vmap(model)(self.inputs))
        features = features_of(model)
        if features is None:
            raise ValueError(f"{type(model).__name__} declares no features; statistics do not apply to it.")
        return jnp.ravel(features.coefficients(model))


def outputs_on(model: Any, data: Any) -> Outputs | None:
    """What the data determine of a model.

    Args:
        model: the model.
        data: a pair (x, y) with inputs of the model, `SufficientStatistics`, or anything else.

    Returns:
        The outputs on the first inputs of a pair, the coefficients for statistics; else `None`.
    """
    if isinstance(data, SufficientStatistics):
        return Outputs(inputs=None)
    if isinstance(data, tuple) and len(data) == 2 and callable(model):
        try:
            outputs = Outputs(inputs=jax.tree.map(lambda x: array_namespace(x).asarray(x)[:INPUTS], data[0]))
            eqx.filter_eval_shape(outputs, model)
        except Exception:  # whatever a model raises for what is not an input of it
            return None
        return outputs
    return None


def number_of_outputs(model: Any, data: Any) -> int | None:
    """The number of outputs on all inputs of a pair (x, y); `None` for other data."""
    if not isinstance(outputs_on(model, data), Outputs) or isinstance(data, SufficientStatistics):
        return None
    return int(eqx.filter_eval_shape(Outputs(inputs=data[0]), model).size)
