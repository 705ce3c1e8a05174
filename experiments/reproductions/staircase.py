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
from .ensemble import crossings

# Levels and widths are read off a plateau to per cents.
RTOL = 1e-6
NEAR = 0.02


class Staircase(eqx.Module):
    """A flow, the times of its visits, losses there over the initial one, and effective widths of one layer."""

    flow: Trajectory
    indices: tuple[int, ...]
    fractions: np.ndarray
    widths: tuple[int, ...]

    def model(self, visit: int) -> Any:
        """The model at a visit."""
        return self.flow.model_at_index(self.indices[visit])

    @property
    def slowest(self) -> np.ndarray:
        """The speeds at the visits over the largest one."""
        return self.flow.speeds[list(self.indices)] / np.max(self.flow.speeds)

    def time_to(self, fraction: float) -> float:
        """When the loss first falls to a fraction of the initial one, linearly between saved times; NaN if never."""
        flow = self.flow
        return float(crossings(flow.ts[None], flow.losses[None], fraction * flow.losses[0])[0])

    def draw(self, ax, levels=(), label: str | None = None, colour: int = 0) -> None:
        """Loss over initial loss, with visits, to half as long again as it needs.

        Where the first plateau is ten times as long as all that follows, its beginning is left out.
        """
        for level in levels:
            ax.axhline(level, color="0.6", lw=0.8, ls="--", zorder=0)
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
    model: Any, loss: Callable, data: Any, t1: float, *, layer: int = 0, save_times: Iterable[float] | None = None
) -> Staircase:
    """Integrates a flow and finds its visits.

    **Arguments:** `model`, `loss`, `data`, `t1`, `save_times`: as for `simulate`; `layer`: whose effective width.
    """
    flow = simulate(model, loss, data, t1=t1, rtol=RTOL, save_times=save_times)
    return _at(flow, [passage.index for passage in passages(flow)], layer)


def at_levels(flow: Trajectory, levels: Sequence[float], *, near: float = NEAR, layer: int = 0) -> Staircase:
    """The slowest moment near each predicted level over the initial loss, or where it comes nearest to it.

    For flows over kinks, where the speed jumps and its minima are no visits, and for slow saddles between plateaus that
    theory does not name.

    **Arguments:** `flow`; `levels`: falling; `near`: the share of the initial loss within which a loss counts as at a
    level; `layer`: whose effective width.
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
    return Staircase(flow, tuple(found), flow.losses[found] / flow.losses[0], widths)


def growth_rate(ts: Float[np.ndarray, " T"], sizes: Float[np.ndarray, " T"], low: float, high: float) -> float:
    """The exponential rate at which sizes grow between two bounds, by least squares."""
    chosen = (sizes > low) & (sizes < high)
    return float(np.polyfit(ts[chosen], np.log(sizes[chosen]), 1)[0])


def cosine(rows: Float[np.ndarray, "R D"], direction: Float[np.ndarray, " D"]) -> float:
    """|cos| of the angle between a direction and the one along which rows lie, by least squares."""
    return float(abs(np.linalg.svd(rows)[2][0] @ direction) / np.linalg.norm(direction))
