"""Where an optimiser departs from the flow: distance over time, and the fate of each plateau."""

from typing import TYPE_CHECKING, Literal

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Trajectory
from ...models.arguments import real, record
from ..tables import new_table, plain_text
from ..thresholds import STANDARD, Thresholds
from .levels import first_time_below
from .passages import passages

if TYPE_CHECKING:
    from rich.table import Table

Fate = Literal["kept", "lengthened", "left early", "skipped", "not left", "not reached"]

# Dwell times within one per cent of each other count as equal.
SAME = 0.01
# A plateau is skipped if it takes less than half of the time of the drop after it: a loss that falls at a steady pace
# spends 0.1 + 0.1 of two equal drops on the plateau between, against 0.8 of one on the drop, that is a quarter; twice
# that leaves room for a fall at an uneven pace.
SKIPPED = 0.5


class PlateauComparison(eqx.Module):
    """A plateau of the flow, and its fate on the other trajectory.

    Attributes:
        loss: the flow's loss at closest approach.
        dwell: dwell time of the flow.
        other_dwell: that of the other trajectory between the same losses, `None` where the plateau was not reached or
            not left.
        ratio: of the dwell times, the other's over the flow's; for optimisers with a time scale of their own each
            relative to the time to the flow's last plateau.
        fate: the meaning of that ratio.
    """

    loss: float
    dwell: float
    other_dwell: float | None
    ratio: float | None
    fate: Fate

    def __str__(self) -> str:
        other = "none" if self.other_dwell is None else f"{self.other_dwell:.4g}"
        ratio = "" if self.ratio is None else f", ratio {self.ratio:.4g}"
        return (
            f"plateau at loss {self.loss:.6g}: {self.fate}\n"
            f"  dwell time of the flow: {self.dwell:.4g}\n"
            f"  dwell time of the other trajectory: {other}{ratio}"
        )


class Comparison(eqx.Module):
    r"""A trajectory beside the flow from the same weights.

    Attributes:
        flow: the gradient flow.
        other: the other trajectory.
        ts: the other's times, as far as the flow reaches.
        distances: $\|\theta_{other}(t) - \theta_{flow}(t)\|$ at these times.
        plateaus: those that the flow left, in order.
    """

    flow: Trajectory
    other: Trajectory
    ts: Float[np.ndarray, " T"]
    distances: Float[np.ndarray, " T"]
    plateaus: tuple[PlateauComparison, ...]

    def __str__(self) -> str:
        worst = int(np.argmax(self.distances))
        size = np.linalg.norm(self.other.thetas[worst])
        remark = (
            f"{self.other.stats.get('method', 'gradient flow')}: {self.other.result.value}. Farthest from the flow at "
            f"t = {self.ts[worst]:.4g}, by {self.distances[worst]:.3g} at ‖θ‖ = {size:.3g}; at the end by "
            f"{self.distances[-1]:.3g}."
        )
        return plain_text(self.table(), remark, width=120)

    def table(self) -> "Table":
        """The plateaus as a rich table."""
        columns = ("#", "loss", "dwell of the flow", "dwell here", "ratio", "fate")
        result = new_table(columns, left=("fate",))
        for k, plateau in enumerate(self.plateaus):
            numbers = (plateau.loss, plateau.dwell, plateau.other_dwell, plateau.ratio)
            shown = ("–" if number is None else f"{number:.4g}" for number in numbers)
            result.add_row(str(k), *shown, plateau.fate)
        return result


def compare(
    flow: Trajectory,
    other: Trajectory,
    *,
    same: float = SAME,
    skipped: float = SKIPPED,
    thresholds: Thresholds = STANDARD,
) -> Comparison:
    """Compares an optimiser's trajectory with the flow from the same initial weights.

    A plateau's dwell time lasts from 90 % of the drop before it to 10 % of the drop after it, at the same losses for
    both; the other's loss need not decrease steadily, and is at a level when it first reaches it.

    Args:
        flow: by `simulate`.
        other: by `descend`, or another flow.
        same: share by which dwell times may differ and still count as equal.
        skipped: ratio of dwell time to that of the drop after it below which a plateau counts as skipped.
        thresholds: what counts as a plateau of the flow.

    Returns:
        The distance over time, and the fate of each plateau.

    Raises:
        ValueError: for trajectories of different initial weights, and for shares out of range.
    """
    record("flow", flow, Trajectory, "returned by simulate")
    record("other", other, Trajectory, "returned by simulate or descend")
    if flow.thetas.shape[1:] != other.thetas.shape[1:] or not np.array_equal(flow.thetas[0], other.thetas[0]):
        raise ValueError("the trajectories start from different weights; give both the same model.")
    if not (0 <= real("same", same) < 1 and real("skipped", skipped) >= 0):
        raise ValueError(f"same must lie in [0, 1) and skipped must not be negative; got {same} and {skipped}.")
    ts = other.ts[other.ts <= flow.ts[-1]]
    distances = np.linalg.norm(other.thetas[: len(ts)] - _positions(flow, ts), axis=1)
    plateaus = _plateaus(flow, other, same, skipped, thresholds)
    return Comparison(flow=flow, other=other, ts=ts, distances=distances, plateaus=plateaus)


def _positions(flow: Trajectory, ts: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T n"]:
    """The flow's weights at given times, by the cubic through its steps and their velocities."""
    velocities = -flow.landscape.values_and_gradients(flow.thetas)[1]
    return scipy.interpolate.CubicHermiteSpline(flow.ts, flow.thetas, velocities)(ts)


def _plateaus(
    flow: Trajectory, other: Trajectory, same: float, skipped: float, thresholds: Thresholds
) -> tuple[PlateauComparison, ...]:
    """Every plateau that the flow left, beside the other trajectory's dwell time between the same losses."""
    visited = passages(flow, thresholds=thresholds)
    losses = flow.losses[[passage.index for passage in visited]]
    parts = -thresholds.drop_fraction * np.diff(losses)
    reached = lambda level: first_time_below(other.ts, other.losses, level)  # noqa: E731
    arrivals = [0.0, *map(reached, losses[1:] + parts)]
    departures = [*map(reached, losses[:-1] - parts)]
    scale = 1.0
    if not other.stats.get("follows_flow", True):
        scale = visited[-1].arrival / (other.ts[-1] if arrivals[-1] is None else arrivals[-1])
    result = []
    for k, passage in enumerate(visited[:-1]):
        arrival, departure, after = arrivals[k], departures[k], arrivals[k + 1]
        assert passage.dwell is not None  # only the last passage is never left
        dwell, ratio, fate = None, None, "not reached" if arrival is None else "not left"
        if arrival is not None and departure is not None:
            dwell = departure - arrival
            ratio = scale * dwell / passage.dwell
            fate = "kept" if abs(ratio - 1) <= same else "lengthened" if ratio > 1 else "left early"
            if after is not None and dwell < skipped * (after - departure):
                fate = "skipped"
        plateau = PlateauComparison(
            loss=float(losses[k]), dwell=passage.dwell, other_dwell=dwell, ratio=ratio, fate=fate
        )
        result.append(plateau)
    return tuple(result)
