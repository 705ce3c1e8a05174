"""What an integration has computed, and why it ended."""

import enum
from typing import Any

import diffrax as dfx
import equinox as eqx
import numpy as np

from .sign_changes import SignChanges
from .stepping import Chunk
from .steps import Steps


class Result(enum.Enum):
    """Why a flow ended; the value says it in words."""

    reached_t1 = "t1 reached"
    converged = "converged: the speed fell below the convergence threshold"
    max_steps = "the maximum number of steps was reached"
    diverged = "diverged: the iteration's loss stopped being finite"
    not_finite = "the loss or its gradient stopped being finite, or no step was short enough"
    sliding = "steps shrank without end: the flow slides along a kink, where its field is discontinuous"
    budget = "the wall-clock budget was spent"
    interrupted = "interrupted"

    @property
    def failed(self) -> bool:
        """Whether the flow ended before what was asked for."""
        return self not in (Result.reached_t1, Result.converged)


class Outcome(eqx.Module):
    """What an integration has computed, and why it ended.

    Attributes:
        steps: the recorded steps.
        result: why it ended.
        num_steps: the number of steps tried.
        num_accepted_steps: the number of steps accepted.
        solver: the last solver.
        solver_history: the names of the solvers with the times from which on they integrated.
        reason: why the solver was changed; empty where it was not.
        sign_changes: the sign changes by name.
    """

    steps: Steps
    result: Result
    num_steps: int
    num_accepted_steps: int
    solver: dfx.AbstractSolver[Any]
    solver_history: list[tuple[float, str]]
    reason: str
    sign_changes: dict[str, SignChanges]


def ended(last: Steps, chunk: Chunk, convergence: float | None) -> tuple[Steps, Result | None]:
    """The steps of a call that belong to the flow, and why it is over; `None` to continue.

    Args:
        last: the single record before them.
        chunk: the call's steps.
        convergence: the speed below which the flow has converged; `None`: never.

    Returns:
        The steps, without a last one that is not finite, and the result.
    """
    steps = chunk.steps
    if not chunk.ended:
        return steps, None
    if not (np.isfinite(steps.losses[-1:]).all() and np.isfinite(steps.speeds[-1:]).all()):
        return steps[:-1], Result.not_finite
    before, now = np.concatenate([last.speeds, last.speeds, steps.speeds])[-2:]
    return steps, Result.converged if convergence is not None and now < convergence <= before else Result.not_finite
