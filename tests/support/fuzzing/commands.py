"""Drawn command lines, and what the command may answer before a flow starts."""

import contextlib
import io
import os
import re
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
from saddlescope.__main__ import main
from saddlescope.catalogue import EXPERIMENTS
from saddlescope.flows.simulation.integration import Integration

from fuzzing.laws import require

NAMES = [*EXPERIMENTS, "nonsense", "", "-", "LINEAR", "linear relu", "../linear", "1B", "💥", "a\tb"]
NUMBERS = [
    "0",
    "-1",
    "1",
    "3",
    "2000",
    "1e3",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e-12",
    "1e400",
    "ten",
    "",
    "0x10",
    "99999999999999999999",
]
PLACES = ["runs", "/dev/null", "/dev/null/x", "/proc/x", "/", ".", "..", "a/b/../c", "", "x" * 300, "file", "a\nb"]
OPTIONS = {"--seed": NUMBERS, "--width": NUMBERS, "--scale": NUMBERS, "--t1": NUMBERS, "--budget": NUMBERS}
OPTIONS |= {"--out": PLACES, "--json": [*PLACES, "-"], "--nonsense": ["1"], "--quick": [""], "--seeds": NUMBERS}


class Started(BaseException):
    """The flow started: all was found to be right."""


def drawn_command(seed: int) -> list[str]:
    """The words of a command line."""
    generator = np.random.default_rng([19, seed])
    pick = lambda values: list(values)[generator.integers(len(values))]  # noqa: E731
    command = pick(["run", "run", "run", "list", "reproduce", "nonsense", ""])
    words = [command, *([pick(NAMES)] if command in ("run", "reproduce") else [])]
    for _ in range(int(generator.integers(4))):
        option = pick(OPTIONS)
        words += [option, pick(OPTIONS[option])]
    return [word for word in words if "\0" not in word]


def check_command(words: list[str], folder: Path) -> str:
    """Runs a command up to the start of its flow; how it ended: the status, or that it started."""
    out, err = io.StringIO(), io.StringIO()
    home = os.getcwd()
    folder.mkdir(exist_ok=True)
    (folder / "file").touch()
    os.chdir(folder)
    status: object
    shown = warnings.showwarning
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with mock.patch.object(Integration, "__init__", side_effect=Started), no_reproduction():
                status = main(words)
    except SystemExit as error:  # the parser's
        status = error.code
        require(status in (0, 2), f"the parser ended with {status}")
        return f"parser {status}"
    except Started:
        return "started"
    finally:
        os.chdir(home)
        warnings.showwarning = shown
    said = err.getvalue()
    require(status in (0, 1, 2), f"the status is {status}")
    require("Traceback" not in said + out.getvalue(), f"a traceback: {said}")
    if status == 2:
        require(re.fullmatch(r"saddlescope: [^\n]{10,900}[.)]\n", said), f"not one sentence: {said!r}")
        require(not out.getvalue(), f"printed besides: {out.getvalue()!r}")
    return f"status {status}"


def no_reproduction():
    """A figure is started, not made."""
    import saddlescope.experiments.reproductions.reproduce as module

    return mock.patch.object(module, "reproduction", side_effect=Started)
