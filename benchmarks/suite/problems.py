"""The fixed set of flows on which solvers are compared."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.experiments import experiment
from saddlescope.flows import Landscape, half_squared_error, mean_squared_error
from saddlescope.flows.losses.statistics import reduced_data
from saddlescope.models import Dense, Slot, TwoLayer, UnitLaw, Units, linear, tanh


class Problem(NamedTuple):
    """A flow to time t1, and the times at which it is compared.

    Attributes:
        name: of the problem.
        landscape: model at its initial weights, loss and data.
        t1: the horizon.
        dense: whether methods with a dense Jacobian take part.
        without: names of solvers that are left out, as they take minutes.
        times: of comparison, increasing to t1 (`with_times`).
    """

    name: str
    landscape: Landscape
    t1: float
    dense: bool = True
    without: tuple[str, ...] = ()
    times: Any = None

    @property
    def theta(self):
        return self.landscape.theta


def with_times(problem, extra=()):
    """The problem with twenty comparison times, equally spaced in the logarithm from t1/1000 on, and extra ones."""
    times = np.unique(np.concatenate([np.geomspace(1e-3 * problem.t1, problem.t1, 20), np.asarray(extra)]))
    times[-1] = problem.t1
    return problem._replace(times=times)


class Perceptron(eqx.Module):
    """Softplus units with biases, and a bias of the output."""

    weights: jax.Array
    biases: jax.Array
    readout: jax.Array
    offset: jax.Array

    def __init__(self, inputs, width, scale, *, key):
        keys = jax.random.split(key, 4)
        shapes = ((width, inputs), (width,), (width,), (1,))
        self.weights, self.biases, self.readout, self.offset = (
            scale * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)
        )

    @property
    def units(self):
        return Units(
            incoming=(Slot(_weights), Slot(_biases)), outgoing=(Slot(_readout),), law=UnitLaw(zero=False, order=0)
        )

    def __call__(self, x):
        return self.readout @ jax.nn.softplus(self.weights @ x + self.biases) + self.offset


def _weights(model):
    return model.weights


def _biases(model):
    return model.biases


def _readout(model):
    return model.readout


class Chain(eqx.Module):
    """A product of square matrices."""

    layers: tuple[jax.Array, ...]

    def __call__(self, x):
        for layer in self.layers:
            x = layer @ x
        return x


def linear_power_law():
    """Two-layer linear network, 8 inputs with covariance spectrum 1/i², 8 outputs, width 10: 160 parameters."""
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (400, 8)) / jnp.arange(1, 9)
    y = x @ jax.random.normal(keys[1], (8, 8)) + 0.1 * jax.random.normal(keys[2], (400, 8))
    model = TwoLayer(Dense(linear, inputs=8, outputs=8), width=10, scale=1e-3, key=keys[3])
    loss, data = reduced_data(model, half_squared_error, (x, y))
    return Problem("linear", Landscape(model, loss, data), 3000.0)


def tanh_teacher():
    """Tanh teacher of 4 units and student of 10, 4 inputs, 500 samples, ε = 1e-2: 50 parameters."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (500, 4))
    y = jax.vmap(TwoLayer(Dense(tanh, inputs=4, outputs=1), width=4, scale=1.0, key=keys[1]))(x)
    model = TwoLayer(Dense(tanh, inputs=4, outputs=1), width=10, scale=1e-2, key=keys[2])
    return Problem("tanh", Landscape(model, mean_squared_error, (x, y)), 1e5)


def softplus_teacher(inputs, width, t1, samples=10_000):
    """Brea et al. (2023): softplus teacher of 4 units with biases, 10⁴ samples."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (samples, inputs))
    y = jax.vmap(Perceptron(inputs, 4, 1.0, key=keys[1]))(x)
    model = Perceptron(inputs, width, 1.0, key=keys[2])
    landscape = Landscape(model, mean_squared_error, (x, y))
    count = landscape.theta.size
    slow = ("ExponentialRosenbrock 5", "KrylovRosenbrock 5", "RKC2", "ExtrapolatedRKC", "Kvaerno5")
    without = slow if count > 100 else ()
    return Problem(f"softplus-{count}", landscape, t1, without=without)


def relu_figure():
    """The ReLU set-up of Figure 1D.

    With few samples on a line, flows of ReLU units with biases soon slide along kinks, where no solver of this suite
    makes progress; this flow crosses its kinks.
    """
    setup = experiment("relu").setup(0)
    loss, data = reduced_data(setup.model, setup.loss, setup.data)
    return Problem("relu", Landscape(setup.model, loss, data), setup.t1)


def attention():
    """The linear-attention set-up of Figure 1F, on exact statistics of its sample."""
    setup = experiment("attention").setup(0)
    loss, data = reduced_data(setup.model, setup.loss, setup.data)
    return Problem("attention", Landscape(setup.model, loss, data), setup.t1)


def deep_linear():
    """Four square matrices of size 5, white inputs, targets of strengths 1, …, 0.2: 100 parameters."""
    keys = jax.random.split(jax.random.key(0), 5)
    layers = tuple(0.3 * jax.random.normal(key, (5, 5)) for key in keys[:4])
    x = jnp.sqrt(5.0) * jnp.eye(5)
    q, _ = jnp.linalg.qr(jax.random.normal(keys[4], (5, 5)))
    y = x @ (q * jnp.linspace(1.0, 0.2, 5)) @ q.T
    return Problem("deep-linear", Landscape(Chain(layers), half_squared_error, (x, y)), 1000.0)


def wide():
    """Tanh teacher of 4 units, student of 500 with 199 inputs, 100 samples: 10⁵ parameters."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (100, 199)) / jnp.arange(1, 200) ** 0.5
    y = jax.vmap(TwoLayer(Dense(tanh, inputs=199, outputs=1), width=4, scale=1.0, key=keys[1]))(x)
    model = TwoLayer(Dense(tanh, inputs=199, outputs=1), width=500, scale=1e-2, key=keys[2])
    return Problem("wide", Landscape(model, mean_squared_error, (x, y)), 1e4, dense=False)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "attention": attention,
    "deep-linear": deep_linear,
    "tanh": tanh_teacher,
    "linear": linear_power_law,
    "relu": relu_figure,
    "wide": wide,
    "softplus-33": lambda: softplus_teacher(2, 8, 1e4),
    "softplus-601": lambda: softplus_teacher(4, 100, 100.0),
}
