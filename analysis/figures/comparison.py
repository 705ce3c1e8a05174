"""The figure of an optimiser beside the flow."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ..visits.comparison import Comparison
from .style import COLOURS, FONT, along_time, colour, legend


def plot_comparison(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """The losses of a flow and of an optimiser beside it, with the flow's plateaus and their fates.

    Args:
        comparison: by `compare`.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    flow, other = comparison.flow, comparison.other
    for number, plateau in enumerate(comparison.plateaus):
        ax.axhline(plateau.loss, color=colour(number), lw=5, alpha=0.35, zorder=0)
        text = plateau.fate if plateau.ratio is None else f"{plateau.fate} ({plateau.ratio:.3g})"
        across = ax.get_yaxis_transform()
        ax.text(0.99, plateau.loss, text, fontsize=FONT, ha="right", va="bottom", transform=across)
    ax.plot(flow.ts, flow.losses, color="k", lw=1.5, label="gradient flow")
    ax.plot(other.ts, other.losses, color=COLOURS[1], lw=1.2, label=other.stats.get("method", "another flow"))
    along_time(ax, "loss L", logarithmic=False)
    legend(ax, loc="center right")
    return ax
