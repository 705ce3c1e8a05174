"""The figure of a flow among its invariant manifolds."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ..invariant_manifolds.history import ManifoldHistory
from ..visits.visit import Visit
from .style import along_time, colour, legend


def plot_manifolds(history: ManifoldHistory, visits: Sequence[Visit] = (), *, ax: Axes | None = None) -> Axes:
    """Distance from the manifold of each effective width against time, on a logarithmic axis, with the visits.

    A visit's dot sits on the curve of its own width.

    Args:
        history: by `manifold_history`.
        visits: the itinerary that it was made with.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(history.widths)))
    for width, shade, curve in zip(history.widths, shades, history.distances.T, strict=True):
        # On the manifold itself the distance is zero or rounding, which a logarithm cannot show.
        shown = np.where(curve > np.finfo(float).eps * np.max(history.distances), curve, np.nan)
        if np.all(np.isnan(shown)):
            continue
        ax.plot(history.times, shown, color=shade, lw=1.4, label=f"width {width}")
    for number, visit in enumerate(visits):
        ax.axvline(visit.time, color=colour(number), lw=0.8, ls=":", zorder=0)
        width = None if visit.effective_width is None else visit.effective_width.width
        if width in history.widths:
            column = history.distances[:, history.widths.index(width)]
            height = np.interp(visit.time, history.times, column)
            if height > 0:
                ax.plot(visit.time, height, "o", color=colour(number), ms=6, label=f"visit {number}, width {width}")
    ax.set_yscale("log")
    along_time(ax, "distance from the manifold", logarithmic=False)
    legend(ax)
    return ax
