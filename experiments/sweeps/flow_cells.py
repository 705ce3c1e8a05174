"""The flows of one configuration, and what is kept of them: visits as arrays with padding."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...analysis import itineraries, itinerary
from ...analysis.visits.itinerary import Itinerary
from ...analysis.visits.visit import Visit
from ...flows import Result, Trajectory, ensemble, simulate
from ..setups.experiment import Setup
from ..setups.registry import experiment
from .configuration import Configuration, completed
from .solvers import named_solver

if TYPE_CHECKING:
    import xarray as xr

# What a visit has, by the type of its array; what does not exist is NaN, −1 or "".
PASSAGE = ("loss", "speed", "time", "arrival", "departure", "dwell")
NUMBERS = (*PASSAGE, "e_folds", "rate_measured", "rate_predicted", "dwell_predicted")
COUNTS = ("effective_width", "index", "nullity", "order")


class Flow(NamedTuple):
    """What is kept of one flow.

    Attributes:
        trajectory: the flow, or `None` where it could not begin.
        visits: its itinerary, empty where it failed.
        failure: the reason why something is missing, in one sentence; otherwise empty.
    """

    trajectory: Trajectory | None
    visits: Itinerary
    failure: str


def compute_cell(configuration: Configuration) -> "xr.Dataset":
    """Integrates the flows of one configuration of a named experiment, and analyses them.

    Args:
        configuration: of one of `saddlescope list`.

    Returns:
        Labelled arrays with the dimensions `seed` and `visit`. A flow that fails is a row with the reason, `failure`;
        an unknown experiment or setting is a `ValueError`. With `kinds=False` no critical points are sought.
    """
    configuration = completed(configuration)
    chosen, settings = experiment(configuration.experiment), dict(configuration.parameters)
    budget, rtol, solver = (settings.pop(name, None) for name in ("budget", "rtol", "solver"))
    given = {"rtol": rtol, "solver": named_solver(solver)}  # pyright: ignore[reportArgumentType]
    integration = {**chosen.integration, **{key: value for key, value in given.items() if value is not None}}
    if not settings.pop("kinds", True):
        setups = [chosen.setup(seed, **settings) for seed in configuration.seeds]  # pyright: ignore[reportArgumentType]
        return _without_kinds(setups, configuration.seeds, integration)
    flows: list[Flow] = []
    # What they warn of is in the cell.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in configuration.seeds:
            setup = chosen.setup(seed, **settings)  # pyright: ignore[reportArgumentType]
            flows.append(_flow(setup, budget, integration))
    return dataset(flows, configuration.seeds)


def _without_kinds(setups: Sequence[Setup], seeds: range, integration: dict[str, Any]) -> "xr.Dataset":
    """Passages, losses, effective widths and dwell times alone, by the ensemble of all flows."""
    first = setups[0]
    found = ensemble(
        [setup.model for setup in setups],
        first.loss,
        [setup.data for setup in setups],
        separate_data=True,
        t1=first.t1,
        **integration,
        # Measuring which method is faster would let the digits depend on the clock.
        method="vectorised",
    )
    if Result.interrupted in found.results:
        raise KeyboardInterrupt
    visits = itineraries(found, kinds=False).dataset().rename(member="seed")
    return visits.drop_vars("visit").assign_coords(seed=np.array(seeds, np.int64))


def _flow(setup: Any, budget: Any, integration: dict[str, Any]) -> Flow:
    trajectory = None
    try:
        trajectory = simulate(setup.model, setup.loss, setup.data, t1=setup.t1, **integration)
        if trajectory.result is Result.interrupted:
            raise KeyboardInterrupt
        failure = f"the flow stopped: {trajectory.result.value}" if trajectory.result.failed else ""
        return Flow(trajectory, itinerary(trajectory, budget=budget), failure)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        return Flow(trajectory, Itinerary(), f"{type(error).__name__}: {' '.join(str(error).split())}")


def dataset(flows: Sequence[Flow], seeds: range) -> "xr.Dataset":
    """Labelled arrays of flows and their visits.

    Args:
        flows: one for each seed.
        seeds: theirs.

    Returns:
        The arrays, with as many columns `visit` as the longest itinerary has.
    """
    import xarray as xr

    most = max(len(flow.visits) for flow in flows)
    padded = [(*flow.visits, *[None] * (most - len(flow.visits))) for flow in flows]
    of_visits: dict[str, Any] = {
        **{name: [[_number(v, name) for v in row] for row in padded] for name in NUMBERS},
        **{name: [[_count(v, name) for v in row] for row in padded] for name in COUNTS},
        "kind": [["" if v is None else v.kind.name for v in row] for row in padded],
    }
    types = {**dict.fromkeys(NUMBERS, np.float64), **dict.fromkeys(COUNTS, np.int32), "kind": np.str_}
    for flow, row in zip(flows, of_visits["dwell"], strict=True):
        if flow.trajectory is not None and censored(flow.visits):
            row[len(flow.visits) - 1] = float(flow.trajectory.ts[-1]) - flow.visits[-1].passage.arrival
    shape = len(flows), most
    variables = {name: (("seed", "visit"), np.array(v, types[name]).reshape(shape)) for name, v in of_visits.items()}
    variables |= {name: (("seed",), values) for name, values in _of_flows(flows).items()}
    return xr.Dataset(variables, coords={"seed": np.array(seeds, np.int64)})


def _of_flows(flows: Sequence[Flow]) -> dict[str, Any]:
    """What there is once for each flow."""
    paths = [flow.trajectory for flow in flows]
    return {
        "visits": np.array([len(flow.visits) for flow in flows], np.int32),
        "result": np.array(["not begun" if path is None else path.result.value for path in paths], np.str_),
        "failure": np.array([flow.failure for flow in flows], np.str_),
        "loss_initial": np.array([np.nan if path is None else path.losses[0] for path in paths], np.float64),
        "loss_final": np.array([np.nan if path is None else path.losses[-1] for path in paths], np.float64),
        "t_end": np.array([np.nan if path is None else path.ts[-1] for path in paths], np.float64),
        "censored": np.array([censored(flow.visits) for flow in flows], np.bool_),
        "num_steps": np.array([-1 if path is None else path.stats["num_steps"] for path in paths], np.int32),
    }


def censored(visits: Itinerary) -> bool:
    """Whether the flow was cut off on a plateau that it would leave, whose dwell time is then a lower bound."""
    return bool(visits) and visits[-1].passage.departure is None and visits[-1].kind.is_left


def _number(visit: Visit | None, name: str) -> float:
    places = () if visit is None else (visit, visit.passage, visit.escape)
    value = next((getattr(place, name) for place in places if hasattr(place, name)), None)
    return np.nan if value is None else float(value)


def _count(visit: Visit | None, name: str) -> int:
    if visit is None:
        return -1
    value = getattr(visit.kind, name) if name != "effective_width" else None
    if name == "effective_width" and visit.effective_width is not None:
        value = visit.effective_width.width
    return -1 if value is None else int(value)
