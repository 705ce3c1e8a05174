"""The command line: `saddlescope` with `list`, `run NAME`, `reproduce [FIGURE …]` or `sweep`."""

import gc
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import tyro

from .catalogue import EXPERIMENTS
from .command_line.exits import BROKEN_PIPE, INTERRUPTED, NOT_WRITTEN, NOTHING, USER_ERROR
from .command_line.films import Animate, make_films
from .command_line.reports import Report, write_reports
from .command_line.reproductions import Reproduce, reproduce_figures
from .command_line.runs import Run, run_experiment
from .command_line.sweeps import Sweep, run_sweep
from .terminal import complain, degrade_characters, leave, silence


@dataclass
class List:
    """List the experiments."""


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
    commands: Any = List | Run | Reproduce | Sweep | Report | Animate
    command = tyro.cli(commands, args=arguments, prog="saddlescope", description=__doc__)
    warnings.showwarning = _one_line
    try:
        if isinstance(command, Run):
            return run_experiment(command)
        if isinstance(command, Sweep):
            return run_sweep(command)
        if isinstance(command, Report):
            return write_reports(command)
        if isinstance(command, Animate):
            return make_films(command)
        return reproduce_figures(command) if isinstance(command, Reproduce) else _list()
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


def entry_point() -> None:
    """The command line as a process: ends with its status."""
    # Traced programs are many small objects, hardly any of them garbage: looking through them took up to a tenth.
    gc.set_threshold(50_000, 20, 50)
    leave(main())


if __name__ == "__main__":
    entry_point()
