"""From the first step to the last: calls that follow the clock, reasons to stop, the change of solver, checkpoints."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import numpy as np

from ..landscapes.landscape import Landscape
from ..solver_choice.choose import Candidate, candidate_solvers, choose
from .checkpoint import Checkpoint
from .patience import OutOfTime, Patience
from .recorder import Recorder
from .sign_changes import Watch
from .stepping import CHUNK, Continuation, Leg, Steps, advance, begin
from .trajectory import Result

# Seconds that a call should last: short beside a budget and two checkpoints, long beside the call itself.
SPAN = 0.5
# Crossing a kink once shrinks the steps for a few dozen tries; sliding along it shrinks them for good.
CRAWLING_ROUNDS = 4


class Limits(eqx.Module):
    """When to stop early: a speed, a number of steps tried; `None` for never."""

    convergence: float | None
    max_steps: int


class March:
    """Steps of the chosen solver, and of a better one once it pays.

    What decides is looked at after each step, or after each round of `CHUNK` steps tried. Between them the clock
    divides the steps into calls, which therefore changes nothing.
    """

    def __init__(
        self,
        landscape: Landscape,
        tolerances: tuple[float, float],
        solver: Any,
        dt: float,
        sign_changes: Mapping[str, Callable],
        patience: Patience,
    ):
        self.watch = Watch(landscape, sign_changes, tolerances)
        self.landscape, self.tolerances, self.patience = landscape, tolerances, patience
        self.solver, self.free = (dfx.Tsit5(), True) if solver is None else (solver, False)
        # The names of the solvers, with the times from which on they integrate.
        self.history: list[tuple[float, str]] = [(0.0, type(self.solver).__name__)]
        self.reason = ""
        self.tried, self._dt = 0, dt
        self._memory: Continuation | None = None
        self._seconds_per_step = SPAN

    @cached_property
    def _offers(self) -> dict[str, Candidate]:
        return candidate_solvers(self.landscape, self.tolerances[0])

    def steps_of_call(self) -> int:
        """The number of steps that the next call should take by the pace of the last; one where there is none."""
        return max(int(SPAN / self._seconds_per_step), 1)

    def advance(self, path: Recorder, stop: float, limits: Limits) -> tuple[Steps, Result | None]:
        """Takes the steps of a call towards `stop`; these, and why the flow is over, or `None` to go on."""
        last, began = path.last, time.monotonic()
        if self._memory is None:
            self._memory = begin(self.landscape, self.solver, last, self._dt, self.tolerances)
        limit = min(self.steps_of_call(), CHUNK - self.tried % CHUNK, limits.max_steps - self.tried)
        arguments = last, stop, self._memory, self.tolerances, limits.convergence, limit
        leg = self.patience.wait(advance, self.landscape, self.solver, *arguments)
        self._seconds_per_step = (time.monotonic() - began) / leg.tried
        steps, result = _ended(last, leg, limits.convergence)
        found = self.watch.found
        if len(steps.ts):
            found = self.patience.wait(self.watch.look, last, steps, self.solver)
        # All at once: an interruption leaves what whole calls have found.
        self._memory, self.tried, self.watch.found = leg.memory, self.tried + leg.tried, found
        if len(steps.ts):
            path.extend(steps)
        return steps, result

    def reconsider(self, now: Steps, remaining: float) -> None:
        """Changes to another solver if the rest of the flow costs less with it."""
        if not self.free or self._memory is None:
            return
        dt = self._memory.dt
        choice = self.patience.wait(choose, self.landscape, now.thetas[-1], remaining, dt, lambda: self._offers)
        if choice is not None:
            self.solver, self.free, self._memory, self._dt = choice.solver, False, None, dt
            self.history = [*self.history, (float(now.ts[-1]), choice.name)]
            self.reason, self._seconds_per_step = choice.reason, SPAN

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `restore` needs: values, and arrays."""
        memory = {f"memory-{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(self._memory))}
        state = {"history": self.history, "reason": self.reason, "tried": self.tried, "dt": self._dt}
        return state, {**memory, **self.watch.state()}

    def restore(self, state: dict[str, Any], arrays: dict[str, np.ndarray], now: Steps) -> None:
        """Goes on where another march of the same flow was in that state, at the record `now`."""
        self.history = [(time, name) for time, name in state["history"]]
        if state["reason"]:
            offers = self.patience.wait(lambda: self._offers)
            self.solver, self.free = offers[self.history[-1][1]].solver, False
        self.reason, self.tried, self._dt = (state[key] for key in ("reason", "tried", "dt"))
        self.watch.restore(arrays)
        if "memory-0" in arrays:
            leaves, structure = jax.tree.flatten(begin(self.landscape, self.solver, now, self._dt, self.tolerances))
            saved = [arrays[f"memory-{i}"] for i in range(len(leaves))]
            self._memory = jax.tree.unflatten(structure, saved)


def march_on(
    march: March,
    start: Steps,
    stops: np.ndarray,
    limits: Limits,
    checkpoint: Checkpoint | None,
    progress: Callable[[float, float], None] | None,
) -> tuple[Recorder, Result]:
    """Steps onto each stop in turn until the end or a reason to stop."""
    path, rounds, result = Recorder(start, stops), _Rounds(start, stops, march.tolerances[0]), None

    def tell() -> None:
        if progress is not None:
            progress(float(path.last.ts[-1]), float(path.last.losses[-1]))

    march.patience.idle = tell
    try:
        saved = checkpoint.read() if checkpoint is not None else None
        if saved is not None:
            path, result = _restore(march, rounds, stops, *saved)
            if result is not None:
                return path, result
        for stop in stops:
            while path.last.ts[-1] < stop and result is None:
                result = _call(march, path, rounds, stop, limits)
                tell()
                if checkpoint is not None and checkpoint.due:
                    _save(checkpoint, march, path, rounds, result)
    except KeyboardInterrupt:
        return path, Result.interrupted
    except OutOfTime:
        result = Result.budget
    if checkpoint is not None:
        _save(checkpoint, march, path, rounds, result)
    return path, Result.reached_t1 if result is None else result


def _call(march: March, path: Recorder, rounds: "_Rounds", stop: float, limits: Limits) -> Result | None:
    """Decides after a round, takes the steps of a call, and says why to stop; `None` to go on."""
    if march.tried >= limits.max_steps:
        return Result.max_steps
    if march.tried // CHUNK > rounds.number:
        now = float(path.last.ts[-1])
        if (result := rounds.verdict(now)) is not None:
            return result
        march.reconsider(path.last, rounds.stops[-1] - now)
        rounds.turn(now)
    steps, result = march.advance(path, stop, limits)
    rounds.see(steps)
    return result


def _over(result: Result | None) -> bool:
    """Whether a flow with this result cannot go on."""
    return result in (Result.converged, Result.not_finite, Result.sliding)


def _save(checkpoint: Checkpoint, march: March, path: Recorder, rounds: "_Rounds", result: Result | None) -> None:
    numbers, arrays = path.state()
    settings, memory = march.state()
    state = {"path": numbers, "march": settings, "rounds": rounds.state()}
    state["result"] = result.name if result is not None and _over(result) else None
    checkpoint.write(state, {**arrays, **memory})


def _restore(
    march: March, rounds: "_Rounds", stops: np.ndarray, state: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[Recorder, Result | None]:
    """The path so far, and the result of a flow that has ended for good; sets march and rounds to where they were."""
    path = Recorder.restored(state["path"], arrays, stops)
    if path.last.ts[-1] > stops[-1]:
        raise ValueError(f"the checkpoint has reached t = {path.last.ts[-1]:g}, beyond t1={stops[-1]:g}.")
    march.restore(state["march"], arrays, path.last)
    rounds.restore(state["rounds"])
    return path, Result[state["result"]] if state["result"] else None


class _Rounds:
    """Notices when several rounds in a row get nowhere, compared with the flow's shortest natural time so far.

    On a discontinuity of the field that attracts from both sides the error control allows only steps that overshoot
    it by less than the tolerance: a step takes about rtol of that time, where smooth fields of any stiffness that an
    explicit method can bear take more than a millionth of it over a round. Stops may be as close to each other: a round
    in which one is reached does not count.
    """

    def __init__(self, start: Steps, stops: np.ndarray, rtol: float):
        self.stops, self.share = stops, min(1e4 * rtol, 1e-6)
        self.natural = _shortest_time(start) if start.thetas.any() else float("inf")
        self.number, self.began, self.crawled = 0, float(start.ts[-1]), 0

    def see(self, steps: Steps) -> None:
        """Takes some accepted steps, possibly none, into account."""
        if len(steps.ts):
            self.natural = min(self.natural, _shortest_time(steps))

    def _crawls(self, now: float) -> bool:
        between = np.searchsorted(self.stops, [self.began, now], side="right")
        return bool(between[0] == between[1]) and now - self.began < self.share * self.natural

    def verdict(self, now: float) -> Result | None:
        """Why a flow should stop that is at time `now` after a round; `None` to go on."""
        if now == self.began:
            return Result.not_finite
        return Result.sliding if self._crawls(now) and self.crawled + 1 == CRAWLING_ROUNDS else None

    def turn(self, now: float) -> None:
        """Begins the next round at time `now`."""
        self.crawled = self.crawled + 1 if self._crawls(now) else 0
        self.number, self.began = self.number + 1, now

    def state(self) -> dict[str, float]:
        """What `restore` needs."""
        return {name: getattr(self, name) for name in ("natural", "number", "began", "crawled")}

    def restore(self, state: dict[str, float]) -> None:
        """Goes on where other rounds of the same flow were."""
        vars(self).update(state)


def _shortest_time(steps: Steps) -> float:
    r"""The shortest time, over some steps, in which the weights would change by their own size, ‖θ‖ / ‖∇L‖."""
    return float(np.min(np.linalg.norm(steps.thetas, axis=1) / np.maximum(steps.speeds, 1e-300)))


def _ended(last: Steps, leg: Leg, convergence: float | None) -> tuple[Steps, Result | None]:
    """The steps of a leg that belong to the flow, and why it is over; `None` to go on."""
    steps = leg.steps
    if not leg.ended:
        return steps, None
    if not (np.isfinite(steps.losses[-1:]).all() and np.isfinite(steps.speeds[-1:]).all()):
        return steps[:-1], Result.not_finite
    before, now = np.concatenate([last.speeds, last.speeds, steps.speeds])[-2:]
    return steps, Result.converged if convergence is not None and now < convergence <= before else Result.not_finite
