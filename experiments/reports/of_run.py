"""The report of a run of an experiment, from the files that it left."""

import json
from pathlib import Path
from typing import Any

from ...analysis import itinerary, saddle_graph
from ...analysis.visits.itinerary import Itinerary
from ...flows import Trajectory
from ...flows.simulation.trajectory import read_header
from ..runs.run import SETTINGS, load_trajectory
from ..setups.registry import experiment
from .report import Report, report

# Larger networks take minutes for the orbits from each of their saddles.
GRAPH_UP_TO = 300


def report_run(path: str | Path) -> Report:
    """The report of a run: its trajectory is read back and analysed again.

    Args:
        path: the trajectory (NPZ) that `Run.write` or `saddlescope run` wrote.

    Returns:
        The report, with the saddle graph of networks of up to 300 parameters.
    """
    trajectory, header, record = load_trajectory(path), read_header(path), _record(Path(path))
    chosen = experiment(header["experiment"])
    settings: dict[str, Any] = {key: header[key] for key in SETTINGS}
    data = chosen.setup(header["seed"], **settings).data
    budget = record.get("settings", {}).get("budget", chosen.budget)
    visits = itinerary(trajectory, budget=budget)
    told = {"experiment": chosen.name, "source": chosen.source, "seed": header["seed"], **settings}
    if made := record.get("versions"):
        told["flow made with"] = ", ".join(f"{name} {version}" for name, version in made.items())
    return report(
        trajectory,
        visits,
        title=f"{chosen.name}, seed {header['seed']}: {chosen.title}",
        data=data,
        levels=chosen.levels(data),
        graph=_graph(trajectory, visits),
        settings=told,
    )


def _graph(trajectory: Trajectory, visits: Itinerary) -> Any:
    """The saddle graph from the first critical point on, where it is known and the network is small."""
    small = trajectory.thetas.shape[1] <= GRAPH_UP_TO and bool(visits) and visits[0].critical_point.converged
    return saddle_graph(trajectory.landscape, visits[0].critical_point.theta, visits=visits) if small else None


def _record(path: Path) -> dict[str, Any]:
    """The JSON record beside a trajectory; empty where there is none that can be read."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        known = all(isinstance(record.get(key, {}), dict) for key in ("settings", "versions"))
    except (OSError, ValueError, AttributeError):
        return {}
    return record if known else {}
