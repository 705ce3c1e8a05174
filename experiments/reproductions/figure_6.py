"""Figure 6: skip connections make a network as fast as a shallower one."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ...analysis.figures.style import COLOURS
from ...flows import (
    LossCurves,
    descend,
    gradient_descent,
    linear_population,
    loss_curves,
    mean_squared_error,
    statistics_loss,
)
from ...models import Activation, SkipConnected, linear, relu, scaled
from ..setups.figure_1 import relu_data
from .check import Check, at_most, close
from .panel import Panel, Reproduction
from .plateau_times import crossings, seed_key

SOURCE = "Zhang, Saxe & Latham (2025), Figure 6"
STRENGTHS = np.array([1.0, 0.5])
NAMES = ("no skip", "skip 1", "skip 2")
# Wide enough for two modes twice over; width only changes the size of what starts to grow.
WIDTH, SCALES, HORIZON = 10, (0.02, 0.01, 0.005), (1e4, 500.0, 50.0)


def _drawn(curves: dict[str, LossCurves]) -> dict[str, np.ndarray]:
    return {f"{name}/{key}": getattr(each, key) for name, each in curves.items() for key in ("ts", "losses")}


def _draw(ax: Any, curves: dict[str, LossCurves]) -> None:
    for k, (name, each) in enumerate(curves.items()):
        ax.plot(each.ts[0][1:], (each.losses[0] / each.losses[0, 0])[1:], color=COLOURS[k], lw=1.3, label=name)
    ax.set(xlabel="time t", ylabel="loss / initial loss", xscale="log")
    ax.legend(fontsize=7)


def _times(horizon: float, count: int) -> Float[np.ndarray, "B T"]:
    ts = np.concatenate([[0.0], np.geomspace(1e-5 * horizon, horizon, 3000)])
    return np.tile(ts, (count, 1))


def _flows(models: list[SkipConnected], data: Any, horizon: float) -> LossCurves:
    return loss_curves(models, statistics_loss, [data] * len(models), _times(horizon, len(models)), until=1e-3)


def _descents(models: list[SkipConnected], data: Any, horizon: float) -> LossCurves:
    """Gradient descent by the small steps that pass over kinks, on which a flow loses its time."""
    runs = [
        descend(model, mean_squared_error, data, optimiser=gradient_descent(0.02), t1=horizon, records=5000)
        for model in models
    ]
    return LossCurves(**{name: np.stack([getattr(run, name) for run in runs]) for name in ("ts", "losses", "speeds")})


def _run(
    activation: Activation, data: Any, solve: Callable[..., LossCurves]
) -> tuple[dict[str, LossCurves], list[Float[np.ndarray, " S"]]]:
    """Loss curves for every skip at every scale, and when a tenth of the loss is gone."""
    curves, drops = {}, []
    for skip, (name, horizon) in enumerate(zip(NAMES, HORIZON, strict=True)):
        model = SkipConnected(
            activation, inputs=2, width=WIDTH, outputs=data_outputs(data), skip=skip, scale=1.0, key=seed_key(0)
        )
        each = curves[name] = solve([scaled(model, scale) for scale in SCALES], data, horizon)
        drops.append(crossings(each.ts, each.losses, 0.9 * each.losses[0, 0]))
    return curves, drops


def data_outputs(data: Any) -> int:
    """The number of outputs of a sample or of statistics."""
    return data[1].shape[1] if isinstance(data, tuple) else data.target.shape[0]


def _ordered(drops: list[Float[np.ndarray, " S"]]) -> tuple[Check, ...]:
    none, one, two = drops
    return (
        at_most("time to the first drop, skip 1 / no skip, largest", 1.0, float(np.max(one / none))),
        at_most("time to the first drop, skip 2 / skip 1, largest", 1.0, float(np.max(two / one))),
    )


def _exponents(drops: list[Float[np.ndarray, " S"]], rate: float) -> tuple[Check, ...]:
    """Skipped weights stay small: four, three and two layers escape in ε⁻², ε⁻¹ and ln(1/ε) / rate."""
    ratio = np.log(SCALES[1] / SCALES[2])
    return (
        close(
            "no skip: exponent of the time against 1/ε",
            2.0,
            float(np.log(drops[0][2] / drops[0][1]) / ratio),
            relative=0.03,
        ),
        close(
            "skip 1: exponent of the time against 1/ε",
            1.0,
            float(np.log(drops[1][2] / drops[1][1]) / ratio),
            relative=0.05,
        ),
        close(
            "skip 2: slope of the time against ln 1/ε",
            1 / rate,
            float((drops[2][2] - drops[2][1]) / ratio),
            relative=0.05,
        ),
    )


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    data = linear_population(np.eye(2), np.diag(STRENGTHS), weight=0.5)
    straight, times = _run(linear, data, _flows)
    checks = (*_ordered(times), *_exponents(times, STRENGTHS[0]))
    bent, drops = _run(relu, relu_data(jax.random.key(0)), _descents)
    return (
        Panel(title="linear, 4 layers", draw=lambda ax: _draw(ax, straight), data=_drawn(straight), checks=checks),
        Panel(title="ReLU, 4 layers", draw=lambda ax: _draw(ax, bent), data=_drawn(bent), checks=_ordered(drops)),
    )


REPRODUCTIONS = (Reproduction(name="6", title="skip connections: as fast as fewer layers", source=SOURCE, make=_make),)
