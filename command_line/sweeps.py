"""`saddlescope sweep`: many flows of named experiments, as cells in a folder and one store."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..catalogue import check_experiment, check_settings, check_solver_name
from ..terminal import complain, ending_on_signals, tell
from .axes import assignments, integers, numbers, optional, read_toml, words
from .exits import BY_SIGNAL, INTERRUPTED, NOT_WRITTEN, configure

if TYPE_CHECKING:
    from ..experiments.sweeps.progress import Progress

# How many reasons of failures are told.
TOLD = 3


@dataclass
class Sweep:
    """Compute many flows: one file for each set-up, resumed by the same command, and one store of all."""

    file: Annotated[Path | None, tyro.conf.Positional] = None
    """TOML file with these options; those on the command line come first."""
    out: Path = Path("sweep")
    """Folder for the cells and for the store, `store.zarr`."""
    experiment: str | None = None
    """Name or names, such as linear,relu; see `saddlescope list`."""
    seeds: str | None = None
    """Number of seeds, such as 100, or a range, such as 100:200."""
    block: int | None = None
    """Number of seeds of one cell; by default all."""
    width: str | None = None
    """Numbers of units, such as 5,10,25."""
    scale: str | None = None
    """Standard deviations ε of the initial weights, such as 1e-3,1e-2 or 1e-6:1e-1:log7."""
    t1: str | None = None
    """Horizons."""
    rtol: str | None = None
    """Relative tolerances."""
    solver: str | None = None
    """Names of solvers, such as Tsit5,BDF; by default each flow chooses its own on the way."""
    kinds: bool = True
    """Seek the critical points and classify them; without, only passages, losses, widths and dwell times are kept."""
    engine: str = "local"
    """local (this process), processes, dask, dask://host:port (an existing scheduler), or slurm."""
    workers: int | None = None
    """How many cells are computed at a time; for slurm, the number of jobs."""
    slurm: tuple[str, ...] = ()
    """Settings of the jobs, such as timeout_min=60 slurm_partition=cpu; see submitit."""
    status: bool = False
    """Only say how far the sweep in the folder is."""


def run_sweep(command: Sweep) -> int:
    """Does what the command says; returns the exit status."""
    if command.status:
        from ..experiments.sweeps.progress import status

        print(status(command.out))
        return 0
    command = _with_file(command)
    axes = _axes(command)
    configure()
    from ..experiments.sweeps.configuration import product
    from ..experiments.sweeps.dispatch import SweepStopped

    configurations = product(**axes)
    with ending_on_signals(KeyboardInterrupt) as signals:
        try:
            return _compute(command, configurations)
        except SweepStopped as stopped:
            complain(f"{stopped} The same command goes on from there.")
            return NOT_WRITTEN
        except KeyboardInterrupt:
            complain(f"interrupted; what is done is kept in {command.out}, and the same command goes on from there.")
    return BY_SIGNAL + signals[0] if signals else INTERRUPTED


def _with_file(command: Sweep) -> Sweep:
    """The command with the options of its file, where it has none of its own."""
    if command.file is None:
        return command
    plain = Sweep()
    options = [field.name for field in fields(Sweep) if field.name not in ("file", "status")]
    found = read_toml(command.file, options)
    for name, read in {"out": Path, "workers": int, "block": int}.items():
        if name in found:
            found[name] = read(found[name])
    given = {name: getattr(command, name) for name in options if getattr(command, name) != getattr(plain, name)}
    return replace(command, **{**found, **given})


def _axes(command: Sweep) -> dict[str, Any]:
    """The axes as numbers, checked as far as it can be done without JAX."""
    if command.experiment is None:
        raise ValueError("a sweep needs --experiment; see saddlescope list.")
    axes: dict[str, Any] = {"experiment": words(command.experiment), "width": optional(command.width, integers)}
    axes |= {name: optional(getattr(command, name), numbers) for name in ("scale", "t1", "rtol")}
    axes["solver"] = optional(command.solver, words)
    for name in axes["experiment"]:
        check_experiment(name)
    for name in axes["solver"] or ():
        check_solver_name(name)
    for name in ("width", "scale", "t1"):
        for value in axes[name] or ():
            check_settings(**{name: value})
    text = command.seeds or "1"
    seeds = integers(text if ":" in text else f"0:{text}")
    check_settings(seeds[0])
    axes = {name: values for name, values in axes.items() if values is not None}
    axes |= {} if command.kinds else {"kinds": False}
    return {**axes, "seeds": range(seeds[0], seeds[-1] + 1), "block": command.block}


def _compute(command: Sweep, configurations: tuple[Any, ...]) -> int:
    from ..experiments.sweeps.collect import collect
    from ..experiments.sweeps.store import write_store
    from ..experiments.sweeps.sweep import sweep

    options = assignments(command.slurm)
    with _live() as show:
        settings: dict[str, Any] = {"engine": command.engine, "workers": command.workers, "options": options}
        finished = sweep(configurations, command.out, progress=show, **settings)
    print(finished)
    for reason in _reasons(command.out, configurations):
        complain(f"failed: {reason}")
    if not finished.done:
        return NOT_WRITTEN
    store = command.out / "store.zarr"
    try:
        whole = collect(command.out)
        write_store(whole, store)
    except (OSError, ValueError) as error:
        complain(f"the cells are in {command.out / 'cells'}, but there is no store of them: {error}")
        return NOT_WRITTEN
    tell(f"wrote {store}")
    if flows := int((whole.failure != "").sum()):
        complain(f"flows that failed: {flows}; the reasons are in the variable failure of the store.")
    return NOT_WRITTEN if finished.failed else 0


def _reasons(out: Path, configurations: tuple[Any, ...]) -> list[str]:
    """Why some cells are missing, and how many others."""
    from ..experiments.sweeps.folder import Folder, failures

    found = [f"{configuration}: {reason}" for configuration, reason in failures(Folder(out), configurations)]
    more = [f"and {len(found) - TOLD} more; see {out / 'failures'}"] if len(found) > TOLD else []
    return found[:TOLD] + more


@contextmanager
def _live() -> Generator[Callable[["Progress"], None], None, None]:
    """A bar where standard error is a terminal; yields what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("sweep", total=None)
        yield lambda now: bar.update(task, total=now.total, completed=now.done + now.failed, description=str(now))
