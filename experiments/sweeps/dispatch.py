"""Hands out the missing cells of a sweep in groups, and takes back what died with a worker."""

import math
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any

from ..engines.engine import Engine
from .configuration import Configuration
from .work import Task, record_failure

Group = tuple[Configuration, ...]

# Workers that may die while they compute one cell, before it counts as failed.
ATTEMPTS = 3
# Seconds for which the other workers wait for the first cell of a shape, with which its programs are compiled and kept.
# One that takes longer spends the time on flows.
FIRST_OF_SHAPE = 60.0
# Seconds between looks at the folder.
LOOK = 0.5
# Exceptions by which engines say that a worker died, and those after which they have tried as often as they would.
DIED = ("KilledWorker", "UncompletedJobError", "FailedJobError")
TRIED_ENOUGH = ("KilledWorker",)


class SweepStopped(RuntimeError):
    """A sweep that could not go on; what was computed is kept, and the same call goes on from there."""


def groups(configurations: Iterable[Configuration], engine: Engine) -> list[Group]:
    """Groups of one shape; first one cell of each shape alone, with which its programs are compiled.

    Args:
        configurations: of the cells that are missing.
        engine: what will compute them.

    Returns:
        The groups in the order in which they should be begun.
    """
    shapes: dict[Any, list[Configuration]] = {}
    for each in configurations:
        shapes.setdefault(each.shape, []).append(each)
    first, rest = [], []
    for cells in shapes.values():
        size = 1 if engine.groups is None else math.ceil(len(cells) / (engine.workers * engine.groups))
        alone = 0 if engine.workers == 1 or len(cells) == 1 else 1
        first += [tuple(cells[:alone])] * alone
        rest += [tuple(cells[k : k + size]) for k in range(alone, len(cells), size)]
    return first + rest


class Dispatch:
    """What waits, what is being computed, and which workers died.

    Args:
        engine: what computes.
        task: what a worker does with a group.
        waiting: the groups in the order in which they should be begun.
    """

    def __init__(self, engine: Engine, task: Task, waiting: list[Group]) -> None:
        self._engine, self._task, self._waiting = engine, task, waiting
        self._computing: dict[Future[str], Group] = {}
        self._deaths: Counter[str] = Counter()
        self._first: dict[Any, float] = {}
        self._known: set[Any] = set()

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return not (self._waiting or self._computing)

    @property
    def running(self) -> int:
        """The number of cells being computed, as far as the engine says."""
        begun = sum(future.running() for future in self._computing)
        return min(begun or len(self._computing), self._engine.workers)

    def advance(self) -> None:
        """Begins what can be begun, and takes what has ended within half a second.

        Raises:
            SweepStopped: when a worker could not write its cell, or the engine failed.
        """
        # Two for each worker, so that none waits for the next.
        while len(self._computing) < 2 * self._engine.workers and (group := self._next()):
            self._computing[self._engine.executor.submit(self._task, group)] = group
            if self._engine.groups is None:
                break
        ended, _ = wait(self._computing, timeout=LOOK, return_when=FIRST_COMPLETED)
        for future in ended:
            self._settle(self._computing.pop(future), future)
        if why := self._engine.lost():
            raise SweepStopped(why)

    def _next(self) -> Group | None:
        """The first group whose shape is not being compiled by another worker."""
        now = time.monotonic()
        for k, group in enumerate(self._waiting):
            shape = group[0].shape
            if now >= self._first.get(shape, 0.0):
                if shape not in self._known:
                    self._known.add(shape)
                    self._first[shape] = now + FIRST_OF_SHAPE
                return self._waiting.pop(k)
        return None

    def _settle(self, group: Group, future: Future[str]) -> None:
        self._first.pop(group[0].shape, None)
        if future.cancelled():
            raise SweepStopped(self._engine.lost() or "the engine gave up what it was to compute")
        error = future.exception()
        if error is None:
            if why := future.result():
                raise SweepStopped(why)
        elif isinstance(error, BrokenExecutor) or type(error).__name__ in DIED:
            self._take_back(group, error)
        else:
            raise SweepStopped(f"the engine failed: {type(error).__name__}: {error}".rstrip(". ")) from error

    def _take_back(self, group: Group, error: BaseException) -> None:
        """Puts back what is missing of a group whose worker died; the first of it was being computed."""
        folder = self._task.folder
        left = [each for each in group if not folder.cell(each).exists() and not folder.failure(each).exists()]
        if not left:
            return
        first, *others = left
        self._deaths[first.identifier] += ATTEMPTS if type(error).__name__ in TRIED_ENOUGH else 1
        if self._deaths[first.identifier] >= ATTEMPTS:
            reason = f"its worker died again and again while it was computed ({type(error).__name__})"
            record_failure(folder, first, reason, self._task.provenance)
        else:
            self._waiting.insert(0, (first,))
        if others:
            self._waiting.insert(0, tuple(others))
