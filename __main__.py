"""The command line: `saddlescope list`, `saddlescope run NAME`, `saddlescope reproduce [FIGURE …]`."""

import json
import math
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from .catalogue import EXPERIMENTS, check_experiment, select_figures

# Tables are wider than a terminal that is not one says it is.
TABLE_WIDTH = 170
# Errors of the user end with 2, as argument parsers have it; an interrupted run with the shell's code for SIGINT.
USER_ERROR, INTERRUPTED = 2, 130


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
    """Parses the command line and does what it says; returns the exit status."""
    command = tyro.cli(List | Run | Reproduce, args=arguments, prog="saddlescope", description=__doc__)  # type: ignore[arg-type]
    warnings.showwarning = _one_line
    try:
        if isinstance(command, Reproduce):
            return _reproduce(command)
        return _list() if isinstance(command, List) else _run(command)
    except ValueError as error:
        print(f"saddlescope: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("saddlescope: interrupted before anything was computed; nothing was written.", file=sys.stderr)
        return INTERRUPTED


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"saddlescope: warning: {message}", file=sys.stderr)


def _list() -> int:
    for name, (title, source) in EXPERIMENTS.items():
        print(f"{name:12s} {title}  [{source}]")
    return 0


def _configure() -> None:
    """What holds for the whole process. Called when the names are known to be right, since it imports JAX."""
    import jax

    # Exact flows need double precision; the library itself never touches this switch.
    jax.config.update("jax_enable_x64", True)
    from .flows import keep_compiled

    keep_compiled()
    os.environ.setdefault("MPLBACKEND", "Agg")


def _run(command: Run) -> int:
    check_experiment(command.name)
    _configure()
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from .experiments.runs.run import interrupted, run, write, write_json, write_trajectory

    horizon, target = _refuse_early(command)
    paths: list[Path] = []
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("t = {task.completed:.4g}"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("gradient flow", total=horizon)

        def flowed(trajectory: Any, header: dict[str, Any]) -> None:
            # Before the analysis: whatever happens to that, the flow is kept.
            paths.append(write_trajectory(trajectory, header, command.out))
            progress.update(task, description="analysis")

        settings: dict[str, Any] = {"width": command.width, "scale": command.scale, "t1": command.t1}
        settings["progress"] = lambda t, loss: progress.update(task, completed=t)
        try:
            finished = run(command.name, command.seed, flowed=flowed, **settings)
        except KeyboardInterrupt:
            if not paths:
                raise
            print(f"saddlescope: interrupted in the analysis; the trajectory is in {paths[0]}.", file=sys.stderr)
            return INTERRUPTED
    paths += write(finished, command.out)
    if target is not None:
        write_json(finished, target)
        paths.append(target)
    print(json.dumps(finished.record, indent=1, allow_nan=False) if command.json == "-" else finished)
    print("wrote " + ", ".join(str(path) for path in paths), file=sys.stderr)
    if interrupted(finished):
        print(f"saddlescope: interrupted at t = {finished.trajectory.ts[-1]:.6g}; kept until there.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _reproduce(command: Reproduce) -> int:
    names = select_figures(command.figures)
    _configure()
    from rich.console import Console

    from .experiments.reproductions.reproduce import reproduce, table, write_page, write_reproduction
    from .experiments.runs.run import check_writable

    check_writable(command.out)
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    failed = 0
    for name in names:
        reproduced = reproduce(name, command.seeds, command.quick)
        console.print(table(reproduced))
        write_reproduction(reproduced, command.out)
        failed += not reproduced.passed
        print(f"figure {name}: {reproduced.seconds:.0f} s", file=sys.stderr)
    print(f"{len(names)} figures, {failed} with failed checks; see {write_page(command.out)}", file=sys.stderr)
    return 0


def _refuse_early(command: Run) -> tuple[float, Path | None]:
    """Everything that can be refused is refused before the work, not after it; the horizon and the --json file."""
    from .experiments import experiment
    from .experiments.runs.run import check_writable

    setup = experiment(command.name).setup(command.seed, width=command.width, scale=command.scale, t1=command.t1)
    if not (math.isfinite(setup.t1) and setup.t1 > 0):
        raise ValueError(f"t1 must be positive and finite; got {setup.t1}.")
    check_writable(command.out)
    target = None if command.json in (None, "-") else Path(command.json)
    if target is not None:
        check_writable(target.parent)
        if target.is_dir():
            raise ValueError(f"--json must name a file or '-'; {target} is a folder.")
    return setup.t1, target


if __name__ == "__main__":
    sys.exit(main())
