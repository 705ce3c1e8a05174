"""Figure 5: deep networks, whose first layer recruits units as a two-layer network does."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ...analysis import plot_units, theory
from ...flows import (
    Trajectory,
    descend,
    gradient_descent,
    in_context_population,
    linear_population,
    mean_squared_error,
    quadratic_population,
    simulate,
    statistics_loss,
)
from ...models import Convolution, Deep, Dense, LinearAttention, linear, quadratic, relu
from ...models.architecture import Architecture
from ..setups.figure_1 import (
    ATTENTION_CONTEXT,
    ATTENTION_EIGENVALUES,
    CONVOLUTION_TARGET,
    relu_convolution_data,
    relu_data,
)
from .ensemble import seed_key
from .panel import Panel, Reproduction, at_most, equal, farthest
from .staircase import RTOL, Staircase, at_levels

SOURCE = "Zhang, Saxe & Latham (2025), Figure 5"
# Smaller than the published 5e-3 (5e-2 for F), as in all panels here: there the first weights themselves, of norm √H ε,
# are a tenth of the grown ones, so that effective widths are unclear.
SCALE = 5e-4
# The scalar target of Figure 1 as two outputs, what the first and what the second input of each window says of it.
SPLIT_TARGET = CONVOLUTION_TARGET * np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
WINDOWS = {"inputs": 4, "kernel": 2, "stride": 2, "outputs": 2}
# The published step; a flow would slide along kinks of the second layer, which steps of this size pass over.
DESCENT = gradient_descent(0.02)


class Plan(eqx.Module):
    """One panel: a network and its data, plateau levels over the initial loss, first-layer widths there, a horizon."""

    title: str = eqx.field(static=True)
    architecture: Architecture = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    loss: Callable = eqx.field(static=True)
    data: Callable[[], Any] = eqx.field(static=True)
    levels: tuple[float, ...] = eqx.field(static=True)
    effective: tuple[int, ...] = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    note: str = eqx.field(static=True)

    def flow(self, seed: int) -> Trajectory:
        """Gradient flow, or gradient descent where there are kinks."""
        above = getattr(self.architecture, "activation", linear)
        activation = relu if above == relu else linear
        model = Deep(self.architecture, widths=self.widths, activation=activation, scale=self.scale, key=seed_key(seed))
        if activation == relu:
            return descend(
                model, self.loss, self.data(), optimiser=DESCENT, t1=self.horizon, records=int(10 * self.horizon)
            )
        return simulate(model, self.loss, self.data(), t1=self.horizon, rtol=RTOL)


def _linear_data():
    covariance = np.array([[1.0, 1.0], [1.0, 4.0]])
    values, vectors = np.linalg.eigh(covariance)
    return linear_population(covariance, (vectors / np.sqrt(values)) @ vectors.T, weight=0.5)


def _split_points():
    x, _ = relu_convolution_data(None)  # type: ignore[arg-type]
    return x, jax.device_put(np.asarray(x) @ SPLIT_TARGET.T)


def _two_squares():
    """y = (x₁², x₂²) of unit second moment."""
    squares = np.array([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])])
    return quadratic_population(np.eye(2), squares / np.sqrt(3), weight=0.5)


PLANS = {
    "A": Plan(
        "linear, 3 layers",
        Dense(linear, inputs=2, outputs=2),
        (50, 50),
        SCALE,
        statistics_loss,
        _linear_data,
        (1.0, 0.5, 0.0),
        (0, 1, 2),
        1500.0,
        "",
    ),
    # Kernel (1, 0) and output 1 explain 1 + 2 of 5, kernel (0, 1) and output 2 the rest.
    "B": Plan(
        "linear convolution + dense",
        Convolution(linear, **WINDOWS),
        (50, 50),
        SCALE,
        statistics_loss,
        lambda: linear_population(np.diag([1.0, 1.0, 2.0, 1.0]), SPLIT_TARGET, weight=0.5),
        (1.0, 0.4, 0.0),
        (0, 1, 2),
        1500.0,
        "",
    ),
    "C": Plan(
        "ReLU, 3 layers",
        Dense(relu, inputs=2),
        (50, 50),
        SCALE,
        mean_squared_error,
        lambda: relu_data(None),  # type: ignore[arg-type]
        (1.0, 0.5, 0.0),
        (0, 1, 2),
        1500.0,
        "",
    ),
    # Kernel (1, 0) serves point 3 (8 of 20), and with a new unit above point 1 (4 of 20): a saddle where the first
    # layer gains nothing. Kernel (0, 1) serves points 2 and 4, both through one unit above.
    "D": Plan(
        "ReLU convolution + dense",
        Convolution(relu, **WINDOWS),
        (50, 50),
        2e-4,
        mean_squared_error,
        _split_points,
        (1.0, 0.6, 0.4, 0.0),
        (0, 1, 1, 2),
        3000.0,
        "Levels and widths are as predicted up to the last drop. There the second kernel can enter through units above "
        "that are on at one of its two points or at both, and in some seeds it does so through several at once: the "
        "end has two rays only in others. Smaller ε makes these rays clear, not fewer (three at ε = 2e-5 and seed 0).",
    ),
    # Values with a token's three entries, then two linear layers.
    "E": Plan(
        "linear transformer block",
        LinearAttention(inputs=2),
        (10, 3, 10),
        2e-3,
        statistics_loss,
        lambda: in_context_population(np.diag(ATTENTION_EIGENVALUES), ATTENTION_CONTEXT),
        theory.linear_attention_levels(ATTENTION_EIGENVALUES, ATTENTION_CONTEXT),
        (0, 1, 2),
        4e6,
        "",
    ),
    # (e₁ · x)² and outputs ∝ (3, 1) explain (9 + 1)/3 of 6.
    "F": Plan(
        "quadratic + linear",
        Dense(quadratic, inputs=2, outputs=2),
        (10, 10),
        2e-3,
        statistics_loss,
        _two_squares,
        (1.0, 4 / 9, 0.0),
        (0, 1, 2),
        1e5,
        "",
    ),
}


def _panels(letter: str, plan: Plan, seeds: int) -> tuple[Panel, Panel]:
    """Loss with levels and first-layer effective widths, and the first layer's weights at the first saddle left."""
    stairs = [at_levels(plan.flow(seed), plan.levels) for seed in range(seeds)]
    checks = [
        equal("effective widths of the first layer, every seed", [plan.effective] * seeds, [s.widths for s in stairs])
    ]
    for k, level in enumerate(plan.levels[1:], 1):
        checks.append(farthest(f"level {k} / initial loss", level, [s.fractions[k] for s in stairs], absolute=0.01))
    worst = float(max(np.max(each.slowest) for each in stairs))
    checks.append(at_most("speed at a level / largest speed", 0.2, worst))
    shown: Staircase = stairs[0]
    failed = not all(check.passed for check in checks)
    loss = Panel(
        f"{letter} {plan.title}",
        lambda ax: shown.draw(ax, plan.levels),
        shown.data,
        tuple(checks),
        plan.note if failed else "",
    )
    model = shown.model(1)
    weights = Panel(
        f"{letter} first layer, level 1",
        lambda ax: plot_units(model, number=1, ax=ax),
        {"incoming": np.asarray(model.u)},
    )
    return loss, weights


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    return tuple(panel for letter, plan in PLANS.items() for panel in _panels(letter, plan, seeds))


FIGURE_5 = (Reproduction("5", "deep networks: the first layer recruits units one by one", SOURCE, _make, 3, 1),)
