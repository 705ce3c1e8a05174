"""Drawn flows: few shapes, which are compiled, and many contents, degenerate ones among them."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows import half_squared_error, mean_squared_error
from saddlescope.models import Deep, Dense, TwoLayer, linear, quadratic, relu, tanh

KEY = jax.random.key(0)


class Problem(NamedTuple):
    """What `simulate` is given, and what is known of it.

    Attributes:
        model: the initial model.
        loss: the loss.
        data: inputs and targets.
        settings: the other arguments.
        valid: whether weights, data and loss are finite.
        smooth: whether the loss is twice differentiable everywhere.
        told: the draws in words.
    """

    model: Any
    loss: Any
    data: Any
    settings: dict[str, Any]
    valid: bool
    smooth: bool
    told: str


class Own(eqx.Module):
    """A user's model without declared units."""

    w: Any
    b: Any

    def __call__(self, x):
        return self.b * jnp.sin(self.w @ x)


def quartic(model, data):
    """A user's loss."""
    return jnp.mean((jax.vmap(model)(data[0]) - data[1]) ** 4)


def two_layer(activation, inputs=2, width=3, outputs=1):
    return TwoLayer(Dense(activation, inputs=inputs, outputs=outputs), width=width, scale=1.0, key=KEY)


# Model, samples, inputs, outputs: each is compiled once.
SHAPES = {
    "linear": lambda: (two_layer(linear), 6, 2, 1),
    "one linear unit": lambda: (two_layer(linear, 1, 1), 1, 1, 1),
    "two outputs": lambda: (two_layer(linear, 2, 2, 2), 3, 2, 2),
    "relu": lambda: (two_layer(relu), 6, 2, 1),
    "tanh": lambda: (two_layer(tanh, 2, 2), 3, 2, 1),
    "quadratic": lambda: (two_layer(quadratic), 6, 2, 1),
    "deep": lambda: (Deep(Dense(linear, inputs=2), widths=(2, 2), scale=1.0, key=KEY), 6, 2, 1),
    "own": lambda: (Own(jnp.ones((1, 2)), jnp.ones(1)), 3, 2, 1),
}


def normal(generator, shape):
    return generator.standard_normal(shape)


def conditioned(generator, shape):
    return normal(generator, shape) * np.geomspace(1, 1e-6, shape[1])


def collinear(generator, shape):
    return normal(generator, (shape[0], 1)) * normal(generator, (1, shape[1]))


def duplicated(generator, shape):
    return np.repeat(normal(generator, shape)[: -(-shape[0] // 2)], 2, axis=0)[: shape[0]]


def with_one(value):
    def drawn(generator, shape):
        array = normal(generator, shape)
        array.flat[generator.integers(array.size)] = value
        return array

    return drawn


CONTENTS = {
    "normal": normal,
    "conditioned": conditioned,
    "collinear": collinear,
    "duplicated": duplicated,
    "zero": lambda g, shape: np.zeros(shape),
    "constant": lambda g, shape: np.ones(shape),
    "integers": lambda g, shape: g.integers(-3, 4, shape),
    "signs": lambda g, shape: normal(g, shape) > 0,
    "single": lambda g, shape: normal(g, shape).astype(np.float32),
    "half": lambda g, shape: normal(g, shape).astype(np.float16),
    "tiny": lambda g, shape: 1e-6 * normal(g, shape),
    "large": lambda g, shape: 1e3 * normal(g, shape),
    "denormal": lambda g, shape: 1e-310 * normal(g, shape),
    "one outlier": with_one(1e6),
    "nan": with_one(np.nan),
    "inf": with_one(np.inf),
    "minus inf": with_one(-np.inf),
}
# Chosen as often as all others together.
USUAL = "normal"
INVALID = {"nan", "inf", "minus inf"}


def pick(generator, names, usual=USUAL, share=0.5):
    """A name: the usual one, or any."""
    names = list(names)
    return usual if generator.random() < share else names[generator.integers(len(names))]


def each_unit(change):
    """The change of every array of rows, one for each unit."""
    return lambda g, array: change(g, array) if array.ndim and len(array) > 1 else array


def equal_units(g, array):
    return np.broadcast_to(array[:1], array.shape).copy()


def opposite_units(g, array):
    array = array.copy()
    array[1] = -array[0]
    return array


def one_zero_unit(g, array):
    array = array.copy()
    array[-1] = 0
    return array


WEIGHTS = {
    "normal": lambda g, array: array,
    "zero": lambda g, array: 0 * array,
    "equal units": each_unit(equal_units),
    "opposite units": each_unit(opposite_units),
    "one zero unit": each_unit(one_zero_unit),
    "ones": lambda g, array: np.ones_like(array),
    "nan": lambda g, array: with_one(np.nan)(g, array.shape),
    "inf": lambda g, array: with_one(np.inf)(g, array.shape),
}
SCALES = (1e-12, 1e-8, 1e-4, 1e-2, 0.1, 1.0, 10.0)
HORIZONS = (1e-3, 1.0, 30.0, 1e3, 1e5)


def drawn_model(generator, model, kind, scale, dtype):
    """The model with drawn weights."""
    leaves, structure = jax.tree.flatten(eqx.filter(model, eqx.is_inexact_array))
    arrays = [scale * WEIGHTS[kind](generator, normal(generator, leaf.shape)) for leaf in leaves]
    filled = jax.tree.unflatten(structure, [jax.device_put(array.astype(dtype)) for array in arrays])
    return eqx.combine(filled, eqx.filter(model, eqx.is_inexact_array, inverse=True))


def drawn_settings(generator):
    """Everything else that `simulate` is given."""
    t1 = float(generator.choice(HORIZONS))
    settings: dict[str, Any] = {"t1": t1, "max_steps": int(generator.choice([1, 60, 1500, 1500]))}
    if generator.random() < 0.2:
        settings["save_times"] = [t1 / 3, t1 / 2]
    if generator.random() < 0.2:
        settings["convergence"] = 1e-9
    if generator.random() < 0.2:
        settings["reduce_data"] = False
    return settings


def problem(seed: int) -> Problem:
    """The flow of a seed."""
    generator = np.random.default_rng([17, seed])
    name = pick(generator, SHAPES, share=0)
    model, samples, inputs, outputs = SHAPES[name]()
    x, y, weights = (pick(generator, names) for names in (CONTENTS, CONTENTS, WEIGHTS))
    scale, single = float(generator.choice(SCALES)), generator.random() < 0.1
    loss = (half_squared_error, mean_squared_error, quartic)[generator.choice(3, p=(0.6, 0.3, 0.1))]
    data = CONTENTS[x](generator, (samples, inputs)), CONTENTS[y](generator, (samples, outputs))
    model = drawn_model(generator, model, weights, scale, np.float32 if single else np.float64)
    told = f"{name}: x {x}, y {y}, weights {weights} × {scale:g}{' in float32' if single else ''}, {loss}"
    settings = drawn_settings(generator)
    return Problem(
        model=model,
        loss=loss,
        data=data,
        settings=settings,
        valid=not INVALID & {x, y, weights},
        smooth=name != "relu",
        told=f"{told}, {settings}",
    )
