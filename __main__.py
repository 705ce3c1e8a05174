"""The command line: `saddlescope list`, `saddlescope run NAME`, `saddlescope reproduce [FIGURE …]`."""

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from .catalogue import EXPERIMENTS, check_experiment, check_seeds, check_settings, select_figures
from .terminal import Stopped, complain, degrade_characters, ending_on_signals, leave, progress_bar, silence, tell

if TYPE_CHECKING:
    from .experiments.runs.outputs import OutputPaths

# Exit status: something could not be written; a mistake of the user, as argument parsers have it; and what a shell
# gives processes that a signal ended: 128 and the signal's number, 13 for SIGPIPE, which Windows does not know.
NOT_WRITTEN, USER_ERROR, BY_SIGNAL = 1, 2, 128
BROKEN_PIPE, INTERRUPTED = BY_SIGNAL + 13, BY_SIGNAL + signal.SIGINT
NOTHING = "before anything was computed; nothing was written"


@dataclass
class List:
    """List the experiments."""


@dataclass
class Run:
    """Run an experiment: prints its itinerary, writes figure, record and trajectory."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the experiment, see `saddlescope list`."""
    seed: int = 0
    """Seed of data and initial weights."""
    out: Path = Path("runs")
    """Folder for figure (PNG), itinerary (JSON) and trajectory (NPZ)."""
    json: str | None = None
    """Write the JSON record to this file as well; `-` prints it instead of the table."""
    width: int | None = None
    """Number of units, instead of the published one."""
    scale: float | None = None
    """Standard deviation ε of the initial weights, instead of the published one."""
    t1: float | None = None
    """Horizon, instead of the published one."""
    budget: float | None = None
    """Seconds of the analysis after which no further critical point is sought, instead of the experiment's own."""


@dataclass
class Reproduce:
    """Reproduce published figures: prints a table of checks, writes figure, data and table, and a page of them all."""

    figures: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Names such as 1B, or 1 for all of Figure 1; none: all."""
    seeds: int | None = None
    """Number of seeds, instead of each figure's own."""
    quick: bool = False
    """Fewer seeds and smaller sweeps."""
    out: Path = Path("reproductions")
    """Folder for figures (PNG), data (NPZ) and tables (JSON); the page is put beside it."""


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and does what it says.

    Args:
        arguments: words of the command line, by default those of the process.

    Returns:
        The exit status.
    """
    degrade_characters()
    try:
        try:
            return _main(arguments)
        finally:
            # What is still buffered: here its failure can be answered.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        return BROKEN_PIPE
    except OSError as error:
        silence(sys.stdout)
        complain(f"the output could not be written: {error.strerror or error}.")
        return NOT_WRITTEN


def _main(arguments: list[str] | None) -> int:
    command = tyro.cli(List | Run | Reproduce, args=arguments, prog="saddlescope", description=__doc__)  # type: ignore[arg-type]
    warnings.showwarning = _one_line
    try:
        if isinstance(command, Reproduce):
            return _reproduce(command)
        return _list() if isinstance(command, List) else _run(command)
    except ValueError as error:
        complain(str(error))
        return USER_ERROR
    except KeyboardInterrupt:
        complain(f"interrupted {NOTHING}.")
        return INTERRUPTED


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    complain(f"warning: {message}")


def _list() -> int:
    for name, (title, source) in EXPERIMENTS.items():
        print(f"{name:21s} {title}  [{source}]")
    return 0


def _configure() -> None:
    """What holds for the whole process. Called when the arguments are known to be right, since it imports JAX."""
    import jax

    # Exact flows need double precision; the library itself never touches this switch.
    jax.config.update("jax_enable_x64", True)
    from .flows import keep_compiled

    keep_compiled()
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        jax.devices()
    except RuntimeError as error:
        raise ValueError(f"JAX cannot start: {str(error).splitlines()[0]}") from error


def _run(command: Run) -> int:
    check_experiment(command.name)
    check_settings(command.seed, width=command.width, scale=command.scale, t1=command.t1, budget=command.budget)
    _configure()
    written: list[Path] = []
    with ending_on_signals(KeyboardInterrupt) as signals:
        try:
            status = _run_and_write(command, written)
        except KeyboardInterrupt:
            where = f"in the analysis; the trajectory is in {written[0]}" if written else NOTHING
            complain(f"interrupted {where}.")
            status = INTERRUPTED
    return BY_SIGNAL + signals[0] if status == INTERRUPTED and signals else status


def _run_and_write(command: Run, written: list[Path]) -> int:
    """Runs an experiment; adds each file to `written` as soon as it is there. Returns the exit status."""
    from .experiments import run

    horizon, paths, copy = _check_outputs(command)
    with progress_bar(horizon) as (update, describe):

        def flowed(trajectory: Any, header: dict[str, Any]) -> None:
            # Before the analysis: whatever happens to that, the flow is kept.
            written.extend(_keep(paths.trajectory, lambda path: trajectory.save(path, **header)))
            describe("analysis")

        settings: dict[str, Any] = {key: getattr(command, key) for key in ("width", "scale", "t1", "budget")}
        try:
            finished = run(command.name, command.seed, flowed=flowed, progress=update, **settings)
        except ValueError as error:
            where = f" The trajectory is in {written[0]}." if written else ""
            raise ValueError(f"{error}{where}") from error
    written += _keep(paths.figure, finished.write_figure)
    records = [paths.record] if copy is None else [paths.record, copy]
    for path in records:
        written += _keep(path, finished.write_record)
    try:
        print(json.dumps(finished.record, indent=1, allow_nan=False) if command.json == "-" else finished, flush=True)
    finally:
        if written:
            tell("wrote " + ", ".join(str(path) for path in written))
    if finished.interrupted:
        complain(f"interrupted at t = {finished.trajectory.ts[-1]:.6g}; kept until there.")
        return INTERRUPTED
    return 0 if len(written) == 2 + len(records) else NOT_WRITTEN


def _keep(path: Path, write: Callable[[Path], object]) -> list[Path]:
    """Writes a file; the file, or nothing but a sentence on standard error where that fails."""
    try:
        write(path)
    except OSError as error:
        complain(str(error))
        return []
    return [path]


def _check_outputs(command: Run) -> tuple[float, "OutputPaths", Path | None]:
    """Horizon, paths of the files, and the `--json` file; a `ValueError` where one could not be written."""
    from .experiments import experiment
    from .experiments.runs.outputs import check_writable, output_paths

    horizon = experiment(command.name).t1 if command.t1 is None else command.t1
    paths = output_paths(command.name, command.seed, command.out)
    copy = None if command.json in (None, "-") else Path(command.json)
    check_writable(*paths.all, *([] if copy is None else [copy]))
    return horizon, paths, copy


def _reproduce(command: Reproduce) -> int:
    names = select_figures(command.figures)
    check_seeds(command.seeds)
    _configure()
    from .experiments.reproductions.report import page_path, reproduction_paths, write_page
    from .experiments.runs.outputs import check_writable

    page = page_path(command.out)
    check_writable(page, *(path for name in names for path in reproduction_paths(name, command.out)))
    passed, written = [], True
    with ending_on_signals(Stopped) as signals:
        try:
            for name in names:
                whole, good = _reproduce_one(name, command)
                passed.append(good)
                written = written and whole
        except Stopped:
            complain(f"interrupted in figure {names[len(passed)]}; those before it are written.")
    if passed:
        written = bool(_keep(page, lambda path: write_page(command.out))) and written
        tell(f"figures: {len(passed)}, with failed checks: {passed.count(False)}; see {page}")
    return BY_SIGNAL + signals[0] if signals else 0 if written else NOT_WRITTEN


def _reproduce_one(name: str, command: Reproduce) -> tuple[bool, bool]:
    """Reproduces, writes and prints a figure; whether all files were written, and whether all checks passed."""
    from .experiments import reproduce
    from .experiments.reproductions.report import reproduction_paths, writers

    reproduced = reproduce(name, command.seeds, command.quick)
    paths = reproduction_paths(name, command.out)
    written = [_keep(path, write) for path, write in zip(paths, writers(reproduced), strict=True)]
    print(reproduced, flush=True)
    tell(f"figure {name}: {reproduced.seconds:.0f} s")
    return all(written), reproduced.passed


def entry_point() -> None:
    """The command line as a process: ends with its status."""
    leave(main())


if __name__ == "__main__":
    entry_point()
