"""Colours, fonts and labels of all figures."""

from typing import Any

from matplotlib.axes import Axes

# Paul Tol's bright scheme, which can be told apart with any colour vision and in grey.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
# Points: names of axes, and tick labels and legends.
FONT, SMALL = 8, 7


def colour(number: int) -> str:
    """The colour of visit `number` in every panel."""
    return COLOURS[number % len(COLOURS)]


def label(ax: Axes, x: str, y: str) -> None:
    """Names the axes."""
    ax.set_xlabel(x, fontsize=FONT)
    ax.set_ylabel(y, fontsize=FONT)
    ax.tick_params(labelsize=SMALL)


def legend(ax: Axes, **settings: Any) -> None:
    """A legend that lets the curves shine through."""
    ax.legend(fontsize=SMALL, framealpha=0.9, edgecolor="none", **settings)
