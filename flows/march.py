"""From the first step to the last: chunks of steps, the reasons to stop, the change of solver, the checkpoint."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import numpy as np

from .auto import Candidate, candidates, choose
from .checkpoint import Checkpoint
from .events import Watch
from .landscape import Landscape
from .path import Path
from .stepping import Continuation, Steps, advance, begin
from .trajectory import Result

# Crossing a kink once shrinks the steps for a few dozen tries; sliding along it shrinks them for good.
CRAWLING_CHUNKS = 4


class Limits(eqx.Module):
    """When to stop early: a speed, a number of steps tried, seconds; `None` for never."""

    convergence: float | None
    max_steps: int
    budget: float | None


class March:
    """Steps of the chosen solver, and of a better one once it pays."""

    def __init__(
        self,
        landscape: Landscape,
        tolerances: tuple[float, float],
        solver: Any,
        dt: float,
        events: Mapping[str, Callable],
    ):
        self.watch = Watch(landscape, events, tolerances)
        self.landscape, self.tolerances = landscape, tolerances
        self.solver, self.free = (dfx.Tsit5(), True) if solver is None else (solver, False)
        self.name, self.reason = type(self.solver).__name__, ""
        self.tried, self._dt = 0, dt
        self._memory: Continuation | None = None

    @cached_property
    def _offers(self) -> dict[str, Candidate]:
        return candidates(self.landscape, self.tolerances[0])

    def steps(self, start: Steps, stop: float) -> Steps:
        """A chunk of accepted steps from the record `start` towards `stop`."""
        if self._memory is None:
            self._memory = begin(self.landscape, self.solver, start, self._dt, self.tolerances)
        steps, tried, self._memory = advance(self.landscape, self.solver, start, stop, self._memory, self.tolerances)
        self.tried += tried
        return steps

    def reconsider(self, now: Steps, remaining: float) -> None:
        """Changes to another solver if the rest of the flow costs less with it."""
        if not self.free or self._memory is None or remaining <= 0:
            return
        choice = choose(self.landscape, now.ys[-1], remaining, self._memory.dt, lambda: self._offers)
        if choice is not None:
            self.solver, self.free, self._memory, self._dt = choice.solver, False, None, self._memory.dt
            self.name += f", from t = {now.ts[-1]:.4g} {choice.name}"
            self.reason = choice.reason

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `restore` needs: values, and arrays."""
        memory = {f"memory-{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(self._memory))}
        state = {"name": self.name, "reason": self.reason, "tried": self.tried, "dt": self._dt}
        return state, {**memory, **self.watch.state()}

    def restore(self, state: dict[str, Any], arrays: dict[str, np.ndarray], now: Steps) -> None:
        """Goes on where another march of the same flow was in that state, at the record `now`."""
        if state["reason"]:
            self.solver, self.free = self._offers[state["name"].split()[-1]].solver, False
        self.name, self.reason, self.tried, self._dt = (state[key] for key in ("name", "reason", "tried", "dt"))
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
    progress_meter: Callable[[float, float], None] | None,
) -> tuple[Path, Result]:
    """Steps onto each stop in turn, in chunks, until the end or a reason to stop."""
    path, began = Path(start, stops), time.monotonic()
    watch = _Crawling(_shortest_time(start) if start.ys.any() else float("inf"), march.tolerances[0])
    saved = checkpoint.read() if checkpoint is not None else None
    if saved is not None:
        path, ended = _restore(march, watch, stops, *saved)
        if ended is not None:
            return path, ended
    result = Result.reached_t1
    try:
        for stop in stops:
            while path.last.ts[-1] < stop and result is Result.reached_t1:
                result = _chunk(march, path, watch, stop, stops[-1], limits, progress_meter)
                if limits.budget is not None and time.monotonic() - began > limits.budget and not _over(result):
                    result = Result.budget if path.last.ts[-1] < stops[-1] else result
                if checkpoint is not None and checkpoint.due:
                    _save(checkpoint, march, path, watch, result)
        if checkpoint is not None:
            _save(checkpoint, march, path, watch, result)
    except KeyboardInterrupt:
        return path, Result.interrupted
    return path, result


def _chunk(march, path, watch, stop, end, limits, progress_meter) -> Result:
    """Takes a chunk of steps, and says why to stop, or `reached_t1` to go on."""
    last = path.last
    steps, result = _truncate(last, march.steps(last, stop), limits.convergence)
    if len(steps.ts):
        march.watch(last, steps, march.solver)
        path.extend(steps)
        if progress_meter is not None:
            progress_meter(float(steps.ts[-1]), float(steps.losses[-1]))
    if result is None and steps.ts[-1] < end:
        result = Result.max_steps if march.tried >= limits.max_steps else None
        result = Result.sliding if watch(last, steps, stop) else result
    if result is None:
        march.reconsider(path.last, end - path.last.ts[-1])
    return Result.reached_t1 if result is None else result


def _over(result: Result) -> bool:
    """Whether a flow with this result cannot go on."""
    return result in (Result.converged, Result.not_finite, Result.sliding)


def _save(checkpoint: Checkpoint, march: March, path: Path, watch: "_Crawling", result: Result) -> None:
    numbers, arrays = path.state()
    settings, memory = march.state()
    watched = {"natural": watch.natural, "chunks": watch.chunks}
    state = {"path": numbers, "march": settings, "watch": watched, "result": result.name if _over(result) else None}
    checkpoint.write(state, {**arrays, **memory})


def _restore(
    march: March, watch: "_Crawling", stops: np.ndarray, state: dict[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[Path, Result | None]:
    """The path so far, and the result of a flow that has ended for good; sets march and watch to where they were."""
    path = Path.restored(state["path"], arrays, stops)
    if path.last.ts[-1] > stops[-1]:
        raise ValueError(f"the checkpoint has reached t = {path.last.ts[-1]:g}, beyond t1={stops[-1]:g}.")
    march.restore(state["march"], arrays, path.last)
    watch.natural, watch.chunks = state["watch"]["natural"], state["watch"]["chunks"]
    return path, Result[state["result"]] if state["result"] else None


class _Crawling:
    """Notices when several chunks in a row get nowhere, compared with the flow's shortest natural time so far.

    On a discontinuity of the field that attracts from both sides the error control allows only steps that overshoot
    it by less than the tolerance: a step takes about rtol of that time, where smooth fields of any stiffness that an
    explicit method can bear take more than a millionth of it over a chunk.
    """

    def __init__(self, natural: float, rtol: float):
        self.natural, self.share, self.chunks = natural, min(1e4 * rtol, 1e-6), 0

    def __call__(self, last: Steps, steps: Steps, stop: float) -> bool:
        self.natural = min(self.natural, _shortest_time(steps))
        crawls = steps.ts[-1] < stop and steps.ts[-1] - last.ts[-1] < self.share * self.natural
        self.chunks = self.chunks + 1 if crawls else 0
        return self.chunks == CRAWLING_CHUNKS


def _shortest_time(steps: Steps) -> float:
    r"""The shortest time, over some steps, in which the weights would change by their own size, ‖θ‖ / ‖∇L‖."""
    return float(np.min(np.linalg.norm(steps.ys, axis=1) / np.maximum(steps.speeds, 1e-300)))


def _truncate(last: Steps, steps: Steps, convergence: float | None) -> tuple[Steps, Result | None]:
    """The steps up to the first that ends the flow, and why it does; `None` to go on."""
    if len(steps.ts) == 0:
        return steps, Result.not_finite
    bad = ~(np.isfinite(steps.losses) & np.isfinite(steps.speeds))
    if np.any(bad):
        return steps[: int(np.argmax(bad))], Result.not_finite
    if convergence is not None:
        before = np.concatenate([last.speeds, steps.speeds[:-1]])
        crossed = (steps.speeds < convergence) & (before >= convergence)
        if np.any(crossed):
            return steps[: int(np.argmax(crossed)) + 1], Result.converged
    return steps, None
