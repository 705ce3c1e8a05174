"""Two networks of Figure 4 of Zhang, Saxe & Latham (2025), with units of first and of second order."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ...flows import mean_squared_error
from ...models import Activation, Dense, TwoLayer, tanh, x_tanh_x
from ...models.units import with_units
from ..data.synthetic import Pair, gaussian_inputs
from .experiment import Experiment, two_layer

SAMPLES = 8192
# Incoming weights of the teacher's two units.
DIRECTIONS = np.array([[1.0, 0.0], [0.0, 2.0]])


def teacher(activation: Activation, directions: Float[np.ndarray, "2 2"]) -> TwoLayer:
    """The teacher y = φ(x; u₁*) + φ(x; u₂*)."""
    model = TwoLayer(Dense(activation, inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    return with_units(model, directions, np.ones((2, 1)))


def teacher_data(activation: Activation, directions: Float[np.ndarray, "2 2"], samples: int, key: Any) -> Pair:
    """Standard normal inputs, targets with unit second moment, as for Figure 1G."""
    x = gaussian_inputs(samples, np.eye(2), key=key)
    y = np.asarray(jax.jit(jax.vmap(teacher(activation, directions)))(x))
    return jax.device_put((x, y / np.sqrt(np.mean(y**2))))


def first_level(data: Pair) -> tuple[float, ...]:
    """The loss of zero weights, the only level that theory gives."""
    return (float(np.mean(np.asarray(data[1]) ** 2)),)


def _experiment(name: str, activation: Activation, **settings: Any) -> Experiment:
    return Experiment(
        name=name,
        make_model=two_layer(Dense(activation, inputs=2, outputs=1)),
        make_data=lambda key: teacher_data(activation, DIRECTIONS, SAMPLES, key),
        loss=mean_squared_error,
        levels=first_level,
        **settings,
    )


SETUPS = (
    _experiment("tanh", tanh, width=50, scale=1e-6, t1=40.0),
    _experiment("x-tanh-x", x_tanh_x, width=10, scale=1e-4, t1=1e4),
)
