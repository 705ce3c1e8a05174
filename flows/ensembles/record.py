"""What many flows leave behind."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import diffrax as dfx
import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Shaped

from ..simulation.ending import trajectory_of
from ..simulation.integration import Integration, integrate
from ..simulation.limits import Limits
from ..simulation.patience import Patience
from ..simulation.result import Result
from ..simulation.sign_changes import SignChangeRecorder
from ..simulation.start import first_record, first_step
from ..simulation.trajectory import Trajectory
from .history import Member
from .weights import weights_at


class Ensemble(eqx.Module):
    """Many flows: `ensemble[3]` is the trajectory of one, `ensemble[:10]` or `ensemble[mask]` the ensemble of some.

    Times, losses and speeds of all accepted steps are kept, weights as far as memory allows: where those of a member
    were thinned, its trajectory is integrated again.

    Attributes:
        members: the flows.
        parameters: of a function that made the models, the value of each argument for every member.
        method: as asked for.
        reason: what was measured and chosen, in words.
        stops: increasing times that all members stepped onto, the last of them the end.
        limits: when to stop early.
        solver: as asked for; `None`: chosen on the way.
        shared: whether all members are on one landscape, except for their initial weights.
    """

    members: tuple[Member, ...]
    parameters: dict[str, Shaped[np.ndarray, "..."]]
    method: str
    reason: str
    stops: Float[np.ndarray, " S"]
    limits: Limits
    solver: dfx.AbstractSolver[Any] | None
    shared: bool

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Trajectory]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice | Shaped[np.ndarray, "..."]) -> "Ensemble": ...
    def __getitem__(self, index: Any) -> Any:
        """One trajectory, or the ensemble of some members, as NumPy selects rows."""
        if isinstance(index, int | np.integer):
            return self.trajectory(int(index))
        chosen = np.arange(len(self))[index]
        members = tuple(self.members[number] for number in chosen)
        parameters = {name: values[chosen] for name, values in self.parameters.items()}
        return Ensemble(
            members, parameters, self.method, self.reason, self.stops, self.limits, self.solver, self.shared
        )

    @property
    def results(self) -> tuple[Result, ...]:
        """Why each flow ended."""
        return tuple(member.result for member in self.members)

    @property
    def failures(self) -> dict[int, str]:
        """Why members ended before what was asked for, by their numbers."""
        return {number: member.failure for number, member in enumerate(self.members) if member.result.failed}

    @property
    def failed(self) -> Bool[np.ndarray, " B"]:
        """Which members ended before what was asked for."""
        return np.array([result.failed for result in self.results])

    @property
    def final_losses(self) -> Float[np.ndarray, " B"]:
        """The loss of every member at its last step."""
        return np.array([member.losses[-1] for member in self.members])

    def weights(self, places: Sequence[tuple[int, int]]) -> Float[np.ndarray, "k n"]:
        """The flattened parameters of members at some of their steps.

        Args:
            places: pairs of the number of a member and the number of one of its accepted steps.

        Returns:
            The parameters, one row for each pair; where they are not kept, stepped onto as `Trajectory.evaluate` does.
        """
        return weights_at(self.members, places, self.shared)

    def trajectory(self, number: int) -> Trajectory:
        """The trajectory of one member with the weights of all of its steps, integrated again where these are thinned.

        Args:
            number: of the member.

        Returns:
            The trajectory.
        """
        member = self.members[number]
        if not member.complete:
            return self._again(member)
        return Trajectory(member.steps(), member.result, member.stats, member.landscape, member.solver)

    def _again(self, member: Member) -> Trajectory:
        start, landscape = first_record(member.landscape), member.landscape
        tolerances = member.stats["rtol"], member.stats["atol"]
        # The steps that it took, whatever ended it.
        limits = Limits(convergence=self.limits.convergence, max_steps=member.stats["num_steps"])
        dt, nothing = first_step(start, float(self.stops[-1])), SignChangeRecorder(landscape, {}, tolerances)
        with Patience() as patience:
            flow = Integration(landscape, tolerances, self.solver, dt, start, self.stops, limits, nothing, patience)
            outcome = integrate(flow, None, None)
        found = trajectory_of(outcome, landscape, tolerances)
        if outcome.result is Result.interrupted:
            return found
        return Trajectory(found.steps, member.result, found.stats, landscape, found.solver)

    def __str__(self) -> str:
        ends, losses = np.array([member.ts[-1] for member in self.members]), self.final_losses
        steps = sum(member.stats["num_accepted_steps"] for member in self.members)
        lines = [f"ensemble of {len(self)} gradient flow{'s' * (len(self) != 1)}, {steps} steps"]
        lines.append(
            f"  to t = {_span(ends)}, loss {_span(np.array([m.losses[0] for m in self.members]))} → {_span(losses)}"
        )
        lines += [f"  {name}: {_span(values)}" for name, values in self.parameters.items() if values.dtype.kind in "fi"]
        lines.append(f"  {self.method}: {self.reason}")
        if self.failed.any():
            number, why = next(iter(self.failures.items()))
            lines.append(f"  {int(np.sum(self.failed))} failed; number {number} {why}")
        return "\n".join(lines)


def _span(values: Shaped[np.ndarray, " B"]) -> str:
    least, most = f"{np.min(values):.4g}", f"{np.max(values):.4g}"
    return least if least == most else f"{least} to {most}"
