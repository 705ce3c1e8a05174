"""Losses in the normalisations that the literature uses; the choice only rescales time."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Data = tuple[Any, Float[Array, "P *outputs"]]


def _residuals(model: Any, data: Data) -> Float[Array, "P *outputs"]:
    x, y = data
    prediction = jax.vmap(model)(x)
    if prediction.shape != y.shape:
        raise ValueError(f"the model's outputs have shape {prediction.shape} but the targets have shape {y.shape}.")
    return prediction - y


def mean_squared_error(model: Any, data: Data) -> Float[Array, ""]:
    r"""The squared error averaged over samples and outputs, $L = \frac{1}{P N_v} \sum_\mu \|y_\mu - f(x_\mu)\|^2$.

    **Arguments:** `model`: a function of one input; `data`: pair (x, y) with the samples on the first axis.
    """
    return jnp.mean(_residuals(model, data) ** 2)


def half_squared_error(model: Any, data: Data) -> Float[Array, ""]:
    r"""Half the squared error, averaged over samples only, $L = \frac{1}{2P} \sum_\mu \|y_\mu - f(x_\mu)\|^2$.

    The normalisation of most theory; $N_v/2$ times `mean_squared_error`, so its flow is $N_v/2$ times as fast.
    """
    residuals = _residuals(model, data)
    return jnp.sum(residuals**2) / (2 * residuals.shape[0])
