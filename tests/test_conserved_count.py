"""The number of conserved quantities of architectures for which it is known (Marcotte, Gribonval & Peyré 2023)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from saddlescope.analysis import conserved_count


class Network(eqx.Module):
    """Weights and a function of (weights, input)."""

    weights: tuple[Array, ...]
    function: object = eqx.field(static=True)

    def __call__(self, x):
        return self.function(self.weights, x)


def network(function, *shapes):
    return Network(tuple(jnp.zeros(shape) for shape in shapes), function)


def chain(activation, *widths):
    """A chain of layers without biases."""

    def function(weights, x):
        for weight in weights[:-1]:
            x = activation(weight @ x)
        return weights[-1] @ x

    return network(function, *((b, a) for a, b in zip(widths, widths[1:], strict=False))), (widths[0],)


def two_layer_biased(activation):
    def function(weights, x):
        w, b, a = weights
        return a @ activation(w @ x + b)

    return network(function, (3, 2), (3,), (2, 3)), (2,)


def diagonal(layers, size):
    def function(weights, x):
        return jnp.prod(jnp.stack(weights), axis=0) @ x

    return network(function, *[(size,)] * layers), (size,)


def residual():
    return network(lambda weights, x: x + weights[1] @ jax.nn.relu(weights[0] @ x), (2, 2), (2, 2)), (2,)


def softmax_head(rank_key, rank_value):
    def function(weights, x):
        query, key, value, output = weights
        scores = jax.nn.softmax((x @ query.T) @ (x @ key.T).T, axis=-1)
        return scores @ x @ value.T @ output.T

    return network(function, (rank_key, 3), (rank_key, 3), (rank_value, 3), (3, rank_value)), (3, 3)


def classifier():
    return network(lambda weights, x: jax.nn.log_softmax(weights[0] @ x), (3, 2)), (2,)


def scale_normalised():
    return network(lambda weights, x: weights[0] @ x / jnp.linalg.norm(weights[0]), (3,)), (3,)


def gated(gate):
    def function(weights, x):
        u, v, a = weights
        return a @ (gate(u @ x) * (v @ x))

    return network(function, (2, 2), (2, 2), (2, 2)), (2,)


def gram():
    return network(lambda weights, x: x @ weights[0] @ weights[0].T @ x, (2, 3)), (2,)


def convolutions(activation):
    """One channel in, two hidden channels, one out; kernels of length 2 and 3."""

    def function(weights, x):
        first, second = weights
        hidden = activation(jnp.stack([jnp.convolve(x, kernel, mode="valid") for kernel in first]))
        return sum(jnp.convolve(h, kernel, mode="valid") for h, kernel in zip(hidden, second, strict=True))

    return network(function, (2, 2), (2, 3)), (7,)


square = jnp.square
identity = lambda x: x  # noqa: E731
silu = jax.nn.silu
COUNTS = {
    "linear 2-2-2": (chain(identity, 2, 2, 2), 3),
    "linear 2-3-2": (chain(identity, 2, 3, 2), 6),
    "linear 1-3-1": (chain(identity, 1, 3, 1), 5),
    "linear 1-4-2": (chain(identity, 1, 4, 2), 9),
    "linear 2-2-2-2": (chain(identity, 2, 2, 2, 2), 6),
    "linear 3-2-2-1": (chain(identity, 3, 2, 2, 1), 6),
    "relu 2-3-1": (chain(jax.nn.relu, 2, 3, 1), 3),
    "relu with biases": (two_layer_biased(jax.nn.relu), 3),
    "relu 2-2-2-1": (chain(jax.nn.relu, 2, 2, 2, 1), 4),
    "square 2-2-1": (chain(square, 2, 2, 1), 2),
    "cube 2-3-1": (chain(lambda x: x**3, 2, 3, 1), 3),
    "tanh 2-2-1": (chain(jnp.tanh, 2, 2, 1), 0),
    "silu with biases": (two_layer_biased(silu), 0),
    "residual": (residual(), 2),
    "diagonal, 3 layers of 2": (diagonal(3, 2), 4),
    "diagonal, 3 layers of 3": (diagonal(3, 3), 6),
    "attention 1, 1": (softmax_head(1, 1), 2),
    "attention 2, 1": (softmax_head(2, 1), 4),
    "convolution, relu": (convolutions(jax.nn.relu), 2),
    "softmax classifier": (classifier(), 2),
    "scale-normalised": (scale_normalised(), 1),
    "bilinear gate": (gated(identity), 4),
    "swish gate": (gated(silu), 2),
    "Gram matrix": (gram(), 2),
}


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_conserved_quantities(name):
    (model, shape), expected = COUNTS[name]
    inputs = jax.random.normal(jax.random.key(1), (60, *shape))
    found = conserved_count(model, inputs)
    assert found.closed
    assert found.count == expected, found
    assert found.gap > 1e3
