"""A case by its kind and seed, and how it ended."""

import contextlib
import shutil
import traceback
import warnings
from pathlib import Path

import numpy as np
from saddlescope.flows import Trajectory, half_squared_error, load

from fuzzing.commands import check_command, drawn_command
from fuzzing.damage import damaged
from fuzzing.laws import HOME, check_flow, readable, refusal, require
from fuzzing.mistakes import MISTAKES, X, Y, flow, mistake, model
from fuzzing.problems import problem


def outcome(kind: str, seed: int, folder: Path) -> dict[str, str]:
    """How a case ended: `answered`, `refused` or `broken`, and what was said."""
    told, check = CASES[kind](seed, folder)
    try:
        said = check()
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(HOME)]
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "/tests/" not in frame.filename]
        return {"ended": "broken", "said": f"{type(error).__name__}: {error} (at {ours[-1:]}) in {told}"}
    return {"ended": "answered" if said is None else "refused", "said": f"{said or ''} in {told}"[:600]}


def flow_case(seed: int, _: Path):
    drawn = problem(seed)
    return drawn.told, lambda: check_flow(drawn, seed)


def mistake_case(seed: int, folder: Path):
    # Numbers that follow each other are no neighbours in the list.
    call, told = mistake(*MISTAKES[seed * 7919 % len(MISTAKES)])

    def check() -> str | None:
        with warnings.catch_warnings(), contextlib.chdir(folder):
            warnings.simplefilter("ignore")
            return refusal(call)[1]

    return told, check


def file_case(seed: int, folder: Path):
    path, witness = folder / f"{seed}.npz", folder / "witness"
    good = folder / "good.npz"
    if not good.exists():
        flow().save(good)
    shutil.copy(good, path)
    told = damaged(np.random.default_rng([20, seed]), path, witness)

    def check() -> str | None:
        try:
            found, said = refusal(lambda: load(path, model(), half_squared_error, (X, Y)))
        finally:
            path.unlink()
        require(not witness.exists(), "the file was executed")
        if said is None:
            require(isinstance(found, Trajectory) and np.all(np.isfinite(found.thetas)), "no trajectory")
            readable(found)
        return said

    return told, check


def command_case(seed: int, folder: Path):
    words = drawn_command(seed)
    return str(words), lambda: check_command(words, folder / "commands")


CASES = {"flow": flow_case, "mistake": mistake_case, "file": file_case, "command": command_case}
