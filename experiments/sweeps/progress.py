"""How far a sweep is."""

import time
from typing import Any

import equinox as eqx

from .configuration import Configuration
from .folder import Folder, names_in, read_plan
from .session import other_sessions


class Progress(eqx.Module):
    """Numbers of cells.

    Attributes:
        total: asked for.
        done: kept as files.
        failed: of which a reason is kept instead.
        running: being computed.
        seconds_left: at the pace so far; `None` where there is none.
        at_work: who computes.
    """

    total: int
    done: int
    failed: int
    running: int = 0
    seconds_left: float | None = None
    at_work: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Neither done nor failed."""
        return self.total - self.done - self.failed

    def __str__(self) -> str:
        parts = [f"{self.done} of {self.total} cells done", f"{self.running} running", f"{self.failed} failed"]
        if self.seconds_left is not None and self.missing:
            parts.append(f"{_duration(self.seconds_left)} left")
        elif self.missing and not self.at_work:
            parts.append(f"{self.missing} missing, nobody is at work")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class Pace:
    """Counts what is done of some cells, and how fast.

    Args:
        folder: the sweep's.
        configurations: of the cells.
    """

    def __init__(self, folder: Folder, configurations: tuple[Configuration, ...]) -> None:
        self._folder, self._names = folder, {each.identifier for each in configurations}
        self._began, self._before = time.monotonic(), self._count()[0]

    def _count(self) -> tuple[int, int]:
        done = self._names & names_in(self._folder.cells)
        failed = (self._names - done) & names_in(self._folder.failures)
        return len(done), len(failed)

    def progress(self, running: int, at_work: tuple[str, ...] = ()) -> Progress:
        """How far it is now.

        Args:
            running: the number of cells being computed.
            at_work: who computes.

        Returns:
            The progress, with the time left at the pace since the beginning.
        """
        done, failed = self._count()
        total, new = len(self._names), done - self._before
        left = None if new < 1 else (time.monotonic() - self._began) / new * (total - done - failed)
        return Progress(total=total, done=done, failed=failed, running=running, seconds_left=left, at_work=at_work)


def status(folder: Any) -> Progress:
    """How far the sweep in a folder is, seen from outside.

    Args:
        folder: the sweep's.

    Returns:
        The progress towards what was last asked for, with the time left that those who are at work told last. A folder
        without a sweep is a `ValueError`.
    """
    home = Folder(folder)
    planned = read_plan(home)
    found = other_sessions(home)
    now = Pace(home, planned).progress(
        sum(values.get("running", 0) for _, values in found), tuple(str(who) for who, _ in found)
    )
    left = [values["seconds_left"] for _, values in found if values.get("seconds_left") is not None]
    return eqx.tree_at(lambda p: p.seconds_left, now, min(left, default=None), is_leaf=lambda x: x is None)
