"""Computes the cells of a sweep that are missing, on whatever engine."""

import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ...catalogue import check_experiment
from ..engines.engine import open_engine
from ..engines.worker import setting
from .configuration import Configuration, completed
from .dispatch import Dispatch, SweepStopped, groups
from .flow_cells import compute_cell
from .folder import Folder, survey, warn_of, write_plan
from .progress import Pace, Progress
from .session import Session, other_sessions, session
from .work import Compute, task


def sweep(
    configurations: Iterable[Configuration],
    folder: str | Path,
    *,
    engine: str | Executor = "local",
    workers: int | None = None,
    options: Mapping[str, Any] | None = None,
    compute: Compute = compute_cell,
    progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Computes those cells of a sweep that its folder does not hold yet.

    Every cell is a file, renamed into place once it is whole; whatever interrupts a sweep, the same call goes on from
    there. Damaged cells are computed again. A cell that cannot be computed is a reason in `failures`, and is tried
    again by the next call. Several sweeps may share a folder.

    Args:
        configurations: see `product`.
        folder: where the cells are; made if need be.
        engine: "local" (this process), "processes" (of this machine, started afresh), "dask" (a cluster on this
            machine), `dask://host:port` (an existing scheduler), "slurm" (jobs, by submitit), or any
            `concurrent.futures.Executor`.
        workers: how many cells at a time; by default the number of processors, or what the cluster has.
        options: of the jobs of Slurm, see `batch_jobs`.
        compute: what computes a cell; workers must be able to import it.
        progress: called every half a second or so, and in this process after every cell.

    Returns:
        What is done and what failed. A configuration that makes no sense, a folder that cannot be written to and an
        engine that does not exist are `ValueError`s at the beginning; a cell that cannot be written and an engine that
        fails end the sweep by `SweepStopped`.
    """
    wanted = tuple({each.identifier: each for each in map(completed, configurations)}.values())
    if compute is compute_cell:
        for name in {each.experiment for each in wanted}:
            check_experiment(name)
    home = Folder(folder)
    home.prepare()
    with (
        open_engine(engine, workers=workers, folder=home.path / "jobs", options=options or {}) as opened,
        session(home) as mine,
    ):
        write_plan(home, wanted)
        working = task(home, compute, mine, str(setting("compilation_cache_dir") or home.path / "compiled"))
        others = other_sessions(home, mine)
        missing = _missing(home, wanted, working.provenance, [who for who, _ in others])
        waiting = groups(missing, opened)
        if others:
            # In another order than theirs, so that the same cell is seldom computed at the same time.
            random.shuffle(waiting)
        return _run(Dispatch(opened, working, waiting), Pace(home, wanted), mine, progress)


def _missing(
    home: Folder, wanted: tuple[Configuration, ...], provenance: Mapping[str, Any], others: list[Session]
) -> tuple[Configuration, ...]:
    """What is to be computed; leftovers of killed writers, damaged cells and old reasons are deleted."""
    found = survey(home, wanted)
    warn_of(found, provenance)
    for path in (*found.damaged, *(home.failure(each) for each in wanted)):
        path.unlink(missing_ok=True)
    if others:
        shared = "cells that it keeps are not computed again"
        warnings.warn(f"another sweep is at work in {home} ({others[0]}): {shared}.", stacklevel=3)
    else:
        for folder in (home.cells, home.failures, home.sessions, home.path):
            for path in folder.glob("*.part"):
                path.unlink(missing_ok=True)
    return found.missing


def _run(dispatch: Dispatch, pace: Pace, mine: Session, progress: Callable[[Progress], None] | None) -> Progress:
    """Until nothing is left to do."""
    while not dispatch.over:
        try:
            dispatch.advance()
        except SweepStopped as stopped:
            now = pace.progress(0)
            raise SweepStopped(f"{stopped}; {now.done} of {now.total} cells are done and kept.") from stopped
        now = pace.progress(dispatch.running, (str(mine),))
        mine.tell({"running": now.running, "seconds_left": now.seconds_left})
        if progress is not None:
            progress(now)
    return pace.progress(0)
