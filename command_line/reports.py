"""`saddlescope report RUN`: a page about a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..terminal import Stopped, complain, ending_on_signals, tell
from .exits import BY_SIGNAL, NOT_WRITTEN, configure, keep


@dataclass
class Report:
    """Write a report of a run or a sweep: one HTML page with a slider, which needs no network."""

    run: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Folder or file that `saddlescope run` wrote, of a folder all runs; or the folder of a sweep."""
    out: Path | None = None
    """Folder for the pages (HTML), instead of the run's own."""


def write_reports(command: Report) -> int:
    """Does what the command says; returns the exit status."""
    if not command.run.exists():
        raise ValueError(f"there is no file or folder {command.run}; `saddlescope run NAME` writes one.")
    configure()
    if (command.run / "cells").is_dir():
        return _write_sweep(command)
    from ..experiments.reports.of_run import report_run
    from ..experiments.runs.find import runs_in
    from ..experiments.runs.outputs import check_writable

    runs = runs_in(command.run)
    pages = [(run.parent if command.out is None else command.out) / f"{run.stem}.html" for run in runs]
    check_writable(*pages)
    written: list[Path] = []
    with ending_on_signals(Stopped) as signals:
        try:
            for run, page in zip(runs, pages, strict=True):
                written += keep(page, report_run(run).save)
        except Stopped:
            complain("interrupted; the pages before are written.")
    if written:
        tell("wrote " + ", ".join(str(path) for path in written))
    return BY_SIGNAL + signals[0] if signals else 0 if len(written) == len(pages) else NOT_WRITTEN


def _write_sweep(command: Report) -> int:
    """The page of a sweep, in its folder."""
    from ..experiments import collect
    from ..experiments.reports.of_sweep import report_sweep
    from ..experiments.runs.outputs import check_writable

    page = (command.run if command.out is None else command.out) / "report.html"
    check_writable(page)
    made = report_sweep(collect(command.run), title=f"Sweep {command.run.resolve().name}")
    written = keep(page, made.save)
    if written:
        tell(f"wrote {page}")
    return 0 if written else NOT_WRITTEN
