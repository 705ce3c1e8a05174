"""Squared errors in the normalisations that the literature uses; the choice only rescales time."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Data = tuple[Any, Float[Any, "P *outputs"]]


class SquaredError(eqx.Module):
    r"""The squared error of a model on a sample, $L = w \sum_\mu \|y_\mu - f(x_\mu)\|^2$.

    A scalar function of (model, data). Two are equal if they have the same normalisation, so that copies are too.

    Attributes:
        name: the loss's name.
        halved: whether there is a factor 1/2.
        averages_outputs: whether the error is averaged over the outputs as well as over the samples.
        lower_bound: zero.
        convex: whether it is convex in the model's output: it is.
    """

    lower_bound: ClassVar[float] = 0.0
    convex: ClassVar[bool] = True

    name: str = eqx.field(static=True)
    halved: bool = eqx.field(static=True)
    averages_outputs: bool = eqx.field(static=True)

    def __call__(self, model: Any, data: Data) -> Float[Array, ""]:
        """The loss of a function of one input on a pair (x, y) with the samples on the first axis."""
        return jnp.sum(_residuals(model, data) ** 2) / self.divisor(data[1])

    def residuals(self, model: Any, data: Data) -> Float[Array, " m"]:
        """All residuals, of which the loss is the sum of squares."""
        return jnp.ravel(_residuals(model, data)) * jnp.sqrt(self.weight(data[1]))

    def divisor(self, y: Float[Any, "P *outputs"]) -> int:
        """The integer 1/w for targets y."""
        return (2 if self.halved else 1) * (y.size if self.averages_outputs else y.shape[0])

    def weight(self, y: Float[Any, "P *outputs"]) -> float:
        """The weight w of a squared residual for targets y."""
        return 1 / self.divisor(y)

    def __str__(self) -> str:
        return self.name


def _residuals(model: Any, data: Data) -> Float[Array, "P *outputs"]:
    x, y = data
    prediction = jax.vmap(model)(x)
    if prediction.shape != y.shape:
        raise ValueError(f"the model's outputs have shape {prediction.shape} but the targets have shape {y.shape}.")
    return prediction - y


mean_squared_error: SquaredError = SquaredError(name="mean squared error", halved=False, averages_outputs=True)
r"""The squared error averaged over samples and outputs, $L = \frac{1}{P N_v} \sum_\mu \|y_\mu - f(x_\mu)\|^2$."""

half_squared_error: SquaredError = SquaredError(name="half squared error", halved=True, averages_outputs=False)
r"""Half the squared error, averaged over samples only, $L = \frac{1}{2P} \sum_\mu \|y_\mu - f(x_\mu)\|^2$.

The normalisation of most theory; $N_v/2$ times `mean_squared_error`, so its flow is $N_v/2$ times as fast.
"""
