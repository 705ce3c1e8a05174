"""Notices when a flow no longer advances."""

from typing import Any

import numpy as np
from jaxtyping import Float

from .result import Result
from .steps import Steps

# Crossing a kink once shrinks the steps for a few dozen tries; sliding along it shrinks them for good.
STALLED_ROUNDS = 4


class StallDetector:
    r"""Notices when several rounds of `CHUNK` steps in a row get nowhere, compared with the flow's shortest time scale.

    The time scale is the shortest so far of $\|\theta\| / \|\nabla L\|$, in which the weights would change by their own
    size. On a discontinuity of the field that attracts from both sides, the error control allows only steps that
    overshoot it by less than the tolerance: a step takes about rtol of that time, where smooth fields of any stiffness
    that an explicit method can bear take more than a millionth of it over a round. Stops may be as close to each other:
    a round in which one is reached does not count.

    Attributes:
        stops: times that the flow steps onto.
        share: the share of the time scale below which a round is stalled.
        time_scale: the shortest time scale so far.
        number: the number of rounds completed.
        began: the time at which the present round began.
        stalled: the number of stalled rounds in a row.
    """

    stops: Float[np.ndarray, " S"]
    share: float
    time_scale: float
    number: int
    began: float
    stalled: int

    def __init__(self, start: Steps, stops: Float[np.ndarray, " S"], rtol: float):
        self.stops, self.share = stops, min(1e4 * rtol, 1e-6)
        self.time_scale = _shortest_time_scale(start) if start.thetas.any() else float("inf")
        self.number, self.began, self.stalled = 0, float(start.ts[-1]), 0

    def observe(self, steps: Steps) -> None:
        """Takes some accepted steps, possibly none, into account."""
        if len(steps):
            self.time_scale = min(self.time_scale, _shortest_time_scale(steps))

    def _is_stalled(self, now: float) -> bool:
        reached = np.searchsorted(self.stops, [self.began, now], side="right")
        return bool(reached[0] == reached[1]) and now - self.began < self.share * self.time_scale

    def reason_to_stop(self, now: float) -> Result | None:
        """Why a flow that is at time `now` after a round should stop; `None` to continue."""
        if now == self.began:
            return Result.not_finite
        return Result.sliding if self._is_stalled(now) and self.stalled + 1 == STALLED_ROUNDS else None

    def begin_round(self, now: float) -> None:
        """Begins the next round at time `now`."""
        self.stalled = self.stalled + 1 if self._is_stalled(now) else 0
        self.number, self.began = self.number + 1, now

    def state(self) -> dict[str, Any]:
        """The values that `restore` needs."""
        return {name: getattr(self, name) for name in ("time_scale", "number", "began", "stalled")}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues where another detector of the same flow was."""
        for name in self.state():
            setattr(self, name, state[name])


def _shortest_time_scale(steps: Steps) -> float:
    r"""The shortest time, over some steps, in which the weights would change by their own size, ‖θ‖ / ‖∇L‖."""
    speeds = np.maximum(steps.speeds, np.finfo(steps.speeds.dtype).tiny)
    return float(np.min(np.linalg.norm(steps.thetas, axis=1) / speeds))
