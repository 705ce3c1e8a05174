"""Soft committee machines: hidden units whose outputs are added up."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .activation import Activation
from .architecture import check_scale, check_sizes
from .initialisation import normal_array


class Committee(eqx.Module):
    r"""$f(x) = \sum_{i=1}^K \sigma(w_i \cdot x)$: a two-layer network with outgoing weights fixed to one.

    It declares no units: they cannot share an output, so that wide committees do not embed narrow ones.

    **Arguments:** `activation`: σ; `inputs`: N; `width`: K; `scale`: standard deviation of the weights; `key`.

    Source: Saad & Solla (1995), "On-line learning in soft committee machines".
    """

    weights: Float[Array, "K N"]
    activation: Activation = eqx.field(static=True)

    def __init__(self, activation: Activation, *, inputs: int, width: int, scale: float, key: PRNGKeyArray):
        check_sizes(inputs=inputs, width=width)
        check_scale(scale)
        self.weights = normal_array(key, (width, inputs), scale)
        self.activation = activation

    def __call__(self, x: Float[Array, " N"]) -> Float[Array, " 1"]:
        """The output for one input."""
        return jnp.sum(self.activation(self.weights @ x), keepdims=True)
