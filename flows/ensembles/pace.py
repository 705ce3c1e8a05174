"""Which program takes a flow's steps: one flow at a time, or several in the lanes of one program."""

import os
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax

Program = Literal["lanes", "alone"]
# Lanes of a program: with more, the stages of a step no longer fit into a core's cache; with fewer, what an operation
# costs besides its arithmetic counts.
LANES = 16
# What the methods by name do; "auto" measures.
METHODS = ("auto", "vectorised", "sequential", "parallel")
# The other program is tried where the flows to go would take this many times as long as the first took to compile: it
# may be slower, and compiles in vain.
WORTH_TRYING = 5.0
# Calls after which a program's pace is known; the first one compiles.
CALLS = 2


class _Pace(NamedTuple):
    """Seconds of a program's first call, which compiles; of a step and flow in the fastest of the others; their number.

    The fastest, since other processes can only make a call slower.
    """

    compilation: float = 0.0
    per_step: float = float("inf")
    calls: int = 0

    @property
    def known(self) -> bool:
        return self.calls > CALLS and self.per_step < float("inf")


class Choice:
    """Chooses the program for each solver, by name or by what was measured.

    A program of several lanes does the arithmetic of all of them at once, but also all of what only one of them needs:
    both branches of conditions, as many iterations as the slowest. Explicit steps have none of these; a stiff solver's
    factorisations are mostly such.

    Args:
        method: one of `METHODS`.
        lanes: the number of lanes.
        members: the number of flows.
    """

    method: str
    lanes: int
    members: int

    def __init__(self, method: str, lanes: int, members: int):
        self.method, self.lanes, self.members = method, lanes, members
        self._paces: dict[tuple[str, Program], _Pace] = {}
        self._under_way: dict[tuple[str, Program], int] = {}

    def program(self, solver: str, steps_to_go: float, waiting: int) -> Program | None:
        """The program for the next call with a solver; `None`: wait for one under way, which compiles.

        Args:
            solver: the solver's name.
            steps_to_go: an estimate of the steps that all flows have yet to take; 0 where there is none.
            waiting: the number of flows that could take steps now, which may not fill the lanes.

        Returns:
            The program.
        """
        first: Program = "lanes" if solver == "Tsit5" and self.members > 2 else "alone"
        if self.method != "auto":
            first = "alone" if self.method == "sequential" else "lanes"
        other: Program = "alone" if first == "lanes" else "lanes"
        if self._compiling(solver, first):
            return None
        pace, rival = (self._paces.get((solver, program), _Pace()) for program in (first, other))
        if self.method != "auto" or not pace.known or self._compiling(solver, other) or self.members == 1:
            return first
        if rival.known:
            lanes, alone = (pace, rival) if first == "lanes" else (rival, pace)
            empty = self.lanes / min(waiting, self.lanes)
            return "lanes" if lanes.per_step * empty <= alone.per_step else "alone"
        if rival.calls or steps_to_go * pace.per_step > WORTH_TRYING * pace.compilation:
            return other
        return first

    def _compiling(self, solver: str, program: Program) -> bool:
        calls = self._paces.get((solver, program), _Pace()).calls
        return calls == 0 and self._under_way.get((solver, program), 0) > 0

    def begin(self, solver: str, program: Program) -> Callable[[int], None]:
        """Notes the beginning of a call; returns what is to be told the number of its steps at its end."""
        began = time.monotonic()
        key: tuple[str, Program] = (solver, program)
        self._under_way[key] = self._under_way.get(key, 0) + 1

        def end(steps: int) -> None:
            seconds, pace = time.monotonic() - began, self._paces.get(key, _Pace())
            self._under_way[key] -= 1
            if pace.calls == 0:
                self._paces[key] = _Pace(compilation=seconds, calls=1)
            else:
                fastest = min(pace.per_step, seconds / steps) if steps else pace.per_step
                self._paces[key] = _Pace(pace.compilation, fastest, pace.calls + 1)

        return end

    def reason(self, workers: int) -> str:
        """What was measured and chosen, in words."""
        told: list[str] = []
        for solver in dict.fromkeys(name for name, _ in self._paces):
            names: dict[Program, str] = {"lanes": f"{self.lanes} lanes", "alone": "one flow at a time"}
            parts: list[str] = []
            for program, name in names.items():
                if (pace := self._paces.get((solver, program), _Pace())).calls:
                    parts.append(
                        f"{name} "
                        + (f"{1e6 * pace.per_step:.3g} µs" if pace.per_step < float("inf") else "not measured")
                    )
            told.append(f"{solver}: {', '.join(parts)} per step and flow")
        return f"{'; '.join(told)}; {workers} at a time" if told else ""


def devices_of(method: str, members: int) -> int:
    """The number of local devices that take the steps of one program together."""
    return min(jax.local_device_count(), members) if method in ("auto", "parallel") else 1


def workers_of(method: str, members: int) -> int:
    """The number of calls under way at a time, each in a thread of its own: one for each core where cores compute."""
    if method not in ("auto", "parallel") or jax.default_backend() != "cpu":
        return 1
    return min(cores(), members)


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
