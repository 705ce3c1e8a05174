"""The trajectory of an integration that has ended."""

from typing import Any

from ..landscapes.landscape import Landscape
from ..losses.statistics import is_reduced
from .result import Outcome
from .trajectory import Trajectory


def statistics_of(outcome: Outcome, landscape: Landscape, tolerances: tuple[float, float]) -> dict[str, Any]:
    """Numbers of steps, tolerances and solvers, as `Trajectory` holds them."""
    rtol, atol = tolerances
    return {
        "num_steps": outcome.num_steps,
        "num_accepted_steps": outcome.num_accepted_steps,
        "num_rejected_steps": outcome.num_steps - outcome.num_accepted_steps,
        "rtol": rtol,
        "atol": atol,
        "solver_history": outcome.solver_history,
        "reason": outcome.reason,
        "reduced_data": is_reduced(landscape),
    }


def trajectory_of(outcome: Outcome, landscape: Landscape, tolerances: tuple[float, float]) -> Trajectory:
    """The trajectory of what was computed on a landscape at tolerances rtol and atol."""
    return Trajectory(
        steps=outcome.steps,
        result=outcome.result,
        stats=statistics_of(outcome, landscape, tolerances),
        landscape=landscape,
        solver=outcome.solver,
        sign_changes=outcome.sign_changes,
    )
