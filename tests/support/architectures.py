"""One small problem per architecture: adding a line here adds its law tests."""

from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from saddlescope.models import (
    Activation,
    Convolution,
    Deep,
    Dense,
    DiagonalLinear,
    LinearAttention,
    MergedAttention,
    SkipConnected,
    Slot,
    SoftmaxAttention,
    TwoLayer,
    UnitLaw,
    Units,
    linear,
    quadratic,
    relu,
    tanh,
)
from saddlescope.models.initialisation import normal_array, normal_arrays, split_key
from saddlescope.models.units import layers_of

SAMPLES = 12


def normal(seed: int, *shape: int) -> Array:
    """Standard normal entries, those of `jax.random.normal`, from one compiled function for all shapes."""
    return normal_array(jax.random.key(seed), shape)


@eqx.filter_jit
def outputs(model: Any, x: Any) -> Array:
    """The outputs for several inputs."""
    return jax.vmap(model)(x)


class Problem(NamedTuple):
    """A wide model of scale 1, and data that it does not fit exactly."""

    model: Any
    data: Any


class Foreign(eqx.Module):
    """A user's network: Equinox layers with biases, units on axis 0 of some arrays and axis 1 of another."""

    hidden: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, width: int, *, key):
        first, second = split_key(key, 2)
        self.hidden = eqx.nn.Linear(2, width, key=first)
        self.readout = eqx.nn.Linear(width, 2, key=second)

    @property
    def units(self) -> Units:
        incoming = (Slot(_hidden_weight), Slot(_hidden_bias))
        return Units(incoming=incoming, outgoing=(Slot(_readout_weight, axis=1),), law=UnitLaw(zero=True))

    def __call__(self, x):
        return self.readout(jnp.tanh(self.hidden(x)))


def _hidden_weight(model: Foreign) -> Array:
    return model.hidden.weight


def _hidden_bias(model: Foreign) -> Array:
    return model.hidden.bias


def _readout_weight(model: Foreign) -> Array:
    return model.readout.weight


def _model(architecture, width):
    return lambda key: TwoLayer(architecture, width=width, scale=1.0, key=key)


def _deep(architecture, *widths, **options):
    return lambda key: Deep(architecture, widths=widths, scale=1.0, key=key, **options)


def _skip(activation, skip):
    return lambda key: SkipConnected(activation, inputs=2, width=3, outputs=2, skip=skip, scale=1.0, key=key)


FIRST = "linear relu quadratic tanh sine linear-conv relu-conv attention attention-rank-2 foreign".split()
MODELS = {
    "linear": (_model(Dense(linear, inputs=3, outputs=2), 5), (3,), 2),
    "relu": (_model(Dense(relu, inputs=2, outputs=2), 5), (2,), 2),
    "quadratic": (_model(Dense(quadratic, inputs=3, outputs=1), 4), (3,), 1),
    "tanh": (_model(Dense(tanh, inputs=2, outputs=2), 4), (2,), 2),
    "sine": (_model(Dense(Activation("sine", jnp.sin), inputs=2, outputs=1), 4), (2,), 1),
    "linear-conv": (_model(Convolution(linear, inputs=5, kernel=3), 4), (5,), 1),
    "relu-conv": (_model(Convolution(relu, inputs=6, kernel=2, stride=2), 4), (6,), 1),
    "attention": (_model(LinearAttention(inputs=3), 4), ((3,), (3,)), 1),
    "attention-rank-2": (_model(LinearAttention(inputs=3, rank=2), 3), ((3,), (3,)), 1),
    "merged-attention": (_model(MergedAttention(inputs=2), 3), ((2,), (2,)), 1),
    # Four heads: of three the compiler treats the third differently, and equal heads part in the last bit.
    "softmax-attention": (_model(SoftmaxAttention(inputs=2, rank=2), 4), (4, 3), 1),
    "biased-relu": (_model(Dense(relu, inputs=2, outputs=1, bias=True), 3), (2,), 1),
    "deep-linear": (_deep(Dense(linear, inputs=2, outputs=2), 3, 4, 3), (2,), 2),
    "deep-relu": (_deep(Dense(relu, inputs=2, outputs=2), 4, 4), (2,), 2),
    "deep-tanh-with-biases": (_deep(Dense(tanh, inputs=2, outputs=1, bias=True), 3, 4, bias=True), (2,), 1),
    "conv-dense": (_deep(Convolution(linear, inputs=4, kernel=2, stride=2, outputs=2), 3, 4), (4,), 2),
    "relu-conv-dense": (_deep(Convolution(relu, inputs=4, kernel=2, stride=2), 4, 4), (4,), 1),
    "linear-transformer": (_deep(LinearAttention(inputs=2), 3, 3, 3), ((2,), (2,)), 1),
    "quadratic-linear": (_deep(Dense(quadratic, inputs=2, outputs=2), 4, 3, activation=linear), (2,), 2),
    "skip-1": (_skip(linear, 1), (2,), 2),
    "skip-2": (_skip(linear, 2), (2,), 2),
    "relu-skip-2": (_skip(relu, 2), (2,), 2),
    "diagonal": (lambda key: DiagonalLinear(inputs=3, layers=3, scale=1.0, key=key), (3,), 1),
    "foreign": (lambda key: Foreign(4, key=key), (2,), 2),
}


# Compilation dominates the cost of their tests: some are marked slow, except for the most informative models.
NEW = {name for name in MODELS if name not in FIRST}
# Duplicates of the others' structure: their laws are tested with the slow tests.
SLOW = {"deep-tanh-with-biases", "relu-conv-dense", "linear-transformer", "skip-2", "relu-skip-2", "merged-attention"}


def names(costly: Collection[str] = ()) -> list:
    """All models as parameters of a test, the duplicates and the `costly` ones marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow if name in {*SLOW, *costly} else ()) for name in MODELS]


def layers(name: str) -> range:
    """The numbers of the layers of units of a model."""
    return range(len(layers_of(problem(name).model)))


def each_layer() -> list:
    """All pairs of a model and one of its layers of units, the duplicates marked slow."""
    return [
        pytest.param(name, layer, marks=pytest.mark.slow if name in SLOW else ())
        for name in MODELS
        for layer in layers(name)
    ]


@cache
def problem(name: str, seed: int = 0) -> Problem:
    """The model and random data of one architecture."""
    make, inputs, outputs = MODELS[name]
    model_key, x_key, y_key = split_key(jax.random.key(seed), 3)
    shapes = inputs if isinstance(inputs[0], tuple) else (inputs,)
    x = normal_arrays(x_key, tuple((SAMPLES, *shape) for shape in shapes))
    x = x if isinstance(inputs[0], tuple) else x[0]
    return Problem(make(model_key), (x, normal_array(y_key, (SAMPLES, outputs))))
