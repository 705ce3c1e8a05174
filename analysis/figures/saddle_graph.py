"""The figure of a saddle graph."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ...models.units import layers_of
from ..critical_points.kind import Kind
from ..embeddings.width import effective_width, leading_size
from ..orbits.saddle_graph import SaddleGraph
from .style import COLOURS, FONT, label, legend

# Distance between nodes of one effective width, which the axis counts in ones.
STEP = 0.26
BOX: dict[str, Any] = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75}
SHORT = {"strict saddle": "strict", "degenerate saddle": "degenerate", "non-smooth saddle": "non-smooth"}
SHADES = {
    "strict saddle": COLOURS[0],
    "degenerate saddle": COLOURS[5],
    "non-smooth saddle": COLOURS[3],
    "minimum": COLOURS[2],
}


def plot_saddle_graph(graph: SaddleGraph, *, ax: Axes | None = None) -> Axes:
    """A saddle graph: nodes at their loss (up) and effective width (across), edges downhill, the taken path thick.

    Each node shows its index and nullity, or order where it has no negative eigenvalue; each edge the rate at which it
    is left. Nodes of one width stand side by side.

    Args:
        graph: by `saddle_graph`.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots(figsize=(7.5, 5.5), layout="constrained")[1] if ax is None else ax
    places = node_places(graph)
    steps = set(zip(graph.taken, graph.taken[1:], strict=False))
    for edge in graph.connections:
        start, end = places[edge.source], places[edge.target]
        thick = (edge.source, edge.target) in steps
        style = {"arrowstyle": "-|>", "shrinkA": 9, "shrinkB": 11, "lw": 2.8 if thick else 1.0}
        style |= {"color": COLOURS[1] if thick else "0.6", "connectionstyle": "arc3,rad=0.06", "mutation_scale": 13}
        ax.annotate("", xy=end, xytext=start, arrowprops=style, zorder=1)
        middle = 0.62 * np.array(start) + 0.38 * np.array(end)
        text = f"{edge.rate:.3g}"
        ax.text(middle[0], middle[1], text, fontsize=6, color="0.35", ha="center", va="center", bbox=BOX, zorder=2)
    for number, (place, kind) in enumerate(zip(places, graph.kinds, strict=True)):
        ax.plot(*place, "o", color=SHADES.get(kind.name, COLOURS[6]), ms=15, zorder=3)
        ax.text(*place, str(number), color="white", fontsize=FONT, ha="center", va="center", zorder=4)
        below: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "top", "bbox": BOX, "zorder": 2}
        ax.annotate(_caption(kind), place, (0, -11), fontsize=6, **below)
    for name in dict.fromkeys(kind.name for kind in graph.kinds):
        ax.plot([], [], "o", color=SHADES.get(name, COLOURS[6]), ms=7, label=name)
    if steps:
        ax.plot([], [], color=COLOURS[1], lw=2.8, label="path taken")
    legend(ax)
    label(ax, "effective width" if has_units(graph) else "node", "loss L")
    ax.set_xticks(sorted({round(x) for x, _ in places}))
    ax.margins(x=0.15, y=0.14)
    return ax


def _caption(kind: Kind) -> str:
    if kind.index is None:
        return SHORT.get(kind.name, kind.name)
    counts = f"index {kind.index}, nullity {kind.nullity}"
    # Of a degenerate saddle of a large network the order need not be known.
    return counts if kind.name != "degenerate saddle" or kind.order is None else f"order {kind.order}, {counts}"


def has_units(graph: SaddleGraph) -> bool:
    """Whether the nodes have an effective width."""
    return bool(layers_of(graph.points[0].model))


def node_places(graph: SaddleGraph) -> list[tuple[float, float]]:
    """The places of the nodes, those of one width side by side, the highest on the left.

    Args:
        graph: by `saddle_graph`.

    Returns:
        (effective width, loss) of every node; of a network without units (number, loss).
    """
    if not has_units(graph):
        return [(float(number), point.loss) for number, point in enumerate(graph.points)]
    scale = max(leading_size(point.model) for point in graph.points)
    widths = [effective_width(point.model, scale=scale).width for point in graph.points]
    order = sorted(range(len(widths)), key=lambda k: (-graph.points[k].loss, k))
    places = [(0.0, 0.0)] * len(widths)
    for width in set(widths):
        row = [k for k in order if widths[k] == width]
        step = min(STEP, 0.8 / len(row))
        for rank, k in enumerate(row):
            places[k] = (width + step * (rank - (len(row) - 1) / 2), graph.points[k].loss)
    return places
