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
    linear_population,
    mean_squared_error,
    quadratic_population,
    simulate,
    statistics_loss,
)
from ...flows.losses.statistics import SufficientStatistics
from ...models import Convolution, Deep, Dense, LinearAttention, linear, quadratic, relu
from ...models.architecture import Architecture
from ..data.synthetic import Pair
from ..setups.figure_1 import (
    ATTENTION_CONTEXT,
    ATTENTION_EIGENVALUES,
    CONVOLUTION_TARGET,
    CONVOLUTION_VARIANCES,
    attention_statistics,
    linear_statistics,
    relu_convolution_data,
    relu_data,
)
from .check import at_most, equal, farthest
from .panel import Panel, Reproduction
from .plateau_times import seed_key
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
    """One panel.

    Attributes:
        title: what it shows.
        architecture: units of the first layer.
        widths: number of units of each layer.
        scale: initialisation scale ε.
        loss: scalar function of (model, data).
        data: makes what the loss takes.
        levels: plateau losses over the initial loss.
        effective: effective widths of the first layer there.
        horizon: end of the flow.
        note: why checks fail, for when they do.
    """

    title: str = eqx.field(static=True)
    architecture: Architecture = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    data: Callable[[], Any] = eqx.field(static=True)
    levels: tuple[float, ...] = eqx.field(static=True)
    effective: tuple[int, ...] = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    note: str = eqx.field(static=True, default="")

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


def _split_points() -> Pair:
    x, _ = relu_convolution_data()
    return x, jax.device_put(np.asarray(x) @ SPLIT_TARGET.T)


def _two_squares() -> SufficientStatistics:
    """The targets y = (x₁², x₂²) of unit second moment."""
    squares = np.array([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])])
    return quadratic_population(np.eye(2), squares / np.sqrt(3), weight=0.5)


PLANS = {
    "A": Plan(
        title="linear, 3 layers",
        architecture=Dense(linear, inputs=2, outputs=2),
        widths=(50, 50),
        scale=SCALE,
        loss=statistics_loss,
        data=linear_statistics,
        levels=(1.0, 0.5, 0.0),
        effective=(0, 1, 2),
        horizon=1500.0,
    ),
    # Kernel (1, 0) and output 1 explain 1 + 2 of 5, kernel (0, 1) and output 2 the rest.
    "B": Plan(
        title="linear convolution + dense",
        architecture=Convolution(linear, **WINDOWS),
        widths=(50, 50),
        scale=SCALE,
        loss=statistics_loss,
        data=lambda: linear_population(np.diag(CONVOLUTION_VARIANCES), SPLIT_TARGET, weight=0.5),
        levels=(1.0, 0.4, 0.0),
        effective=(0, 1, 2),
        horizon=1500.0,
    ),
    "C": Plan(
        title="ReLU, 3 layers",
        architecture=Dense(relu, inputs=2),
        widths=(50, 50),
        scale=SCALE,
        loss=mean_squared_error,
        data=relu_data,
        levels=(1.0, 0.5, 0.0),
        effective=(0, 1, 2),
        horizon=1500.0,
    ),
    # Kernel (1, 0) serves point 3 (8 of 20), and with a new unit above point 1 (4 of 20): a saddle where the first
    # layer gains nothing. Kernel (0, 1) serves points 2 and 4, both through one unit above.
    "D": Plan(
        title="ReLU convolution + dense",
        architecture=Convolution(relu, **WINDOWS),
        widths=(50, 50),
        scale=2e-4,
        loss=mean_squared_error,
        data=_split_points,
        levels=(1.0, 0.6, 0.4, 0.0),
        effective=(0, 1, 1, 2),
        horizon=3000.0,
        note="Levels and widths are as predicted up to the last drop. There the second kernel can enter through units "
        "above that are on at one of its two points or at both, and in some seeds it does so through several at once: "
        "the end has two rays only in others. Smaller ε makes these rays clear, not fewer (three at ε = 2e-5 and seed "
        "0).",
    ),
    # Values with a token's three entries, then two linear layers.
    "E": Plan(
        title="linear transformer block",
        architecture=LinearAttention(inputs=2),
        widths=(10, 3, 10),
        scale=2e-3,
        loss=statistics_loss,
        data=attention_statistics,
        levels=theory.linear_attention_levels(ATTENTION_EIGENVALUES, ATTENTION_CONTEXT),
        effective=(0, 1, 2),
        horizon=4e6,
    ),
    # (e₁ · x)² and outputs ∝ (3, 1) explain (9 + 1)/3 of 6.
    "F": Plan(
        title="quadratic + linear",
        architecture=Dense(quadratic, inputs=2, outputs=2),
        widths=(10, 10),
        scale=2e-3,
        loss=statistics_loss,
        data=_two_squares,
        levels=(1.0, 4 / 9, 0.0),
        effective=(0, 1, 2),
        horizon=1e5,
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
        title=f"{letter} {plan.title}",
        draw=lambda ax: shown.draw(ax, plan.levels),
        data=shown.data,
        checks=tuple(checks),
        note=plan.note if failed else "",
    )
    model = shown.model(1)
    weights = Panel(
        title=f"{letter} first layer, level 1",
        draw=lambda ax: plot_units(model, number=1, ax=ax),
        data={"incoming": np.asarray(model.u)},
    )
    return loss, weights


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    return tuple(panel for letter, plan in PLANS.items() for panel in _panels(letter, plan, seeds))


REPRODUCTIONS = (
    Reproduction(
        name="5",
        title="deep networks: the first layer recruits units one by one",
        source=SOURCE,
        make=_make,
        seeds=3,
    ),
)
