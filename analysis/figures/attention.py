"""The attention patterns of the heads of one layer."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from .style import FONT, SMALL


def plot_attention(patterns: Float[Any, "H T T"], names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """The attention of every head as a square of grey levels, from white for none to black for one.

    Args:
        patterns: by head, attending token (down) and attended token (across).
        names: of the tokens.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    heads, length, _ = patterns.shape
    columns = int(np.ceil(np.sqrt(heads)))
    rows = -(-heads // columns)
    # One picture of all heads, with a blank line between them.
    page = np.full((rows * (length + 1) - 1, columns * (length + 1) - 1), np.nan)
    for head, pattern in enumerate(np.asarray(patterns)):
        down, across = (place * (length + 1) for place in divmod(head, columns))
        page[down : down + length, across : across + length] = pattern
    ax.imshow(page, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    ax.set_facecolor("#cfe3f5")
    places = np.arange(length)
    ax.set_xticks(places, names, fontsize=SMALL - 1)
    ax.set_yticks(places, names, fontsize=SMALL - 1)
    ax.tick_params(length=0)
    ax.set_xlabel(f"{heads} heads", fontsize=FONT)
    return ax
