"""One flow's plateaus, cheaply: where it dwelt, at which loss, and with how many units; nothing is refined."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...analysis import effective_width
from ...analysis.embeddings.width import leading_size
from ...analysis.figures.style import COLOURS
from ...analysis.visits.passages import passages
from ...flows import Trajectory, simulate
from .drawing import draw_levels
from .plateau_times import crossings

# Levels and widths are read off a plateau to per cents.
RTOL = 1e-6
# A hundredth of a drop of the whole loss, on either side.
NEAR = 0.02


class Staircase(eqx.Module):
    """A flow and its visits.

    Attributes:
        flow: the flow.
        indices: numbers of the saved times of the visits.
        fractions: losses there over the initial loss.
        widths: effective widths of one layer there.
    """

    flow: Trajectory
    indices: tuple[int, ...]
    fractions: Float[np.ndarray, " V"]
    widths: tuple[int, ...]

    def model(self, visit: int) -> Any:
        """The model at visit number `visit`."""
        return self.flow.model_at_index(self.indices[visit])

    @property
    def slowest(self) -> Float[np.ndarray, " V"]:
        """The speeds at the visits over the largest one."""
        return self.flow.speeds[list(self.indices)] / np.max(self.flow.speeds)

    def time_to(self, fraction: float) -> float:
        """When the loss first falls to a fraction of the initial one, linearly between saved times; NaN if never."""
        flow = self.flow
        return float(crossings(flow.ts[None], flow.losses[None], fraction * flow.losses[0])[0])

    def draw(self, ax: Any, levels: Sequence[float] = (), label: str | None = None, colour: int = 0) -> None:
        """Loss over initial loss with the visits, to 1.5 times the time of convergence.

        Where the first plateau is ten times as long as all that follows, its beginning is left out.

        Args:
            ax: where to draw.
            levels: plateau losses over the initial loss, by theory.
            label: name of the curve.
            colour: number of its colour.
        """
        draw_levels(ax, levels)
        fractions = self.flow.losses / self.flow.losses[0]
        ax.plot(self.flow.ts, fractions, color=COLOURS[colour], lw=1.3, label=label)
        ax.plot(self.flow.ts[list(self.indices)], self.fractions, "o", color=COLOURS[colour], ms=4)
        start, end = (
            float(self.flow.ts[np.argmax(fractions <= level)]) for level in (0.99, float(fractions[-1]) + 1e-3)
        )
        ax.set(xlabel="time t", ylabel="loss / initial loss")
        first = start - (end - start) / 2 if start > 10 * (end - start) else 0.0
        ax.set_xlim(first, max(end + (end - first) / 2, ax.get_xlim()[1] if colour else 0.0))

    @property
    def data(self) -> dict[str, np.ndarray]:
        """What is drawn."""
        return {"t": self.flow.ts, "loss": self.flow.losses, "visits": np.array(self.indices)}


def staircase(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    t1: float,
    *,
    layer: int = 0,
    save_times: Iterable[float] | None = None,
) -> Staircase:
    """Integrates a flow and finds its visits.

    Args:
        model: as for `simulate`.
        loss: as for `simulate`.
        data: as for `simulate`.
        t1: as for `simulate`.
        layer: the layer whose effective width is taken.
        save_times: as for `simulate`.

    Returns:
        The flow and its visits.
    """
    flow = simulate(model, loss, data, t1=t1, rtol=RTOL, save_times=save_times)
    return _at(flow, [passage.index for passage in passages(flow)], layer)


def at_levels(flow: Trajectory, levels: Sequence[float], *, near: float = NEAR, layer: int = 0) -> Staircase:
    """The slowest moment near each predicted level over the initial loss, or where it comes nearest to it.

    For flows over kinks, where the speed jumps and its minima are no visits, and for slow saddles between plateaus that
    theory does not name.

    Args:
        flow: the flow.
        levels: plateau losses over the initial loss, falling.
        near: the share of the initial loss within which a loss counts as at a level.
        layer: the layer whose effective width is taken.

    Returns:
        The flow and the moments found, one per level.
    """
    fractions = flow.losses / flow.losses[0]
    found = []
    for level in levels:
        there = np.flatnonzero(np.abs(fractions - level) < near)
        nearest = int(np.argmin(np.abs(fractions - level)))
        found.append(int(there[np.argmin(flow.speeds[there])]) if there.size else nearest)
    return _at(flow, found, layer)


def _at(flow: Trajectory, found: list[int], layer: int) -> Staircase:
    models = [flow.model_at_index(index) for index in found]
    scale = max(leading_size(each, layer) for each in (*models, flow.final_model))
    widths = tuple(effective_width(each, scale=scale, layer=layer).width for each in models)
    return Staircase(flow=flow, indices=tuple(found), fractions=flow.losses[found] / flow.losses[0], widths=widths)


def growth_rate(ts: Float[np.ndarray, " T"], sizes: Float[np.ndarray, " T"], low: float, high: float) -> float:
    """The exponential rate at which sizes grow, by least squares.

    Args:
        ts: times.
        sizes: sizes at these times.
        low: the size above which the fit begins.
        high: the size below which it ends.

    Returns:
        The rate.
    """
    chosen = (sizes > low) & (sizes < high)
    return float(np.polyfit(ts[chosen], np.log(sizes[chosen]), 1)[0])


def cosine(rows: Float[np.ndarray, "R D"], direction: Float[np.ndarray, " D"]) -> float:
    """|cos| of the angle between a direction and the one along which rows lie, by least squares."""
    return float(abs(np.linalg.svd(rows)[2][0] @ direction) / np.linalg.norm(direction))
