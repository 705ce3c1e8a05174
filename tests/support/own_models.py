"""Models as users write them, without declarations; their units are derived by hand in `test_found_units.py`."""

from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from saddlescope.models import Committee, tanh
from saddlescope.models.initialisation import normal_array, split_key

from suite.own_networks import Block, Residual, Tied

KEYS = split_key(jax.random.key(0), 8)


class ConvPool(eqx.Module):
    """A convolution of 4 channels on 6 × 6 pixels, with pooling."""

    conv: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    readout: eqx.nn.Linear

    def __call__(self, x):
        return self.readout(jnp.ravel(self.pool(jax.nn.relu(self.conv(x)))))


class Normalised(eqx.Module):
    """6 channels, normalised in 3 groups of 2."""

    conv: eqx.nn.Conv1d
    norm: eqx.nn.GroupNorm
    readout: eqx.nn.Linear

    def __call__(self, x):
        return self.readout(jnp.mean(jnp.tanh(self.norm(self.conv(x))), axis=1))


class Recurrent(eqx.Module):
    """A recurrent cell of 4 units over a sequence, and a readout of its last state."""

    cell: Any
    readout: eqx.nn.Linear

    def __call__(self, x):
        start = jnp.zeros(4)
        start = start if isinstance(self.cell, eqx.nn.GRUCell) else (start, start)
        state, _ = jax.lax.scan(lambda state, z: (self.cell(z, state), None), start, x)
        return self.readout(jax.tree.leaves(state)[0])


class Mixture(eqx.Module):
    """Two experts of 3 hidden neurons each, mixed by a softmax."""

    first: Array  # experts × hidden × inputs
    second: Array  # experts × hidden
    gate: Array  # experts × inputs

    def __call__(self, x):
        hidden = jax.nn.relu(self.first @ x)
        return jnp.sum(jax.nn.softmax(self.gate @ x) * jnp.sum(self.second * hidden, axis=1), keepdims=True)


class Frozen(eqx.Module):
    """Tokens of a frozen embedding, averaged and read by a network of 4 hidden neurons."""

    embedding: Array  # tokens × entries
    hidden: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __call__(self, tokens):
        mean = jnp.mean(jax.lax.stop_gradient(self.embedding)[tokens], axis=0)
        return self.readout(jax.nn.softplus(self.hidden(mean)))


class DeepSets(eqx.Module):
    """A function of a set: 4 neurons for each element, 3 sums, and 5 neurons on top."""

    element: eqx.nn.Linear
    code: eqx.nn.Linear
    outer: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __call__(self, x):
        codes = jax.vmap(lambda z: self.code(jax.nn.relu(self.element(z))))(x)
        return self.readout(jnp.square(self.outer(jnp.sum(codes, axis=0))))


class Broken(eqx.Module):
    """Neurons whose outputs are weighed by fixed numbers, no two of them equal."""

    hidden: eqx.nn.Linear

    def __call__(self, x):
        return jnp.sum(np.arange(1.0, 5.0) * jnp.tanh(self.hidden(x)), keepdims=True)


def _linear(inputs: int, outputs: int, key: int) -> eqx.nn.Linear:
    return eqx.nn.Linear(inputs, outputs, key=KEYS[key])


class Case(NamedTuple):
    """A model and one input."""

    model: Any
    example: Any


def _normal(*shape: int) -> Array:
    return normal_array(KEYS[7], shape)


@cache
def cases() -> dict[str, Case]:
    """The models by name, made when first asked for."""
    mlp = lambda activation: eqx.nn.MLP(2, 1, 4, 2, activation=activation, key=KEYS[0])  # noqa: E731
    block = Block(
        embed=_linear(3, 4, 0),
        norm=eqx.nn.LayerNorm(4),
        attention=eqx.nn.MultiheadAttention(2, 4, key=KEYS[1]),
        mlp=eqx.nn.MLP(4, 4, 5, 1, activation=jax.nn.gelu, key=KEYS[2]),
        readout=_linear(4, 1, 3),
    )
    return {
        "mlp relu": Case(mlp(jax.nn.relu), np.ones(2)),
        "mlp gelu": Case(mlp(jax.nn.gelu), np.ones(2)),
        "residual": Case(Residual(_linear(2, 4, 0), _linear(4, 5, 1), _linear(5, 4, 2), _linear(4, 1, 3)), np.ones(2)),
        "convolution": Case(
            ConvPool(eqx.nn.Conv2d(2, 4, 3, key=KEYS[0]), eqx.nn.MaxPool2d(2, 2), _linear(16, 1, 1)), np.ones((2, 6, 6))
        ),
        "group norm": Case(
            Normalised(eqx.nn.Conv1d(2, 6, 3, key=KEYS[0]), eqx.nn.GroupNorm(3, 6), _linear(6, 1, 1)), np.ones((2, 5))
        ),
        "attention": Case(block, np.ones((3, 3))),
        "gru": Case(Recurrent(eqx.nn.GRUCell(2, 4, key=KEYS[0]), _linear(4, 1, 1)), np.ones((3, 2))),
        "lstm": Case(Recurrent(eqx.nn.LSTMCell(2, 4, key=KEYS[0]), _linear(4, 1, 1)), np.ones((3, 2))),
        "tied": Case(Tied(_normal(4, 3), _normal(4), _normal(3)), np.ones(3)),
        "mixture": Case(Mixture(_normal(2, 3, 4), _normal(2, 3), _normal(2, 4)), np.ones(4)),
        "frozen embedding": Case(Frozen(_normal(5, 3), _linear(3, 4, 0), _linear(4, 1, 1)), np.array([0, 3, 1])),
        "deep sets": Case(
            DeepSets(_linear(2, 4, 0), _linear(4, 3, 1), _linear(3, 5, 2), _linear(5, 1, 3)), np.ones((6, 2))
        ),
        "committee": Case(Committee(tanh, inputs=2, width=4, scale=1.0, key=KEYS[0]), np.ones(2)),
        "broken": Case(Broken(_linear(2, 4, 0)), np.ones(2)),
    }
