"""The integration from the first step to the last: timed calls, reasons to stop, change of solver, checkpoints."""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import diffrax as dfx
import jax
import numpy as np
from jaxtyping import Float, Shaped

from ..landscapes.landscape import Landscape
from ..solver_choice.choose import Candidate, candidate_solvers, choose
from .checkpoint import Checkpoint
from .jumps import jumps
from .limits import Limits
from .patience import OutOfTime, Patience
from .recorder import Recorder
from .result import Outcome, Result, ended
from .sign_changes import SignChangeRecorder
from .solver_state import SolverState, fresh_state
from .stalls import StallDetector
from .stepping import CHUNK, Chunk, advance
from .steps import Steps

# Seconds that a call should last: short beside a budget and two checkpoints, long beside the call itself.
SPAN = 0.5


class Integration:
    """An integration under way: its solver, which is changed once another one pays, and what it has recorded.

    All decisions are made after single steps, or after each round of `CHUNK` steps tried. Between them the clock
    divides the steps into calls, which therefore changes no digit.

    Args:
        landscape: the landscape to integrate on.
        tolerances: rtol and atol.
        solver: a Diffrax solver; `None`: Tsit5, which may be replaced.
        dt: length of the first step.
        start: the single record to start from.
        stops: increasing times to step onto, the last of them the end.
        limits: when to stop early.
        sign_changes: the recorder of sign changes.
        patience: runs the calls.
    """

    landscape: Landscape
    tolerances: tuple[float, float]
    patience: Patience
    stops: Float[np.ndarray, " S"]
    limits: Limits
    recorder: Recorder
    sign_changes: SignChangeRecorder
    stalls: StallDetector
    solver: dfx.AbstractSolver[Any]
    replaceable: bool
    history: list[tuple[float, str]]
    reason: str
    tried: int
    offers: Callable[[], dict[str, Candidate]]
    _solver_state: SolverState | None

    def __init__(
        self,
        landscape: Landscape,
        tolerances: tuple[float, float],
        solver: dfx.AbstractSolver[Any] | None,
        dt: float,
        start: Steps,
        stops: Float[np.ndarray, " S"],
        limits: Limits,
        sign_changes: SignChangeRecorder,
        patience: Patience,
    ):
        self.landscape, self.tolerances, self.patience = landscape, tolerances, patience
        self.stops, self.limits = stops, limits
        self.recorder, self.sign_changes = Recorder(start, stops), sign_changes
        self.stalls = StallDetector(start, stops, tolerances[0], limits.max_steps, partial(jumps, landscape))
        self.solver, self.replaceable = (dfx.Tsit5(), True) if solver is None else (solver, False)
        self.history, self.reason = [(0.0, type(self.solver).__name__)], ""
        self.offers = cache(lambda: candidate_solvers(landscape, tolerances[0]))
        self.tried, self._dt, self._solver_state, self._seconds_per_step = 0, dt, None, SPAN

    @property
    def now(self) -> float:
        """The time reached."""
        return float(self.recorder.last.ts[-1])

    def steps_of_call(self) -> int:
        """The number of steps that the next call should take by the pace of the last; one where there is none."""
        return max(int(SPAN / self._seconds_per_step), 1)

    def call(self, stop: float) -> Result | None:
        """Decides after a round, and takes the steps of a call towards `stop`; why to stop, or `None` to continue."""
        if (result := self.decide()) is not None:
            return result
        steps, result = self.advance(stop)
        self.stalls.observe(steps)
        return result

    def decide(self) -> Result | None:
        """Decides after a round whether to go on, and by which solver; why to stop, or `None` to continue."""
        if self.tried >= self.limits.max_steps:
            return Result.max_steps
        if self.tried // CHUNK > self.stalls.number:
            if (result := self.stalls.reason_to_stop(self.now)) is not None:
                return result
            self.reconsider()
            self.stalls.begin_round(self.now)
        return None

    def advance(self, stop: float) -> tuple[Steps, Result | None]:
        """Takes the steps of a call towards `stop`; these, and why the flow is over, or `None` to continue."""
        last, began = self.recorder.last, time.monotonic()
        limit = min(self.steps_of_call(), self.steps_of_round())
        arguments = last, stop, self.solver_state(), self.tolerances, self.limits.convergence, limit
        chunk = self.patience.wait(advance, self.landscape, self.solver, *arguments)
        self._seconds_per_step = (time.monotonic() - began) / chunk.tried
        return self.take(chunk)

    def steps_of_round(self) -> int:
        """The number of steps until the next decision."""
        return min(CHUNK - self.tried % CHUNK, self.limits.max_steps - self.tried)

    def solver_state(self) -> SolverState:
        """What solver and controller remember, or what they start with."""
        if self._solver_state is None:
            last = self.recorder.last
            self._solver_state = fresh_state(self.landscape, self.solver, last, self._dt, self.tolerances)
        return self._solver_state

    def take(self, chunk: Chunk) -> tuple[Steps, Result | None]:
        """Records the steps of a call; these, and why the flow is over, or `None` to continue."""
        last, progress = self.recorder.last, self.sign_changes.progress
        steps, result = ended(last, chunk, self.limits.convergence)
        if len(steps) and self.sign_changes.functions:
            progress = self.patience.wait(self.sign_changes.search, last, steps, self.solver)
        # All at once: an interruption leaves what whole calls have found.
        self._solver_state, self.tried, self.sign_changes.progress = (
            chunk.solver_state,
            self.tried + chunk.tried,
            progress,
        )
        if len(steps):
            self.recorder.extend(steps)
        return steps, result

    def reconsider(self) -> None:
        """Changes to another solver if the rest of the flow costs less with it."""
        if not self.replaceable or self._solver_state is None:
            return
        theta, remaining, dt = self.recorder.last.thetas[-1], self.stops[-1] - self.now, self._solver_state.dt
        choice = self.patience.wait(choose, self.landscape, theta, remaining, dt, self.offers)
        if choice is not None:
            self.solver, self.replaceable, self._solver_state, self._dt = choice.solver, False, None, dt
            self.history = [*self.history, (self.now, choice.name)]
            self.reason, self._seconds_per_step = choice.reason, SPAN

    def save(self, checkpoint: Checkpoint, result: Result | None) -> None:
        """Writes all that `restore` needs."""
        path, arrays = self.recorder.state()
        leaves = jax.tree.leaves(self._solver_state)
        arrays |= {f"solver-state-{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)} | self.sign_changes.state()
        solver = {"history": self.history, "reason": self.reason, "tried": self.tried, "dt": self._dt}
        over = result in (Result.converged, Result.not_finite, Result.sliding)
        state = {"path": path, "solver": solver, "stalls": self.stalls.state(), "result": result.name if over else None}
        checkpoint.write(state, arrays)

    def restore(self, state: dict[str, Any], arrays: dict[str, Shaped[np.ndarray, "..."]]) -> Result | None:
        """Continues where another integration of the same flow was saved; the result of a flow that is over."""
        self.recorder = recorder = Recorder.restored(state["path"], arrays, self.stops)
        self.history = [(time, name) for time, name in state["solver"]["history"]]
        self.reason, self.tried, self._dt = (state["solver"][key] for key in ("reason", "tried", "dt"))
        self.sign_changes.restore(arrays)
        self.stalls.restore(state["stalls"])
        # Last what takes time and may be interrupted.
        if self.reason:
            candidates = self.patience.wait(self.offers)
            self.solver, self.replaceable = candidates[self.history[-1][1]].solver, False
        if "solver-state-0" in arrays:
            fresh = fresh_state(self.landscape, self.solver, recorder.last, self._dt, self.tolerances)
            leaves, structure = jax.tree.flatten(fresh)
            saved = [arrays[f"solver-state-{i}"] for i in range(len(leaves))]
            if [(np.shape(a), a.dtype) for a in saved] != [(np.shape(a), np.result_type(a)) for a in leaves]:
                raise ValueError("the solver's state has other shapes.")
            self._solver_state = jax.tree.unflatten(structure, saved)
        return Result[state["result"]] if state["result"] else None

    def outcome(self, result: Result) -> Outcome:
        """The outcome of an integration that ended with `result`."""
        return Outcome(
            steps=self.recorder.steps(),
            result=result,
            num_steps=self.tried,
            num_accepted_steps=self.recorder.accepted,
            solver=self.solver,
            solver_history=self.history,
            reason=self.reason,
            sign_changes=self.sign_changes.found,
        )


def integrate(
    integration: Integration, checkpoint: Checkpoint | None, progress: Callable[[float, float], None] | None
) -> Outcome:
    """Steps onto each stop in turn until the end or a reason to stop.

    Args:
        integration: the integration, which is carried on.
        checkpoint: where to continue from and to write to; `None`: nowhere.
        progress: called with (t, loss) now and then.

    Returns:
        What was computed, also where that is not all.
    """

    def tell() -> None:
        if progress is not None:
            progress(integration.now, float(integration.recorder.last.losses[-1]))

    integration.patience.idle = tell
    result, restored = None, False
    try:
        if checkpoint is not None:
            result = checkpoint.resume(integration.restore, float(integration.stops[-1]))
            if result is not None:
                return integration.outcome(result)
        restored = True
        for stop in integration.stops.tolist():
            while integration.now < stop and result is None:
                result = integration.call(stop)
                tell()
                if checkpoint is not None and checkpoint.due:
                    integration.save(checkpoint, result)
    except KeyboardInterrupt:
        return integration.outcome(Result.interrupted)
    except OutOfTime:
        result = Result.budget
    # Half a restored state would overwrite the whole one.
    if checkpoint is not None and restored:
        integration.save(checkpoint, result)
    return integration.outcome(Result.reached_t1 if result is None else result)
