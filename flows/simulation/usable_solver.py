"""Which solvers can integrate a flow."""

from typing import Any

import diffrax as dfx

from ...models.arguments import quoted


def check_solver(solver: Any) -> None:
    """Checks that a solver can choose its steps.

    Args:
        solver: a solver of Diffrax's, or `None`.

    Raises:
        ValueError: when it is no solver, or has no estimate of its error.
    """
    if solver is None:
        return
    if isinstance(solver, type):
        raise ValueError(f"the solver must be an instance: {solver.__name__}() instead of {solver.__name__}.")
    if not isinstance(solver, dfx.AbstractSolver):
        raise ValueError(f"the solver must be one of Diffrax's or of saddlescope's; got {quoted(solver)}.")
    if not isinstance(solver, dfx.AbstractAdaptiveSolver) or isinstance(solver, dfx.AbstractSRK):
        raise ValueError(
            f"the solver must solve ordinary differential equations and estimate its error; got {quoted(solver)}. "
            "Use diffrax.Tsit5() for example, or leave the choice to simulate."
        )
