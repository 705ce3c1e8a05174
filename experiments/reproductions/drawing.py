"""Drawings that several figures share."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...analysis.figures.style import COLOURS
from ...flows import LossCurves
from .check import Check
from .panel import Panel
from .plateau_times import Lengths


def draw_levels(ax: Any, levels: Iterable[float]) -> None:
    """Plateau losses that theory predicts, as dashed lines behind all else."""
    for level in levels:
        ax.axhline(level, color="0.6", lw=0.8, ls="--", zorder=0)


def curves_panel(
    title: str, curves: dict[str, LossCurves], *, initial: float | None = None, shown: int | None = None
) -> Panel:
    """Loss curves over the initial loss; a mean over seeds would blur the steps.

    Args:
        title: title of the panel.
        curves: batches of curves by name, one colour each.
        initial: the loss to divide by, by default each curve's own at time 0.
        shown: number of curves of each batch to draw, by default all.

    Returns:
        The panel, without checks.
    """
    data = {f"{name}/{key}": getattr(each, key)[:shown] for name, each in curves.items() for key in ("ts", "losses")}
    data = {key: values.astype(np.float32)[:, ::4] for key, values in data.items()}

    def draw(ax: Any) -> None:
        for k, name in enumerate(curves):
            ts, losses = data[f"{name}/ts"], data[f"{name}/losses"]
            losses = losses / (losses[:, :1] if initial is None else initial)
            for row in range(len(ts)):
                label = name if row == 0 else None
                ax.plot(ts[row], losses[row], color=COLOURS[k % len(COLOURS)], lw=0.6, alpha=0.6, label=label)
        ax.set(xlabel="time t", ylabel="loss / initial loss", ylim=(-0.03, 1.08))
        ax.legend(fontsize=7, loc="upper right")

    return Panel(title=title, draw=draw, data=data)


def lengths_panel(
    title: str,
    knob: str,
    values: Sequence[float],
    lengths: Sequence[Lengths],
    *,
    theory: Sequence[float] | None = None,
    log: str = "",
    checks: Iterable[Check] = (),
) -> Panel:
    """Median over seeds of the time from first to last drop with its interval, and the predicted line.

    Args:
        title: title of the panel.
        knob: what is varied, as the name of its axis.
        values: its values.
        lengths: for each value the times of all seeds, lower bounds where a flow had not made its last drop.
        theory: predicted times.
        log: the axes that are logarithmic: "x", "y" or "xy".
        checks: the panel's checks.

    Returns:
        The panel.
    """
    medians = [each.median for each in lengths]
    bounds = np.array([[each.value, each.low, each.high] for each in medians])
    # With few seeds, or many that the horizon cut off, an end of the interval is infinite.
    reach = np.where(np.isfinite(bounds[:, 1:]), np.abs(bounds[:, 1:] - bounds[:, :1]), 0.0)
    data = {knob: np.array(values), "median": bounds[:, 0], "interval": bounds[:, 1:]}
    data |= {"all": np.array([x.values for x in lengths]), "censored": np.array([x.censored for x in lengths])}

    def draw(ax: Any) -> None:
        style = {"fmt": "o-", "color": COLOURS[0], "ms": 4, "capsize": 3, "label": "median, 95 % interval"}
        ax.errorbar(values, bounds[:, 0], reach.T, **style)
        if theory is not None:
            ax.plot(values, theory, "--", color="0.3", label="theory")
        ax.set(xlabel=knob, ylabel="time from first to last drop")
        ax.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
        ax.set_ylim(None if "y" in log else 0, None if "y" in log else 1.2 * np.max(bounds[:, 0] + reach[:, 1]))
        ax.tick_params(which="minor", labelbottom=False, labelleft=False)
        ax.legend(fontsize=7)

    return Panel(title=title, draw=draw, data=data, checks=tuple(checks))
