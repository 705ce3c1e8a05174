"""One run of an experiment: flow, itinerary, figure, record, trajectory."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx

from ...analysis import itinerary
from ...analysis.visits.itinerary import Itinerary
from ...flows import Result, Trajectory, load, simulate
from ...flows.simulation.trajectory import read_header
from .record import record
from ..setups.registry import experiment


class Run(eqx.Module):
    """A finished (or interrupted) run: the flow, its itinerary and its JSON record."""

    trajectory: Trajectory
    itinerary: Itinerary
    record: dict[str, Any]
    levels: tuple[float, ...]
    title: str

    def __str__(self) -> str:
        return f"{self.title}\n{self.trajectory}\n{self.itinerary}"


def run(
    name: str,
    seed: int = 0,
    *,
    width: int | None = None,
    scale: float | None = None,
    t1: float | None = None,
    progress: Callable[[float, float], None] | None = None,
    flowed: Callable[[Trajectory, dict[str, Any]], None] | None = None,
) -> Run:
    """Runs an experiment by name.

    **Arguments:** `name`: see `names()`; `seed`: of data and initial weights; `width`, `scale`, `t1`: replace the
    published values; `progress`: called with (t, loss) now and then; `flowed`: called with trajectory and
    settings when the flow is done, before the analysis, which may be interrupted.

    **Raises:** `KeyboardInterrupt` where the flow was interrupted before its first step.
    """
    chosen = experiment(name)
    setup = chosen.setup(seed, width=width, scale=scale, t1=t1)
    trajectory = simulate(setup.model, setup.loss, setup.data, t1=setup.t1, progress=progress)
    if trajectory.result is Result.interrupted and len(trajectory.ts) == 1:
        raise KeyboardInterrupt
    settings = {
        "width": chosen.width if width is None else width,
        "scale": chosen.scale if scale is None else scale,
        "t1": setup.t1,
    }
    if flowed is not None:
        flowed(trajectory, {"experiment": name, "seed": seed, **settings})
    visits = itinerary(trajectory)
    levels = chosen.levels(setup.data)
    title = f"{name}, seed {seed}: {chosen.title}"
    return Run(trajectory, visits, record(name, seed, trajectory, visits, levels=levels, **settings), levels, title)


def interrupted(finished: Run) -> bool:
    """Whether the flow was stopped by Ctrl-C."""
    return finished.trajectory.result is Result.interrupted


def check_writable(folder: Path) -> None:
    """Makes the folder if need be; a `ValueError` if files cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror or error}.") from error


def write_trajectory(trajectory: Trajectory, header: dict[str, Any], folder: Path) -> Path:
    """Writes the trajectory (NPZ) with what is needed to rebuild its set-up; returns its path."""
    check_writable(folder)
    path = folder / f"{header['experiment']}-seed{header['seed']}.npz"
    trajectory.save(path, **header)
    return path


def write(finished: Run, folder: Path) -> tuple[Path, ...]:
    """Writes figure (PNG) and itinerary (JSON), each whole or not at all; returns their paths."""
    import matplotlib.pyplot as plt

    from ...analysis import plot

    check_writable(folder)
    stem = f"{finished.record['experiment']}-seed{finished.record['seed']}"
    png, js = (folder / f"{stem}{ending}" for ending in (".png", ".json"))
    figure = plot(finished.trajectory, finished.itinerary, levels=finished.levels, title=finished.title)
    partial = png.with_suffix(".png.part")
    figure.savefig(partial, format="png", dpi=150)
    plt.close(figure)
    os.replace(partial, png)
    write_json(finished, js)
    return png, js


def write_json(finished: Run, path: Path) -> None:
    """Writes the JSON record, whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(finished.record, indent=1, allow_nan=False) + "\n")
    os.replace(partial, path)


def load_run(path: str | Path) -> Trajectory:
    """Reads back a trajectory that `write_trajectory` saved, with model, loss and data rebuilt from its header."""
    header = read_header(path)
    if "experiment" not in header:
        raise ValueError(f"{path} was not written by an experiment; use saddlescope.flows.load with model and data.")
    setup = experiment(header["experiment"]).setup(
        header["seed"], width=header["width"], scale=header["scale"], t1=header["t1"]
    )
    return load(path, setup.model, setup.loss, setup.data)
