"""The number of conserved quantities of architectures for which it is known (Marcotte, Gribonval & Peyré 2023)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis.symmetries.lie_algebra import conserved_count

from architectures import normal


class Network(eqx.Module):
    """Weights and a function of (weights, input)."""

    weights: tuple[Array, ...]
    function: object = eqx.field(static=True)

    def __call__(self, x):
        return self.function(self.weights, x)


def network(function, *shapes):
    return Network(tuple(np.zeros(shape) for shape in shapes), function)


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


def deep_biased(activation):
    """Three layers 2-2-2-1 with biases in the hidden ones."""

    def function(weights, x):
        first, b, second, c, last = weights
        return last @ activation(second @ activation(first @ x + b) + c)

    return network(function, (2, 2), (2,), (2, 2), (2,), (1, 2)), (2,)


def with_output_bias(activation):
    return network(lambda w, x: w[1] @ activation(w[0] @ x) + w[2], (3, 2), (1, 3), (1,)), (2,)


def diagonal(layers, size):
    def function(weights, x):
        return jnp.prod(jnp.stack(weights), axis=0) @ x

    return network(function, *[(size,)] * layers), (size,)


def residual():
    return network(lambda weights, x: x + weights[1] @ jax.nn.relu(weights[0] @ x), (2, 2), (2, 2)), (2,)


def softmax_head(rank_key, rank_value, heads=1, size=3):
    def head(query, key, value, output, x):
        scores = jax.nn.softmax((x @ query.T) @ (x @ key.T).T, axis=-1)
        return scores @ x @ value.T @ output.T

    def function(weights, x):
        return sum(head(*weights[4 * k : 4 * k + 4], x) for k in range(heads))

    shapes = [(rank_key, size), (rank_key, size), (rank_value, size), (size, rank_value)]
    return network(function, *(heads * shapes)), (3, size)


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


def channels(activation):
    """Two channels in, two hidden ones, one out; kernels of length 2."""

    def function(weights, x):
        first, second = weights
        convolve = lambda a, b: jnp.convolve(a, b, mode="valid")  # noqa: E731
        hidden = [activation(sum(convolve(x[i], kernels[i]) for i in range(2))) for kernels in first]
        return sum(convolve(h, kernel) for h, kernel in zip(hidden, second, strict=True))

    return network(function, (2, 2, 2), (2, 2)), (2, 6)


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
    "linear 2-3-2-2": (chain(identity, 2, 3, 2, 2), 9),
    "relu 2-3-1": (chain(jax.nn.relu, 2, 3, 1), 3),
    "relu with biases": (two_layer_biased(jax.nn.relu), 3),
    "relu 2-2-2-1": (chain(jax.nn.relu, 2, 2, 2, 1), 4),
    "relu 2-2-2-1 with biases": (deep_biased(jax.nn.relu), 4),
    "relu with a bias of the output": (with_output_bias(jax.nn.relu), 3),
    "leaky relu 2-3-1": (chain(lambda x: jax.nn.leaky_relu(x, 0.3), 2, 3, 1), 3),
    "squared relu 2-2-1": (chain(lambda x: jax.nn.relu(x) ** 2, 2, 2, 1), 2),
    "square 2-2-1": (chain(square, 2, 2, 1), 2),
    "cube 2-3-1": (chain(lambda x: x**3, 2, 3, 1), 3),
    "tanh 2-2-1": (chain(jnp.tanh, 2, 2, 1), 0),
    "silu with biases": (two_layer_biased(silu), 0),
    "residual": (residual(), 2),
    "diagonal, 3 layers of 2": (diagonal(3, 2), 4),
    "diagonal, 3 layers of 3": (diagonal(3, 3), 6),
    "attention 1, 1": (softmax_head(1, 1), 2),
    "attention 2, 1": (softmax_head(2, 1), 4),
    "attention 2, 2": (softmax_head(2, 2, size=2), 6),
    "attention, two heads": (softmax_head(1, 1, heads=2), 4),
    "convolution, relu": (convolutions(jax.nn.relu), 2),
    "convolution, relu, two channels": (channels(jax.nn.relu), 2),
    "convolution, linear, two channels": (channels(identity), 3),
    "softmax classifier": (classifier(), 2),
    "scale-normalised": (scale_normalised(), 1),
    "bilinear gate": (gated(identity), 4),
    "swish gate": (gated(silu), 2),
    "Gram matrix": (gram(), 2),
}


# Nested brackets take seconds to compile. One of each way to conserve something, or nothing, is tested each time: what
# mixes units (linear, deep linear), scales them (ReLU, degree 2, biases), acts on coordinates (diagonal), on heads,
# kernels and outputs, or is shared by two maps (gate, residual). The others differ from one of these in sizes, or in an
# activation of the same degree.
OFTEN = {
    "linear 1-4-2",
    "linear 2-2-2-2",
    "relu with biases",
    "square 2-2-1",
    "tanh 2-2-1",
    "residual",
    "diagonal, 3 layers of 2",
    "attention 1, 1",
    "convolution, relu",
    "softmax classifier",
    "scale-normalised",
    "bilinear gate",
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.fast_for(*OFTEN)
def test_number_of_conserved_quantities(name):
    (model, shape), expected = COUNTS[name]
    inputs = normal(1, 60, *shape)
    found = conserved_count(model, inputs)
    assert found.closed
    assert found.count == expected, found
    assert found.gap > 1e3
    first, second = str(found).splitlines()
    assert first == f"{expected} conserved quantities of {found.parameters} parameters"
    assert f"depth 1, 2, …: {found.dimensions[0]}" in second
