"""Notices when a flow no longer advances."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from .result import Result
from .stepping import CHUNK
from .steps import Steps, join

# Crossing a kink once shrinks the steps for a few dozen tries; sliding along it shrinks them for good.
STALLED_ROUNDS = 4
# Where a field jumps by little, as at the kink of one sample among many, steps remain longer, but some are rejected in
# every round, a quarter of them or more; five thousand tries take a second or two in small networks.
REJECTED, CREEPING_ROUNDS = 0.1, 40
# Accepted steps that are examined for a jump of the field.
RECENT = 32
# So much of what is left to go must be out of reach at the present pace.
HOPELESS = 0.9
CREEP = ("creeping", "crept_from", "accepted")


class StallDetector:
    r"""Notices when several rounds of `CHUNK` steps in a row get nowhere, compared with the flow's shortest time scale.

    The time scale is the shortest so far of $\|\theta\| / \|\nabla L\|$, in which the weights would change by their own
    size. On a discontinuity of the field that attracts from both sides, the error control allows only steps that
    overshoot it by less than the tolerance: a step takes about rtol of that time, where smooth fields of any stiffness
    that an explicit method can bear take more than a millionth of it over a round. Stops may be as close to each other:
    a round in which one is reached does not count.

    The jump may be so small that steps are longer than that. A flow slides as well if steps are rejected in many
    rounds in a row, the rest of the way is out of reach at that pace, and the field jumps within steps (`jumps`).

    Attributes:
        stops: times that the flow steps onto.
        share: the share of the time scale below which a round is stalled.
        rounds: the number of rounds that the flow may take.
        jumps: whether the field jumps within some steps.
        time_scale: the shortest time scale so far.
        number: the number of rounds completed.
        began: the time at which the present round began.
        stalled: the number of stalled rounds in a row.
        creeping: the number of rounds in a row in which steps were rejected.
        crept_from: the time at which the first of these began.
        accepted: the number of steps accepted in the present round.
        recent: the last accepted steps.
    """

    stops: Float[np.ndarray, " S"]
    share: float
    rounds: float
    jumps: Callable[[Steps], bool]
    time_scale: float
    number: int
    began: float
    stalled: int
    creeping: int
    crept_from: float
    accepted: int
    recent: Steps

    def __init__(
        self,
        start: Steps,
        stops: Float[np.ndarray, " S"],
        rtol: float,
        max_steps: int,
        jumps: Callable[[Steps], bool],
    ):
        self.stops, self.share = stops, min(1e4 * rtol, 1e-6)
        self.rounds, self.jumps = max_steps / CHUNK, jumps
        self.time_scale = _shortest_time_scale(start) if start.thetas.any() else float("inf")
        self.number, self.began, self.stalled = 0, float(start.ts[-1]), 0
        self.creeping, self.crept_from, self.accepted, self.recent = 0, self.began, 0, start

    def observe(self, steps: Steps) -> None:
        """Takes some accepted steps, possibly none, into account."""
        if len(steps):
            self.time_scale = min(self.time_scale, _shortest_time_scale(steps))
            self.recent = join([self.recent, steps])[-RECENT:]
        self.accepted += len(steps)

    def _is_stalled(self, now: float) -> bool:
        reached = np.searchsorted(self.stops, [self.began, now], side="right")
        return bool(reached[0] == reached[1]) and now - self.began < self.share * self.time_scale

    def _is_creeping(self) -> bool:
        return self.accepted < (1 - REJECTED) * CHUNK

    def _never_arrives(self, now: float) -> bool:
        """Whether the flow gets nowhere at the pace of many rounds in which steps were rejected."""
        rounds = self.creeping + 1
        if not self._is_creeping() or rounds % CREEPING_ROUNDS:
            return False
        ahead = (now - self.crept_from) / rounds * (self.rounds - self.number - 1)
        return ahead < (1 - HOPELESS) * (float(self.stops[-1]) - now)

    def reason_to_stop(self, now: float) -> Result | None:
        """Why a flow that is at time `now` after a round should stop; `None` to continue."""
        if now == self.began:
            return Result.not_finite
        slides = self._is_stalled(now) and self.stalled + 1 == STALLED_ROUNDS
        return Result.sliding if slides or (self._never_arrives(now) and self.jumps(self.recent)) else None

    def begin_round(self, now: float) -> None:
        """Begins the next round at time `now`."""
        self.stalled = self.stalled + 1 if self._is_stalled(now) else 0
        self.creeping = self.creeping + 1 if self._is_creeping() else 0
        self.crept_from = self.crept_from if self.creeping else now
        self.number, self.began, self.accepted = self.number + 1, now, 0

    def state(self) -> dict[str, Any]:
        """The values that `restore` needs."""
        return {name: getattr(self, name) for name in ("time_scale", "number", "began", "stalled", *CREEP)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues where another detector of the same flow was."""
        for name in self.state():
            setattr(self, name, state[name])


def _shortest_time_scale(steps: Steps) -> float:
    r"""The shortest time, over some steps, in which the weights would change by their own size, ‖θ‖ / ‖∇L‖."""
    speeds = np.maximum(steps.speeds, np.finfo(steps.speeds.dtype).tiny)
    # Beyond the range of numbers where the weights hardly move.
    with np.errstate(over="ignore"):
        return float(np.min(np.linalg.norm(steps.thetas, axis=1) / speeds))
