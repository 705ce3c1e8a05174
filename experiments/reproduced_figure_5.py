"""Figure 5: deep networks, whose first layer recruits units as a two-layer network does."""

import jax
import jax.numpy as jnp
import numpy as np

from ..analysis import plot_units, theory
from ..flows import mean_squared_error
from ..models import Architecture, Convolution, Deep, Dense, LinearAttention, linear, quadratic, relu
from .ensemble import seed_key
from .figure_1 import (
    ATTENTION_CONTEXT,
    ATTENTION_EIGENVALUES,
    attention_data,
    linear_convolution_data,
    linear_data,
    relu_convolution_data,
    relu_data,
)
from .panel import Panel, Reproduction, at_most, close, equal
from .staircase import staircase

SOURCE = "Zhang, Saxe & Latham (2025), Figure 5"


def _split(data):
    """The scalar target as two outputs, what the first and what the second half of the inputs say of it.

    With one output the layer above could not have more than one effective unit.
    """
    x, y = data
    coefficients = jnp.linalg.lstsq(x, y[:, 0])[0]
    half = x.shape[1] // 2
    return x, jnp.stack([x[:, :half] @ coefficients[:half], x[:, half:] @ coefficients[half:]], axis=1)


def _two_squares(key):
    """y = (x₁², x₂²), of unit second moment."""
    x = jax.random.normal(key, (8192, 2))
    return x, x**2 / jnp.sqrt(jnp.mean(x**4))


def _panel(
    letter: str,
    title: str,
    architecture: Architecture,
    width: int,
    scale: float,
    horizon: float,
    data,
    *,
    levels=(),
    activation=None,
) -> list[Panel]:
    """Loss, and first-layer weights at the intermediate plateau; levels over the initial loss where theory has them."""
    model = Deep(architecture, (width, width), scale, activation=activation, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, data, horizon)
    checks = [equal("effective widths of the first layer", (0, 1, 2), stairs.widths)]
    for k, level in enumerate(levels, 1):
        found = float(stairs.fractions[k]) if k < len(stairs.fractions) else np.nan
        checks.append(close(f"level {k} / initial loss", level, found, absolute=0.03))
    if not levels or levels[-1] == 0:
        checks.append(at_most("final loss / initial loss", 1e-3, float(stairs.flow.losses[-1] / stairs.flow.losses[0])))
    middle = min(1, len(stairs.indices) - 1)
    drawn = Panel(f"{letter} {title}", lambda ax: stairs.draw(ax, (1.0, *levels)), stairs.data, tuple(checks))
    weights = stairs.model(middle)
    shown = Panel(
        f"{letter} first layer, visit {middle}",
        lambda ax: plot_units(weights, number=middle, ax=ax),
        {"incoming": np.asarray(weights.u)},
    )
    return [drawn, shown]


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    key = jax.random.split(jax.random.key(0))[0]
    attention = theory.linear_attention_levels(ATTENTION_EIGENVALUES, ATTENTION_CONTEXT)[1:]
    convolution = {"inputs": 4, "kernel": 2, "stride": 2, "outputs": 2}
    two = {"inputs": 2, "outputs": 2}
    return (
        *_panel("A", "linear, 3 layers", Dense(linear, **two), 50, 5e-3, 150.0, linear_data(key), levels=(0.5, 0.0)),
        *_panel(
            "B",
            "linear convolution + dense",
            Convolution(linear, **convolution),
            50,
            5e-3,
            300.0,
            _split(linear_convolution_data(key)),
        ),
        *_panel("C", "ReLU, 3 layers", Dense(relu, inputs=2), 50, 5e-3, 300.0, relu_data(key), levels=(0.5, 0.0)),
        *_panel(
            "D",
            "ReLU convolution + dense",
            Convolution(relu, **convolution),
            50,
            5e-3,
            300.0,
            _split(relu_convolution_data(key)),
        ),
        *_panel(
            "E",
            "linear transformer block",
            LinearAttention(inputs=2),
            10,
            5e-3,
            2e4,
            attention_data(key),
            levels=attention,
            activation=linear,
        ),
        *_panel(
            "F", "quadratic + linear", Dense(quadratic, **two), 10, 5e-2, 1000.0, _two_squares(key), activation=linear
        ),
    )


FIGURE_5 = (Reproduction("5", "deep networks: the first layer recruits units one by one", SOURCE, _make, 1, 1),)
