"""The calls of an ensemble: which flows step next, together or alone, until all have ended."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import numpy as np

from ..simulation.integration import Integration
from ..simulation.patience import SILENCE, drop, settings_of_thread
from ..simulation.result import Result
from .lanes import Lane, advance_alone, packed, run_packed, unpacked
from .pace import LANES, Choice, Program, devices_of, workers_of


class _Call(NamedTuple):
    """A call under way: whose steps it takes, by which program, and what is to be told how many there were."""

    members: list[int]
    program: Program
    ended: Callable[[int], None]


class Schedule:
    """Integrates flows in rounds of a bounded number of steps.

    Flows take their places in the lanes one by one, as others end, so that none waits for the slowest; those that have
    begun go first. What a flow computes depends on its own steps alone.

    Args:
        flows: the integrations, which are carried on.
        shared: whether all are on one landscape, except for their initial weights.
        method: "vectorised", "sequential", "parallel" or "auto".
        end: the moment, by `time.monotonic`, after which no call begins.
        progress: called with the numbers of flows that have ended, and of all.
    """

    flows: Sequence[Integration]
    shared: bool
    end: float
    progress: Callable[[int, int], None] | None
    results: list[Result | None]
    devices: int
    choice: Choice
    workers: int

    def __init__(
        self,
        flows: Sequence[Integration],
        shared: bool,
        method: str,
        end: float,
        progress: Callable[[int, int], None] | None,
    ):
        self.flows, self.shared, self.end, self.progress = flows, shared, end, progress
        self.results = [None] * len(flows)
        self.devices = devices_of(method, len(flows))
        self.choice = Choice(method, self.devices * min(LANES, -(-len(flows) // self.devices)), len(flows))
        self.workers = 1 if self.devices > 1 else workers_of(method, len(flows))
        self._ready = deque(range(len(flows)))
        self._calls: dict[Future[Any], _Call] = {}

    def run(self, results: dict[int, Result]) -> list[Result]:
        """Integrates all flows; Ctrl-C and the end of the time leave what was computed until then.

        Args:
            results: of flows that have ended before they began, by their numbers.

        Returns:
            Why each flow ended.
        """
        for number, result in results.items():
            self.results[number] = result
        self._ready = deque(number for number, result in enumerate(self.results) if result is None)
        why = Result.interrupted
        executor = ThreadPoolExecutor(self.workers)
        # Contexts like `jax.enable_x64` hold in their own thread only; within one, everything runs in this thread.
        alone = executor.submit(settings_of_thread).result() != settings_of_thread()
        try:
            while self._ready or self._calls:
                if time.monotonic() > self.end:
                    why = Result.budget
                    break
                self._fill(_inline if alone else executor.submit)
                self._collect()
        except KeyboardInterrupt:
            why = Result.interrupted
        finally:
            for future in self._calls:
                drop(future)
            executor.shutdown(wait=False, cancel_futures=True)
        return [why if result is None else result for result in self.results]

    def _fill(self, submit: Callable[..., Future[Any]]) -> None:
        """Begins calls until every worker has one."""
        while self._ready and len(self._calls) < self.workers:
            found = self._next()
            if found is None:
                return
            program, members = found
            lanes = [self._lane(member) for member in members]
            name = type(self.flows[members[0]].solver).__name__
            call = _Call(members, program, self.choice.begin(name, program))
            if program == "alone":
                future = submit(advance_alone, lanes[0])
            else:
                future = submit(run_packed, *packed(lanes, self.choice.lanes, self.shared, self.devices))
            self._calls[future] = call

    def _next(self) -> tuple[Program, list[int]] | None:
        """The program and the flows of the next call; `None`: there is none before another one ends."""
        chosen: Program | None = None
        members: list[int] = []
        others: list[int] = []
        name = ""
        while self._ready and (chosen is None or len(members) < self.choice.lanes):
            member = self._ready.popleft()
            if self._over(member, self.flows[member].decide()):
                continue
            solver = type(self.flows[member].solver).__name__
            if chosen is None:
                chosen, name = self.choice.program(solver, self._steps_to_go(), len(self._ready) + 1), solver
                if chosen is None:
                    others.append(member)
                    break
                members.append(member)
                if chosen == "alone":
                    break
            else:
                (members if solver == name else others).append(member)
        self._ready.extendleft(reversed(others))
        return (chosen, members) if chosen is not None and members else None

    def _over(self, member: int, result: Result | None) -> bool:
        """Whether a flow has ended, which is noted."""
        if result is None and self.flows[member].now >= self.flows[member].stops[-1]:
            result = Result.reached_t1
        if result is None:
            return False
        self.results[member] = result
        if self.progress is not None:
            self.progress(sum(result is not None for result in self.results), len(self.flows))
        return True

    def _steps_to_go(self) -> float:
        """The steps that all flows have yet to take, if they take as many as those that have ended did; else 0."""
        ended = [flow.tried for flow, result in zip(self.flows, self.results, strict=True) if result is not None]
        if not ended:
            return 0.0
        usual = float(np.mean(ended))
        going = [flow.tried for flow, result in zip(self.flows, self.results, strict=True) if result is None]
        return float(sum(max(usual - tried, 0.0) for tried in going))

    def _lane(self, member: int) -> Lane:
        flow = self.flows[member]
        stop = float(flow.stops[np.searchsorted(flow.stops, flow.now, side="right")])
        return Lane(
            landscape=flow.landscape,
            solver=flow.solver,
            start=flow.recorder.last,
            t1=stop,
            solver_state=flow.solver_state(),
            tolerances=flow.tolerances,
            convergence=flow.limits.convergence,
            limit=flow.steps_of_round(),
        )

    def _collect(self) -> None:
        """Waits for a call to end, and records the steps of its flows."""
        done, _ = wait(self._calls, SILENCE, FIRST_COMPLETED)
        for future in done:
            call, results = self._calls.pop(future), future.result()
            chunks = results if call.program == "alone" else unpacked(results, len(call.members))
            call.ended(sum(chunk.tried for chunk in chunks))
            for member, chunk in zip(call.members, chunks, strict=True):
                flow = self.flows[member]
                steps, result = flow.take(chunk)
                flow.stalls.observe(steps)
                if not self._over(member, result):
                    self._ready.appendleft(member)


def _inline(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """A call that has ended when it is asked for."""
    future: Future[Any] = Future()
    future.set_result(function(*arguments))
    return future
