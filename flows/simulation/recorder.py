"""The recorded steps of a flow, in bounded memory."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped

from .steps import FIELDS, Steps, join

# Numbers recorded of the parameters' history, 8 bytes each: 160 MB, and twice that for a moment when they are thinned.
KEPT_NUMBERS = 2 * 10**7


class Recorder:
    """Accumulates accepted steps: all of them, or those whose number is even, a multiple of four, … to fit into memory.

    The first and the last step and the times to step onto are always recorded. Which others are depends on the number
    of steps alone, not on the calls in which they come.

    Args:
        first: the single record at time 0.
        stops: times to step onto.
        limit: how many numbers of the parameters' history to record at most.
    """

    last: Steps
    accepted: int

    def __init__(self, first: Steps, stops: Float[np.ndarray, " S"], limit: int = KEPT_NUMBERS):
        self.last = first
        self.accepted = 0
        self._parts, self._numbers = [first], [np.zeros(1, int)]
        self._stops = stops
        self._limit = max(limit // first.thetas.shape[1], 4)
        self._stride = 1

    def extend(self, steps: Steps) -> None:
        """Appends accepted steps (not none)."""
        self._append(steps, self.accepted + 1 + np.arange(len(steps)))
        self.accepted += len(steps)
        self.last = steps[-1:]
        while sum(map(len, self._numbers)) > self._limit and self._stride <= self.accepted:
            kept, numbers = join(self._parts), np.concatenate(self._numbers)
            self._stride *= 2
            self._parts, self._numbers = [], []
            self._append(kept, numbers)

    def _append(self, steps: Steps, numbers: np.ndarray) -> None:
        kept = (numbers % self._stride == 0) | np.isin(steps.ts, self._stops)
        self._parts.append(steps[kept])
        self._numbers.append(numbers[kept])

    def steps(self) -> Steps:
        """All recorded steps in order of time."""
        kept = join(self._parts)
        return kept if kept.ts[-1] == self.last.ts[-1] else join([kept, self.last])

    def state(self) -> tuple[dict[str, int], dict[str, Shaped[np.ndarray, "..."]]]:
        """The numbers and the arrays that `restored` needs."""
        runs = {"kept": join(self._parts), "last": self.last}
        arrays = {f"{run}-{field}": getattr(steps, field) for run, steps in runs.items() for field in FIELDS}
        return {"accepted": self.accepted, "stride": self._stride}, arrays | {"kept": np.concatenate(self._numbers)}

    @classmethod
    def restored(
        cls, state: Mapping[str, int], arrays: Mapping[str, Shaped[np.ndarray, "..."]], stops: Float[np.ndarray, " S"]
    ) -> "Recorder":
        """The recorder whose `state` it was."""
        kept, last = (Steps(**{field: arrays[f"{run}-{field}"] for field in FIELDS}) for run in ("kept", "last"))
        recorder = cls(kept, stops)
        recorder.last, recorder.accepted, recorder._stride = last, state["accepted"], state["stride"]
        recorder._numbers = [arrays["kept"]]
        return recorder
