"""One small problem per architecture: adding a line here adds its law tests."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from saddlescope.models import (
    Activation,
    Convolution,
    Dense,
    LinearAttention,
    Slot,
    TwoLayer,
    UnitLaw,
    Units,
    linear,
    quadratic,
    relu,
    tanh,
)

SAMPLES = 12


class Problem(NamedTuple):
    """A wide model of scale 1, and data that it does not fit exactly."""

    model: Any
    data: Any


class Foreign(eqx.Module):
    """A user's network: Equinox layers with biases, units on axis 0 of some arrays and axis 1 of another."""

    hidden: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, width: int, *, key):
        first, second = jax.random.split(key)
        self.hidden = eqx.nn.Linear(2, width, key=first)
        self.readout = eqx.nn.Linear(width, 2, key=second)

    @property
    def units(self) -> Units:
        incoming = (Slot(_hidden_weight), Slot(_hidden_bias))
        return Units(incoming, (Slot(_readout_weight, axis=1),), UnitLaw(zero=True))

    def __call__(self, x):
        return self.readout(jnp.tanh(self.hidden(x)))


def _hidden_weight(model: Foreign) -> Array:
    return model.hidden.weight


def _hidden_bias(model: Foreign) -> Array:
    return model.hidden.bias


def _readout_weight(model: Foreign) -> Array:
    return model.readout.weight


def _model(architecture, width):
    return lambda key: TwoLayer(architecture, width, 1.0, key=key)


MODELS = {
    "linear": (_model(Dense(linear, 3, 2), 5), (3,), 2),
    "relu": (_model(Dense(relu, 2, 2), 5), (2,), 2),
    "quadratic": (_model(Dense(quadratic, 3, 1), 4), (3,), 1),
    "tanh": (_model(Dense(tanh, 2, 2), 4), (2,), 2),
    "sine": (_model(Dense(Activation("sine", jnp.sin, UnitLaw(zero=True)), 2, 1), 4), (2,), 1),
    "linear-conv": (_model(Convolution(linear, 5, 3), 4), (5,), 1),
    "relu-conv": (_model(Convolution(relu, 6, 2, 2), 4), (6,), 1),
    "attention": (_model(LinearAttention(3), 4), ((3,), (3,)), 1),
    "attention-rank-2": (_model(LinearAttention(3, rank=2), 3), ((3,), (3,)), 1),
    "foreign": (lambda key: Foreign(4, key=key), (2,), 2),
}


def problem(name: str, seed: int = 0) -> Problem:
    """The model and random data of one architecture."""
    make, inputs, outputs = MODELS[name]
    model_key, x_key, y_key = jax.random.split(jax.random.key(seed), 3)
    shapes = inputs if isinstance(inputs[0], tuple) else (inputs,)
    keys = jax.random.split(x_key, len(shapes))
    x = tuple(jax.random.normal(key, (SAMPLES, *shape)) for key, shape in zip(keys, shapes, strict=True))
    x = x if isinstance(inputs[0], tuple) else x[0]
    return Problem(make(model_key), (x, jax.random.normal(y_key, (SAMPLES, outputs))))
