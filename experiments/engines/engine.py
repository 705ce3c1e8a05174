"""Engines by name; any other `concurrent.futures.Executor` is one, too."""

import os
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import equinox as eqx

# Groups of cells that each worker is to take: a few, so that none waits long for the last, and no more, since the
# first cell of a group may wait for programs.
GROUPS = 4
# Schemes of the addresses that Dask's schedulers have.
SCHEMES = ("dask", "tcp", "tls", "ucx", "ws", "wss")


def _never_lost() -> str:
    return ""


class Engine(eqx.Module):
    """An executor, and what a sweep needs to know of it.

    Attributes:
        executor: what computes.
        workers: how many cells it computes at a time.
        groups: how many groups of cells each worker should get; `None`: each cell is a group.
        lost: why it will answer no more; empty as long as it does.
    """

    executor: Executor = eqx.field(static=True)
    workers: int = eqx.field(static=True)
    groups: int | None = eqx.field(static=True, default=GROUPS)
    lost: Callable[[], str] = eqx.field(static=True, default=_never_lost)

    def __str__(self) -> str:
        return f"{type(self.executor).__name__} with {self.workers} worker{'s' * (self.workers != 1)}"


class InProcess(Executor):
    """Computes in this process, at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls a function; its result or exception are those of the future, but interruptions are passed on."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def check_engine(name: str) -> None:
    """Checks the name of an engine.

    Args:
        name: "local", "processes", "dask", the address of a Dask scheduler or "slurm".

    Raises:
        ValueError: when there is none of that name.
    """
    if name not in ("local", "processes", "dask", "slurm") and name.partition("://")[0] not in SCHEMES:
        there_are = "local, processes, dask, dask://host:port, slurm"
        raise ValueError(f"unknown engine {name!r}; there are: {there_are}.")


@contextmanager
def open_engine(
    engine: str | Executor, *, workers: int | None, folder: Path, options: Mapping[str, Any]
) -> Generator[Engine, None, None]:
    """An engine that is ended with the block, and at once where that ends by an exception.

    Args:
        engine: its name, or an executor, which is left as it is.
        workers: how many; by default as many as this machine has processors, and 1 in this process.
        folder: where jobs of a batch system are kept.
        options: what a batch system asks of a job.

    Yields:
        The engine.

    Raises:
        ValueError: when there is no such engine, or it does not answer.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}.")
    if options and engine != "slurm":
        raise ValueError(f"only the engine slurm takes options; got {', '.join(options)}.")
    many = workers or os.cpu_count() or 1
    if isinstance(engine, Executor):
        yield Engine(executor=engine, workers=many)
        return
    check_engine(engine)
    if engine == "local":
        yield Engine(executor=InProcess(), workers=1, groups=None)
    elif engine == "processes":
        from .local_processes import LocalProcesses

        with LocalProcesses(many) as executor:
            yield Engine(executor=executor, workers=many)
    elif engine == "slurm":
        from .slurm import batch_jobs

        with batch_jobs(folder, options) as executor:
            # A job waits in a queue: each worker is one.
            yield Engine(executor=executor, workers=many, groups=1)
    else:
        from .dask_cluster import dask_cluster

        address = None if engine == "dask" else engine.replace("dask://", "tcp://", 1)
        with dask_cluster(address, workers) as (executor, count, lost):
            yield Engine(executor=executor, workers=count, lost=lost)
