"""Many gradient flows of one shape, integrated together."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import diffrax as dfx
import numpy as np

from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten
from ..simulation.checks import check_max_steps, check_times, checked_tolerances
from ..simulation.ending import statistics_of
from ..simulation.integration import Integration
from ..simulation.limits import Limits
from ..simulation.patience import Directly
from ..simulation.result import Result
from ..simulation.sign_changes import SignChangeRecorder
from ..simulation.start import first_record, first_step, is_finite
from .arguments import landscapes_of, made
from .history import KEPT_NUMBERS, HistoryRecorder, Member
from .pace import METHODS
from .processes import gathered, share_of_process
from .record import Ensemble
from .schedule import Schedule


def ensemble(
    models: Sequence[Any] | Callable[..., Any],
    loss: Callable[[Any, Any], Any],
    data: Any,
    *,
    t1: float,
    keys: Iterable[Any] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    separate_data: bool = False,
    method: str = "auto",
    solver: dfx.AbstractSolver[Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    save_times: Iterable[float] | None = None,
    convergence: float | None = None,
    max_steps: int = 200_000,
    budget: float | None = None,
    reduce_data: bool = True,
    trainable: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ensemble:
    r"""Integrates many gradient flows of one shape, each with the steps and decisions that `simulate` would take.

    Args:
        models: the initial models, all of one structure and shape, or a function that makes one from keyword arguments.
        loss: scalar function of (model, data).
        data: any PyTree of arrays, the same for all members unless `separate_data`.
        t1: end of the time interval [0, t1].
        keys: values of the function's argument `key`, one member each.
        grid: values of the function's other arguments by name; every combination is made with every key.
        separate_data: whether `data` is a sequence, with the data of each member.
        method: "vectorised" takes the steps of several flows in one program, "sequential" one flow after the other,
            "parallel" several flows in a program on every core or device. "auto" uses all cores, measures which program
            is faster for each solver, and says so in the ensemble's `reason`.
        solver: as in `simulate`.
        rtol: as in `simulate`.
        atol: absolute tolerance per step; by default it follows each member's own initial weights, as in `simulate`.
        save_times: times at which the weights of every member are kept, as in `simulate`.
        convergence: as in `simulate`.
        max_steps: number of steps of a member after which it stops, rejected ones included.
        budget: wall-clock seconds after which no member takes further steps.
        reduce_data: as in `simulate`.
        trainable: as in `simulate`.
        progress: called with the numbers of members that have ended, and of all.

    Returns:
        The ensemble. A member that failed, or that Ctrl-C or the budget cut short, holds what was computed until then
        and says why.

    Raises:
        ValueError: when arguments are invalid, or members differ in more than the values of weights and data.
    """
    end = float("inf") if budget is None else time.monotonic() + budget
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    check_max_steps(max_steps)
    made_models, parameters = made(models, keys, grid)
    landscapes = landscapes_of(made_models, loss, data, separate_data, reduce_data, trainable)
    stops = check_times(t1, save_times).astype(flatten(made_models[0]).dtype)
    limits = Limits(convergence=convergence, max_steps=max_steps)
    tolerances = [checked_tolerances(landscape.theta, rtol, atol) for landscape in landscapes]
    begun = {
        number: _begun(landscapes[number], tolerances[number], solver, stops, limits, len(landscapes))
        for number in share_of_process(len(landscapes))
    }
    flows, shared = [flow for flow, _ in begun.values()], all(_same(landscapes[0], other) for other in landscapes)
    for flow in flows[1:] if shared else []:
        flow.offers = flows[0].offers
    schedule = Schedule(flows, shared, method, end, progress)
    ended = {k: Result.not_finite for k, (_, finite) in enumerate(begun.values()) if not finite}
    members = [_member(flow, result) for flow, result in zip(flows, schedule.run(ended), strict=True)]
    found = Ensemble(
        members=gathered(dict(zip(begun, members, strict=True)), landscapes, solver),
        parameters=parameters,
        method=method,
        reason=schedule.choice.reason(schedule.workers),
        stops=stops,
        limits=limits,
        solver=solver,
        shared=shared,
    )
    if failures := found.failures:
        number, why = next(iter(failures.items()))
        message = f"{len(failures)} of {len(found)} flows stopped early; number {number} {why}."
        warnings.warn(message, stacklevel=2)
    return found


def _same(landscape: Landscape, other: Landscape) -> bool:
    """Whether two members' landscapes differ in their initial weights alone."""
    return other.program is landscape.program and other.data is landscape.data


def _begun(
    landscape: Landscape, tolerances: tuple[float, float], solver: Any, stops: Any, limits: Limits, members: int
) -> tuple[Integration, bool]:
    """A flow before its first step, and whether it can take one."""
    start = first_record(landscape)
    dt = first_step(start, float(stops[-1]))
    no_sign_changes, directly = SignChangeRecorder(landscape, {}, tolerances), Directly()
    flow = Integration(landscape, tolerances, solver, dt, start, stops, limits, no_sign_changes, directly)
    flow.recorder = HistoryRecorder(start, stops, KEPT_NUMBERS // members)
    return flow, is_finite(start)


def _member(flow: Integration, result: Result) -> Member:
    recorder, outcome = flow.recorder, flow.outcome(result)
    assert isinstance(recorder, HistoryRecorder)
    kept, thetas = recorder.kept()
    ts, energies, losses, speeds, norms = np.ascontiguousarray(recorder.columns().T)
    return Member(
        ts=ts,
        energies=energies,
        losses=losses,
        speeds=speeds,
        norms=norms,
        kept=kept,
        thetas=thetas,
        result=result,
        stats=statistics_of(outcome, flow.landscape, flow.tolerances),
        landscape=flow.landscape,
        solver=flow.solver,
    )
