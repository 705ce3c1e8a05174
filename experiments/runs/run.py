"""One run of an experiment: flow, itinerary, figure, record, trajectory."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx

from ...analysis import itinerary
from ...analysis.visits.itinerary import Itinerary
from ...flows import Result, Trajectory, load, simulate
from ...flows.files import replacing
from ...flows.simulation.trajectory import read_header
from ..setups.experiment import Experiment, Panel, Remarks, Setup
from ..setups.registry import experiment
from .outputs import FigureFormat, OutputPaths, check_writable, output_paths
from .record import record

# What rebuilds a run's set-up, besides the names of experiment and seed; stands in its record and its trajectory.
SETTINGS = ("width", "scale", "t1")


class Run(eqx.Module):
    """A finished (or interrupted) run.

    Attributes:
        title: name, seed and title of the experiment.
        trajectory: the flow.
        itinerary: the visits of the flow.
        record: everything that was found, as plain values for JSON.
        levels: plateau losses that theory predicts.
        remarks: what the models at the visits compute, where the experiment says so.
        panels: further panels of the figure for each visit, by the names of their rows.
    """

    title: str
    trajectory: Trajectory
    itinerary: Itinerary
    record: dict[str, Any]
    levels: tuple[float, ...]
    remarks: Remarks | None
    panels: Mapping[str, Panel] = eqx.field(static=True)

    def __str__(self) -> str:
        lines = f"{self.title}\n{self.trajectory}\n{self.itinerary}"
        return lines if self.remarks is None else f"{lines}\n{self.remarks}"

    @property
    def interrupted(self) -> bool:
        """Whether the flow was stopped by Ctrl-C."""
        return self.trajectory.result is Result.interrupted

    def write(self, folder: str | Path, *, figure_format: FigureFormat = "png") -> OutputPaths:
        """Writes figure, record (JSON) and trajectory (NPZ), each whole or not at all.

        Args:
            folder: where to; made if need be.
            figure_format: of the figure, by default PNG.

        Returns:
            The paths of the files. What cannot be written there raises a `ValueError` before anything is written.
        """
        name, seed, settings = (self.record[key] for key in ("experiment", "seed", "settings"))
        paths = output_paths(name, seed, folder, figure_format=figure_format)
        check_writable(*paths.all)
        self.write_figure(paths.figure)
        self.write_record(paths.record)
        header = {"experiment": name, "seed": seed, **{key: settings[key] for key in SETTINGS}}
        self.trajectory.save(paths.trajectory, **header)
        return paths

    def write_figure(self, path: Path) -> None:
        """Writes the figure in the format of the path's ending, whole or not at all."""
        import matplotlib.pyplot as plt

        from ...analysis import plot

        figure = plot(self.trajectory, self.itinerary, levels=self.levels, panels=self.panels, title=self.title)
        try:
            with replacing(path) as partial:
                figure.savefig(partial, format=path.suffix[1:], dpi=150)
        finally:
            plt.close(figure)

    def write_record(self, path: Path) -> None:
        """Writes the record (JSON), whole or not at all."""
        with replacing(path) as partial:
            partial.write_text(json.dumps(self.record, indent=1, allow_nan=False) + "\n")


def run(
    name: str,
    seed: int = 0,
    *,
    width: int | None = None,
    scale: float | None = None,
    t1: float | None = None,
    budget: float | None = None,
    progress: Callable[[float, float], None] | None = None,
    flowed: Callable[[Trajectory, dict[str, Any]], None] | None = None,
) -> Run:
    """Runs an experiment by name.

    Args:
        name: see `experiment_names`.
        seed: seed of data and initial weights.
        width: number of units, by default the published one.
        scale: standard deviation ε of the initial weights, by default the published one.
        t1: horizon in the flow's time, by default the published one.
        budget: wall-clock seconds of the analysis after which no further critical point is sought, by default the
            experiment's own, which may be none.
        progress: called with (t, loss) every two seconds or more often.
        flowed: called with the trajectory and the settings that `load_trajectory` needs, after the flow and before the
            analysis, which may be interrupted.

    Returns:
        The run; its flow may have been interrupted.

    Raises:
        KeyboardInterrupt: when the flow was interrupted before its first step.
    """
    chosen = experiment(name)
    setup = chosen.setup(seed, width=width, scale=scale, t1=t1)
    trajectory = simulate(setup.model, setup.loss, setup.data, t1=setup.t1, progress=progress, **chosen.integration)
    if trajectory.result is Result.interrupted and len(trajectory.ts) == 1:
        raise KeyboardInterrupt
    settings: dict[str, Any] = {
        "width": chosen.width if width is None else width,
        "scale": chosen.scale if scale is None else scale,
        "t1": setup.t1,
    }
    if flowed is not None:
        flowed(trajectory, {"experiment": name, "seed": seed, **settings})
    settings["budget"] = chosen.budget if budget is None else budget
    return _analysed(chosen, setup, seed, trajectory, settings)


def _analysed(chosen: Experiment, setup: Setup, seed: int, trajectory: Trajectory, settings: dict[str, Any]) -> Run:
    """The run whose flow has ended."""
    visits = itinerary(trajectory, budget=settings["budget"])
    levels, remarks = chosen.levels(setup.data), None
    if chosen.remarks is not None:
        remarks = chosen.remarks(tuple(trajectory.model_at_index(v.passage.index) for v in visits), setup.data)
    return Run(
        title=f"{chosen.name}, seed {seed}: {chosen.title}",
        trajectory=trajectory,
        itinerary=visits,
        record=record(chosen.name, seed, trajectory, visits, remarks=remarks, levels=levels, **settings),
        levels=levels,
        remarks=remarks,
        panels={} if chosen.panels is None else chosen.panels(setup.data),
    )


def load_trajectory(path: str | Path) -> Trajectory:
    """Reads back the trajectory of a run, with model, loss and data rebuilt from its settings.

    Args:
        path: the NPZ file that `Run.write` or `saddlescope run` wrote.

    Returns:
        The trajectory.

    Raises:
        ValueError: when the file is no trajectory, or not that of an experiment.
    """
    header = read_header(path)
    if "experiment" not in header:
        raise ValueError(f"{path} was not written by an experiment; use saddlescope.flows.load with model and data.")
    settings = {key: header[key] for key in SETTINGS}
    setup = experiment(header["experiment"]).setup(header["seed"], **settings)
    return load(path, setup.model, setup.loss, setup.data)
