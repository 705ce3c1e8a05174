"""Handwritten digits of 8 × 8 pixels, told apart by small networks from small initial weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...flows import half_squared_error
from ...models import Activation, Dense, relu, tanh
from ...models.arguments import check_scale, check_sizes
from ...models.initialisation import normal_arrays
from ..data.images import digits
from ..data.synthetic import Pair
from .experiment import Experiment, two_layer

PIXELS, SIDE, CLASSES = 64, 8, 10
KERNEL = 3
# Averages over 2 × 2 places of the 6 × 6 to which a kernel fits.
POOLED = 3
# Seconds: of these networks only the first critical points are found in a minute.
BUDGET = 600.0


class ConvolutionalNetwork(eqx.Module):
    r"""One layer of kernels of 3 × 3 pixels, an activation, the average over squares of 2 × 2, and a linear readout.

    Args:
        activation: of the channels.
        width: number of kernels, at least 1.
        scale: standard deviation $\varepsilon \ge 0$ of all entries, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Attributes:
        kernels: one for each channel.
        readout: from channel and square to the classes.
        activation: of the channels.
    """

    kernels: Float[Array, "H 3 3"]
    readout: Float[Array, "H 9 10"]
    activation: Activation = eqx.field(static=True)

    def __init__(self, activation: Activation, *, width: int, scale: float, key: PRNGKeyArray):
        check_sizes(width=width)
        check_scale(scale)
        shapes = (width, KERNEL, KERNEL), (width, POOLED**2, CLASSES)
        self.kernels, self.readout = normal_arrays(key, shapes, scale)
        self.activation = activation

    def __call__(self, x: Float[Any, " pixels"]) -> Float[Array, " classes"]:
        """The outputs for one image, flattened."""
        image = jnp.reshape(x, (1, 1, SIDE, SIDE))
        channels = self.activation(jax.lax.conv(image, self.kernels[:, None], (1, 1), "VALID")[0])
        squares = channels.reshape(len(channels), POOLED, 2, POOLED, 2).mean(axis=(2, 4))
        return jnp.einsum("hs,hsc->c", squares.reshape(len(channels), POOLED**2), self.readout)


def digits_data(key: PRNGKeyArray | None = None) -> Pair:
    """All 1797 digits and their one-hot classes; no key is used."""
    del key
    images, classes = digits()
    return jax.device_put((images, np.eye(CLASSES)[classes]))


def first_level(data: Pair) -> tuple[float, ...]:
    """The loss of zero weights, the only level that theory gives."""
    return (float(np.mean(np.sum(np.asarray(data[1]) ** 2, axis=1)) / 2),)


def _experiment(name: str, **settings: Any) -> Experiment:
    return Experiment(
        name=name,
        scale=1e-6,
        make_data=digits_data,
        loss=half_squared_error,
        levels=first_level,
        budget=BUDGET,
        **settings,
    )


SETUPS = (
    _experiment("digits-tanh", make_model=two_layer(Dense(tanh, inputs=PIXELS, outputs=CLASSES)), width=50, t1=150.0),
    _experiment("digits-relu", make_model=two_layer(Dense(relu, inputs=PIXELS, outputs=CLASSES)), width=50, t1=40.0),
    _experiment(
        "digits-conv",
        make_model=lambda width, scale, key: ConvolutionalNetwork(tanh, width=width, scale=scale, key=key),
        width=8,
        t1=300.0,
    ),
)
