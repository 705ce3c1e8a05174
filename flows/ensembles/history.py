"""The recorded steps of one flow among many: all of its numbers, and its weights as far as memory allows."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ..landscapes.landscape import Landscape
from ..simulation.recorder import Recorder
from ..simulation.result import Result
from ..simulation.steps import Steps

# Numbers recorded of the parameters' histories of all flows together, 8 bytes each.
KEPT_NUMBERS = 5 * 10**7


class HistoryRecorder(Recorder):
    """Keeps time, energy, loss, speed and ‖θ‖ of every accepted step, and the weights of as many as `Recorder` does.

    Args:
        first: the single record at time 0.
        stops: times to step onto, whose weights are kept.
        limit: how many numbers of the parameters' history to keep at most.
    """

    def __init__(self, first: Steps, stops: Float[np.ndarray, " S"], limit: int):
        super().__init__(first, stops, limit)
        self._columns = [_numbers(first)]

    def extend(self, steps: Steps) -> None:
        """Appends accepted steps (not none)."""
        super().extend(steps)
        self._columns.append(_numbers(steps))

    def columns(self) -> Float[np.ndarray, "T 5"]:
        """Time, energy, loss, speed and ‖θ‖ of every accepted step."""
        return np.concatenate(self._columns)

    def kept(self) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, "k n"]]:
        """The numbers of the steps whose weights are kept, and these; the first and the last are among them."""
        thetas, numbers = self.steps().thetas, np.concatenate(self._numbers)
        return (numbers if len(numbers) == len(thetas) else np.append(numbers, self.accepted)), thetas


def _numbers(steps: Steps) -> Float[np.ndarray, "T 5"]:
    norms = np.linalg.norm(steps.thetas, axis=1)
    return np.stack([steps.ts, steps.energies, steps.losses, steps.speeds, norms], axis=1)


class Member(eqx.Module):
    r"""One flow of an ensemble.

    Attributes:
        ts: times of all accepted steps.
        energies: dissipated energies $\int_0^t \|\nabla L\|^2 ds$ at these times.
        losses: the loss L at these times.
        speeds: the speed $\|\nabla L\|$ at these times.
        norms: the norm ‖θ‖ of the parameters at these times.
        kept: numbers of the steps whose weights are kept, among them the first and the last.
        thetas: the flattened parameters θ at these, one row each.
        result: why the flow ended.
        stats: numbers of steps, tolerances and solvers, as in a `Trajectory`.
        landscape: the landscape of the flow, with the initial weights.
        solver: the last solver.
    """

    ts: Float[np.ndarray, " T"]
    energies: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]
    speeds: Float[np.ndarray, " T"]
    norms: Float[np.ndarray, " T"]
    kept: Int[np.ndarray, " k"]
    thetas: Float[np.ndarray, "k n"]
    result: Result
    stats: dict[str, Any]
    landscape: Landscape
    solver: dfx.AbstractSolver[Any]

    @property
    def complete(self) -> bool:
        """Whether the weights of every step are kept."""
        return len(self.kept) == len(self.ts)

    @property
    def failure(self) -> str:
        """Why the flow ended before what was asked for, in words; empty where it did not."""
        return f"stopped at t = {self.ts[-1]:.6g}: {self.result.value}" if self.result.failed else ""

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.thetas.shape[1]

    def before(self, index: int) -> int:
        """The number, among the steps whose weights are kept, of the last that is not after a step."""
        return int(np.searchsorted(self.kept, index, side="right")) - 1

    def record(self, number: int) -> Steps:
        """The single record of a step whose weights are kept, by its number among these."""
        at = self.kept[number : number + 1]
        numbers = {name: getattr(self, name)[at] for name in ("ts", "energies", "losses", "speeds")}
        return Steps(thetas=self.thetas[number : number + 1], **numbers)

    def steps(self) -> Steps:
        """The steps whose weights are kept."""
        numbers = {name: getattr(self, name)[self.kept] for name in ("ts", "energies", "losses", "speeds")}
        return Steps(thetas=self.thetas, **numbers)

    def __str__(self) -> str:
        return (
            f"flow to t = {self.ts[-1]:.6g} ({self.result.value})\n"
            f"  loss {self.losses[0]:.6g} → {self.losses[-1]:.6g}, {len(self.ts) - 1} steps, "
            f"the weights of {len(self.kept)} of them kept"
        )
