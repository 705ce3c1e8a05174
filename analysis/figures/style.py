"""Colours, fonts and labels of all figures."""

from typing import Any

from matplotlib.axes import Axes

from .colours import COLOURS

# Points: names of axes, and tick labels and legends.
FONT, SMALL = 8, 7


def colour(number: int) -> str:
    """The colour of visit `number` in every panel."""
    return COLOURS[number % len(COLOURS)]


def label(ax: Axes, x: str, y: str) -> None:
    """Names the axes."""
    ax.set_xlabel(x, fontsize=FONT)
    ax.set_ylabel(y, fontsize=FONT)
    ax.tick_params(which="both", labelsize=SMALL)


def along_time(ax: Axes, y: str, *, logarithmic: bool) -> None:
    """Names an axis of time, linear or logarithmic, and the other; few enough ticks for times of six digits."""
    ax.set_xscale("log" if logarithmic else "linear")
    if not logarithmic:
        ax.locator_params(axis="x", nbins=4)
    ax.margins(x=0.01)
    label(ax, "time t", y)


def legend(ax: Axes, **settings: Any) -> None:
    """A legend that lets the curves shine through."""
    ax.legend(fontsize=SMALL, framealpha=0.9, edgecolor="none", **settings)
