"""The figure of what was observed along a flow."""

import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import FONT, along_time, colour, legend

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

# Curves in one panel, and those that a legend names.
CURVES, NAMED = 50, 7
# Panels side by side, and the size of each in inches.
COLUMNS, WIDTH, HEIGHT = 3, 3.4, 2.6
# Positive quantities that span more than two decades are drawn on a logarithmic axis.
DECADES = 100.0


def plot_observables(dataset: "Dataset", *, logarithmic: bool = False) -> Figure:
    """One panel for each observable, with one curve against time for each of its entries.

    Args:
        dataset: by `observe` or `tracked_eigenpairs`; variables of more than 50 entries are left out.
        logarithmic: whether time is on a logarithmic axis.

    Returns:
        The figure, not shown and not saved.

    Raises:
        ValueError: for a dataset without anything that can be drawn.
    """
    names = [str(name) for name, values in dataset.items() if values.size <= CURVES * dataset.sizes["time"]]
    if not names:
        raise ValueError(f"no variable of at most {CURVES} entries at each time; draw a selection of {dataset.sizes}.")
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    size = (WIDTH * columns, HEIGHT * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for name, ax in zip(names, panels.flat, strict=False):
        plot_observable(dataset[name], logarithmic=logarithmic, ax=ax)
    for ax in panels.flat[len(names) :]:
        ax.set_axis_off()
    return figure


def plot_observable(values: "DataArray", *, logarithmic: bool = False, ax: Axes | None = None) -> Axes:
    """One observable against time, with one curve for each of its entries.

    Args:
        values: one variable of what `observe` returns.
        logarithmic: whether time is on a logarithmic axis.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    times, curves = values["time"].values, values.values.reshape(len(values), -1)
    names = entry_names(values)
    for k, curve in enumerate(curves.T):
        ax.plot(times, curve, color=colour(k), lw=1.2, label=names[k] if len(names) <= NAMED else None)
    positive = curves[np.isfinite(curves)]
    wide = positive.size and np.min(positive) > 0 and np.max(positive) > DECADES * np.min(positive)
    ax.set_yscale("log" if wide else "linear")
    unit = str(values.attrs.get("units", "1"))
    along_time(ax, "" if unit == "1" else unit, logarithmic=logarithmic)
    ax.set_title("\n".join(textwrap.wrap(str(values.attrs.get("long_name", values.name)), 40)), fontsize=FONT)
    if 1 < len(names) <= NAMED:
        legend(ax)
    return ax


def entry_names(values: "DataArray") -> list[str]:
    """The names of a variable's entries at one time, by the labels of its axes.

    Args:
        values: one variable of what `observe` returns.

    Returns:
        The names, in the order of the flattened entries.
    """
    names = [""]
    for dimension in values.dims[1:]:
        found: Any = values[dimension].values
        numbered = dimension not in values.coords
        labels = [f"{dimension} {each}" if numbered else str(each) for each in found]
        names = [f"{name} {each}".strip() for name in names for each in labels]
    return names
