"""Soft committee machines: hidden units whose outputs are summed."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .activation import Activation, check_activation
from .arguments import check_key, check_scale, check_sizes
from .description import description
from .initialisation import normal_array


class Committee(eqx.Module):
    r"""$f(x) = \sum_{i=1}^K \sigma(w_i \cdot x)$: a two-layer network with outgoing weights fixed to one.

    It declares no units: units that cannot share an output do not embed a narrow committee in a wide one.

    Args:
        activation: σ.
        inputs: N, at least 1.
        width: K, at least 1.
        scale: standard deviation $\varepsilon \ge 0$ of the weights, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Raises:
        ValueError: for a size below 1, or a scale that is negative or not finite.

    Source: Saad & Solla (1995), "On-line learning in soft committee machines".
    """

    weights: Float[Array, "K N"]
    activation: Activation = eqx.field(static=True)

    def __init__(self, activation: Activation, *, inputs: int, width: int, scale: float, key: PRNGKeyArray):
        check_sizes(inputs=inputs, width=width)
        check_activation(activation)
        check_scale(scale)
        check_key(key)
        self.weights = normal_array(key, (width, inputs), scale)
        self.activation = activation

    def __call__(self, x: Float[Array, " N"]) -> Float[Array, " 1"]:
        """The output for one input (no batch axis)."""
        return jnp.sum(self.activation(self.weights @ x), keepdims=True)

    def __str__(self) -> str:
        width, inputs = self.weights.shape
        return f"{description(self)}\nsum of {width} units with activation {self.activation.name} of {inputs} inputs"
