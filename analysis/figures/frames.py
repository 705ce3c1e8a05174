"""The saved states of a flow that a report or a film shows one after the other."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ...flows import Trajectory
from ..visits.visit import Visit

# More pictures than a slider of a screen's width can tell apart would only make the page larger.
FRAMES = 80
# A flow most of whose pictures lie in this share of its time is drawn over the logarithm of time.
EARLY = 0.05


class Frames(eqx.Module):
    """Saved states, in order of time.

    Attributes:
        trajectory: the flow.
        indices: numbers of the saved times.
        logarithmic: whether the flow is to be drawn over the logarithm of time.
    """

    trajectory: Trajectory
    indices: Int[np.ndarray, " F"]
    logarithmic: bool

    @property
    def ts(self) -> Float[np.ndarray, " F"]:
        """Their times."""
        return self.trajectory.ts[self.indices]

    @property
    def thetas(self) -> Float[np.ndarray, "F n"]:
        """The flattened parameters."""
        return self.trajectory.thetas[self.indices]

    def clock(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Times as they are drawn: a logarithmic axis begins with the first step."""
        return np.maximum(ts, self.trajectory.ts[1]) if self.logarithmic else ts

    def number(self, t: float) -> int:
        """The number of the last frame at or before time t."""
        return max(int(np.searchsorted(self.ts, t, side="right")) - 1, 0)

    def __str__(self) -> str:
        axis = "logarithmic" if self.logarithmic else "linear"
        return f"{len(self.indices)} of {len(self.trajectory.ts)} saved states, over {axis} time"


def frames(trajectory: Trajectory, visits: Sequence[Visit] = (), *, count: int = FRAMES) -> Frames:
    r"""Chooses saved states that follow each other at equal distances in time, loss and weights together.

    The distance is the sum of the shares of the whole time, of the total variation of the loss and of the length of the
    path, so that plateaus and transitions both get their part.

    Args:
        trajectory: the flow.
        visits: its itinerary, whose closest approaches are among the states.
        count: about how many.

    Returns:
        The states; each is one of the flow's own, none is interpolated.
    """
    ts = trajectory.ts
    changes = np.abs(np.diff(trajectory.losses)), np.linalg.norm(np.diff(trajectory.thetas, axis=0), axis=1)
    logarithmic = _early(ts, changes[0])
    clock = np.log(np.maximum(ts, ts[1] if len(ts) > 1 else 1.0)) if logarithmic else ts
    distance = np.zeros(len(ts))
    for steps in (np.diff(clock), *changes):
        distance[1:] += np.cumsum(steps) / (np.sum(steps) or 1.0)
    chosen = np.searchsorted(distance, np.linspace(0, distance[-1], count))
    marked = [visit.passage.index for visit in visits]
    indices = np.unique(np.concatenate([chosen, marked, [0, len(ts) - 1]]).astype(int))
    return Frames(trajectory=trajectory, indices=indices[indices < len(ts)], logarithmic=logarithmic)


def _early(ts: Float[np.ndarray, " T"], changes: Float[np.ndarray, " S"]) -> bool:
    """Whether the loss has made half of its changes early in the flow's time."""
    if len(ts) < 3 or not np.sum(changes):
        return False
    half = int(np.searchsorted(np.cumsum(changes), np.sum(changes) / 2))
    return bool(ts[half] < EARLY * ts[-1])
