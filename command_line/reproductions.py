"""`saddlescope reproduce [FIGURE …]`: published figures, each with its checks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..catalogue import check_seeds, select_figures
from ..terminal import Stopped, complain, ending_on_signals, tell
from .exits import BY_SIGNAL, NOT_WRITTEN, configure, keep


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


def reproduce_figures(command: Reproduce) -> int:
    """Does what the command says; returns the exit status."""
    names = select_figures(command.figures)
    check_seeds(command.seeds)
    configure()
    from ..experiments.reproductions.report import page_path, reproduction_paths, write_page
    from ..experiments.runs.outputs import check_writable

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
        written = bool(keep(page, lambda path: write_page(command.out))) and written
        tell(f"figures: {len(passed)}, with failed checks: {passed.count(False)}; see {page}")
    return BY_SIGNAL + signals[0] if signals else 0 if written else NOT_WRITTEN


def _reproduce_one(name: str, command: Reproduce) -> tuple[bool, bool]:
    """Reproduces, writes and prints a figure; whether all files were written, and whether all checks passed."""
    from ..experiments import reproduce
    from ..experiments.reproductions.report import reproduction_paths, writers

    reproduced = reproduce(name, command.seeds, command.quick)
    paths = reproduction_paths(name, command.out)
    written = [keep(path, write) for path, write in zip(paths, writers(reproduced), strict=True)]
    print(reproduced, flush=True)
    tell(f"figure {name}: {reproduced.seconds:.0f} s")
    return all(written), reproduced.passed
