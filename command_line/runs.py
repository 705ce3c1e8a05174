"""`saddlescope run NAME`: one flow of a named experiment, its itinerary, figure, record and trajectory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..catalogue import check_experiment, check_settings
from ..terminal import complain, ending_on_signals, progress_bar, tell
from .exits import BY_SIGNAL, INTERRUPTED, NOT_WRITTEN, NOTHING, configure, keep

if TYPE_CHECKING:
    from ..experiments.runs.outputs import OutputPaths


@dataclass
class Run:
    """Run an experiment: prints its itinerary, writes figure, record and trajectory."""

    name: Annotated[str, tyro.conf.Positional]
    """Name of the experiment, see `saddlescope list`."""
    seed: int = 0
    """Seed of data and initial weights."""
    out: Path = Path("runs")
    """Folder for figure, itinerary (JSON) and trajectory (NPZ)."""
    format: Literal["png", "pdf", "svg"] = "png"
    """Of the figure; PDF and SVG stay sharp at any size."""
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


def run_experiment(command: Run) -> int:
    """Does what the command says; returns the exit status."""
    check_experiment(command.name)
    check_settings(command.seed, width=command.width, scale=command.scale, t1=command.t1, budget=command.budget)
    configure()
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
    from ..experiments import run

    horizon, paths, copy = _check_outputs(command)
    with progress_bar(horizon) as (update, describe):

        def flowed(trajectory: Any, header: dict[str, Any]) -> None:
            # Before the analysis: whatever happens to that, the flow is kept.
            written.extend(keep(paths.trajectory, lambda path: trajectory.save(path, **header)))
            describe("analysis")

        settings: dict[str, Any] = {key: getattr(command, key) for key in ("width", "scale", "t1", "budget")}
        try:
            finished = run(command.name, command.seed, flowed=flowed, progress=update, **settings)
        except ValueError as error:
            where = f" The trajectory is in {written[0]}." if written else ""
            raise ValueError(f"{error}{where}") from error
    written += keep(paths.figure, finished.write_figure)
    records = [paths.record] if copy is None else [paths.record, copy]
    for path in records:
        written += keep(path, finished.write_record)
    try:
        print(json.dumps(finished.record, indent=1, allow_nan=False) if command.json == "-" else finished, flush=True)
    finally:
        if written:
            tell("wrote " + ", ".join(str(path) for path in written))
    if finished.interrupted:
        complain(f"interrupted at t = {finished.trajectory.ts[-1]:.6g}; kept until there.")
        return INTERRUPTED
    return 0 if len(written) == 2 + len(records) else NOT_WRITTEN


def _check_outputs(command: Run) -> tuple[float, "OutputPaths", Path | None]:
    """Horizon, paths of the files, and the `--json` file; a `ValueError` where one could not be written."""
    from ..experiments import experiment
    from ..experiments.runs.outputs import check_writable, output_paths

    horizon = experiment(command.name).t1 if command.t1 is None else command.t1
    paths = output_paths(command.name, command.seed, command.out, figure_format=command.format)
    copy = None if command.json in (None, "-") else Path(command.json)
    check_writable(*paths.all, *([] if copy is None else [copy]))
    return horizon, paths, copy
