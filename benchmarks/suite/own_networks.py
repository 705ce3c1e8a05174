"""Networks as people write them, with losses of their own and small data: each name makes (model, loss, data, t1)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def small(model, scale):
    """The model with all its arrays scaled."""
    return jax.tree.map(lambda leaf: scale * leaf if eqx.is_inexact_array(leaf) else leaf, model)


def squared(model, data):
    """A mean squared error that says nothing of itself."""
    x, y = data
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def cross_entropy(model, data):
    """That of classes, by hand."""
    x, classes = data
    logs = jax.nn.log_softmax(jax.vmap(model)(x))
    return -jnp.mean(jnp.take_along_axis(logs, classes[:, None], axis=1))


def decayed(model, data):
    """The same with weight decay."""
    squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    return cross_entropy(model, data) + 1e-3 * squares


def reconstruction(model, x):
    """The mean squared error of an autoencoder."""
    return jnp.mean((jax.vmap(model)(x) - x) ** 2)


def own_activation(x):
    """An activation that nobody else has."""
    return x * jax.nn.sigmoid(1.7 * x) + 0.1 * jnp.sin(x)


class Residual(eqx.Module):
    """A stream to which one block of neurons writes."""

    embed: eqx.nn.Linear
    down: eqx.nn.Linear
    up: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __call__(self, x):
        stream = self.embed(x)
        return self.readout(stream + self.up(jnp.tanh(self.down(stream))))


class Block(eqx.Module):
    """One block of a transformer, and a readout of the last place."""

    embed: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    readout: eqx.nn.Linear

    def __call__(self, x):
        stream = jax.vmap(self.embed)(x)
        z = jax.vmap(self.norm)(stream)
        stream = stream + self.attention(z, z, z)
        return self.readout((stream + jax.vmap(self.mlp)(jax.vmap(self.norm)(stream)))[-1])


class Recurrent(eqx.Module):
    """A recurrent cell over a sequence, and a readout of its last state."""

    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __call__(self, x):
        start = jnp.zeros(self.cell.hidden_size)
        return self.readout(jax.lax.scan(lambda state, z: (self.cell(z, state), None), start, x)[0])


class Tied(eqx.Module):
    """An autoencoder whose decoder is its encoder transposed."""

    weight: jax.Array
    hidden_bias: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return self.weight.T @ jnp.tanh(self.weight @ x + self.hidden_bias) + self.bias


class Mixture(eqx.Module):
    """Experts of hidden neurons, mixed by a softmax."""

    first: jax.Array  # experts × hidden × inputs
    second: jax.Array  # experts × hidden
    gate: jax.Array  # experts × inputs

    def __call__(self, x):
        hidden = jnp.tanh(self.first @ x)
        return jnp.sum(jax.nn.softmax(self.gate @ x) * jnp.sum(self.second * hidden, axis=1), keepdims=True)


class Frozen(eqx.Module):
    """Tokens of a frozen embedding, averaged and read by a small network."""

    embedding: jax.Array
    mlp: eqx.nn.MLP

    def __call__(self, tokens):
        return self.mlp(jnp.mean(jax.lax.stop_gradient(self.embedding)[tokens], axis=0))


class DeepSets(eqx.Module):
    """A function of a set."""

    element: eqx.nn.MLP
    outer: eqx.nn.MLP

    def __call__(self, x):
        return self.outer(jnp.sum(jax.vmap(self.element)(x), axis=0))


def _keys(count):
    return jax.random.split(jax.random.key(1), count)


def _linear(*sizes):
    return [eqx.nn.Linear(*size, key=key) for size, key in zip(sizes, _keys(len(sizes)), strict=True)]


def _normal(*shapes):
    return [jax.random.normal(key, shape) for key, shape in zip(_keys(len(shapes)), shapes, strict=True)]


def _points(inputs=2):
    x = np.random.default_rng(0).standard_normal((40, inputs))
    return x, np.tanh(2 * x[:, :1]) + 0.5 * np.tanh(x[:, 1:2])


def _sequences():
    x = np.random.default_rng(0).standard_normal((30, 5, 2))
    return x, np.tanh(x[:, :, 0]).mean(axis=1, keepdims=True) + 0.3 * x[:, -1, 1:]


def _images():
    generator = np.random.default_rng(0)
    x, kernel = generator.standard_normal((30, 1, 6, 6)), generator.standard_normal((3, 3))
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], (3, 3), axis=(1, 2))
    return x, np.tanh(np.einsum("nijkl,kl->nij", windows, kernel)).mean(axis=(1, 2))[:, None]


def _iris():
    from sklearn.datasets import load_iris

    found = load_iris()
    return (found.data - found.data.mean(axis=0)) / found.data.std(axis=0), found.target


def _digits():
    from saddlescope.experiments.data.images import digits

    images, classes = digits()
    return images, np.eye(10)[classes]


def _perceptron(activation, depth=1, scale=1e-3):
    model = eqx.nn.MLP(2, 1, 8, depth, activation=activation, key=jax.random.key(0))
    return small(model, scale), squared, _points(), 1e4


def _flowers(loss, t1):
    model = eqx.nn.MLP(4, 3, 8, 1, activation=jnp.tanh, key=jax.random.key(0))
    return small(model, 1e-3), loss, _iris(), t1


def _convolutional():
    keys = _keys(2)
    layers = [eqx.nn.Conv2d(1, 4, 3, key=keys[0]), eqx.nn.Lambda(jnp.tanh), eqx.nn.AvgPool2d(2, 2)]
    model = eqx.nn.Sequential([*layers, eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(16, 1, key=keys[1])])
    return small(model, 1e-2), squared, _images(), 1e4


def _normalised():
    keys, x = _keys(2), np.random.default_rng(0).standard_normal((30, 2, 7))
    layers = [eqx.nn.Conv1d(2, 6, 3, key=keys[0]), eqx.nn.GroupNorm(3, 6)]
    layers += [eqx.nn.Lambda(lambda h: jnp.tanh(h).mean(axis=1)), small(eqx.nn.Linear(6, 1, key=keys[1]), 1e-3)]
    return eqx.nn.Sequential(layers), squared, (x, np.tanh(x[:, 0]).mean(axis=1, keepdims=True)), 1e3


def _transformer():
    embed, readout = _linear((2, 4), (4, 1))
    keys = _keys(2)
    model = Block(
        embed=embed,
        norm=eqx.nn.LayerNorm(4),
        attention=eqx.nn.MultiheadAttention(2, 4, key=keys[0]),
        mlp=eqx.nn.MLP(4, 4, 5, 1, activation=jax.nn.gelu, key=keys[1]),
        readout=readout,
    )
    return model, squared, _sequences(), 1e3


def _recurrent():
    model = Recurrent(eqx.nn.GRUCell(2, 4, key=jax.random.key(0)), *_linear((4, 1)))
    return small(model, 0.03), squared, _sequences(), 1e4


def _tied():
    x = np.random.default_rng(0).standard_normal((40, 3)) * [1.5, 1.0, 0.5]
    return small(Tied(*_normal((4, 3), (4,), (3,))), 1e-2), reconstruction, x, 1e4


def _frozen():
    tokens = np.random.default_rng(0).integers(0, 5, (40, 3))
    mlp = eqx.nn.MLP(3, 1, 4, 1, activation=jax.nn.softplus, key=jax.random.key(0))
    return Frozen(*_normal((5, 3)), small(mlp, 1e-2)), squared, (tokens, np.sin(tokens.sum(axis=1, keepdims=True))), 1e4


def _sets():
    x = np.random.default_rng(0).standard_normal((40, 6, 2))
    parts = [eqx.nn.MLP(*sizes, 1, activation=jnp.tanh, key=jax.random.key(0)) for sizes in ((2, 3, 4), (3, 1, 5))]
    return small(DeepSets(*parts), 0.1), squared, (x, np.tanh(x[..., 0]).mean(axis=1, keepdims=True) ** 2), 1e4


def _written():
    model = eqx.nn.MLP(64, 10, 50, 1, activation=jnp.tanh, key=jax.random.key(0))
    return small(model, 1e-3), squared, _digits(), 500.0


NETWORKS = {
    "own-activation": lambda: _perceptron(own_activation),
    "gelu": lambda: _perceptron(jax.nn.gelu),
    "relu": lambda: _perceptron(jax.nn.relu),
    "two-layers": lambda: _perceptron(jax.nn.gelu, depth=2, scale=0.03),
    "iris": lambda: _flowers(cross_entropy, 1e3),
    "iris-decay": lambda: _flowers(decayed, 1e4),
    "residual": lambda: (small(Residual(*_linear((2, 4), (4, 5), (5, 4), (4, 1))), 0.03), squared, _points(), 1e4),
    "convolution": _convolutional,
    "group-norm": _normalised,
    "transformer": _transformer,
    "gru": _recurrent,
    "tied": _tied,
    "mixture": lambda: (small(Mixture(*_normal((2, 3, 4), (2, 3), (2, 4))), 1e-2), squared, _points(4), 1e4),
    "frozen-embedding": _frozen,
    "deep-sets": _sets,
    "digits": _written,
}
