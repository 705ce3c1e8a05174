"""A bounded number of adaptive steps in one compiled program, with loss and speed recorded beside them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..compilation.traced import compiled
from ..landscapes.landscape import Landscape
from .one_step import Point, Stepper, first_point, stepper_of
from .solver_state import SolverState, fresh_state, strongly_typed
from .steps import FIELDS, Steps

# Steps that one call may take: the program records as many.
CHUNK = 128


class Chunk(NamedTuple):
    """The steps of one call.

    Attributes:
        steps: the accepted steps, possibly none.
        tried: the number of steps tried.
        solver_state: the state to continue with.
        ended: whether the flow is over.
    """

    steps: Steps
    tried: int
    solver_state: SolverState
    ended: bool


class _Loop(eqx.Module):
    """The state of the loop over steps; `records` holds (t, θ, E, L, ‖∇L‖) of the accepted ones."""

    point: Point
    tried: Int[Array, ""]
    accepted: Int[Array, ""]
    records: tuple[Array, ...]

    def after(self, stepper: Stepper) -> "_Loop":
        """The loop after one more step, recorded where it is accepted."""
        point, record, accepted = stepper.step(self.point)
        # A rejected step's record is written beyond the end, that is nowhere.
        row = jnp.where(accepted, self.accepted, CHUNK)
        return _Loop(
            point=point,
            tried=self.tried + 1,
            accepted=self.accepted + accepted,
            records=tuple(
                rows.at[row].set(new.astype(rows.dtype), mode="drop")
                for rows, new in zip(self.records, record, strict=True)
            ),
        )


def _steps(
    landscape: Landscape,
    solver: Any,
    state: Any,
    speed: Any,
    t0: Any,
    t1: Any,
    solver_state: Any,
    tolerances: Any,
    convergence: Any,
    limit: Any,
) -> Any:
    stepper = stepper_of(landscape, solver, t1, tolerances, convergence)
    point = first_point(landscape, solver, state, speed, t0, solver_state, tolerances)
    rows = lambda like: jnp.zeros((CHUNK, *like.shape), like.dtype)  # noqa: E731
    none = jnp.asarray(0)
    first = _Loop(point=point, tried=none, accepted=none, records=(*map(rows, (t0, *state, speed, speed)),))
    more = lambda loop: stepper.continues(loop.point) & (loop.tried < limit)  # noqa: E731
    # JAX hashes a loop's functions, which a method that holds arrays does not allow.
    last = jax.lax.while_loop(more, lambda loop: loop.after(stepper), first)
    return last.records, strongly_typed(last.point.solver_state), (last.tried, last.accepted, last.point.ended)


_advance = compiled(_steps)
# For so many flows that running takes longer than compiling, also on small landscapes.
advance_optimised: Callable[..., Any] = eqx.filter_jit(_steps)


def step_onto(
    landscape: Landscape, solver: dfx.AbstractSolver[Any], start: Steps, t: float, tolerances: tuple[float, float]
) -> Steps:
    """Steps onto a time from a single record.

    Args:
        landscape: the landscape to integrate on.
        solver: a Diffrax solver.
        start: the single record to start from.
        t: the time to step onto; `start` is returned where it is not later.
        tolerances: rtol and atol.

    Returns:
        The single record at time t.

    Raises:
        FloatingPointError: when no step succeeds.
    """
    if t <= start.ts[-1]:
        return start
    solver_state = fresh_state(landscape, solver, start, t - float(start.ts[-1]), tolerances)
    while start.ts[-1] < np.asarray(t, start.ts.dtype):
        chunk = advance(landscape, solver, start, t, solver_state, tolerances)
        if chunk.ended or len(chunk.steps) == 0:
            raise FloatingPointError(f"no step from t = {start.ts[-1]:g} towards {t:g} succeeds.")
        start, solver_state = chunk.steps[-1:], chunk.solver_state
    return start


def advance(
    landscape: Landscape,
    solver: dfx.AbstractSolver[Any],
    start: Steps,
    t1: float,
    solver_state: SolverState,
    tolerances: tuple[float, float],
    convergence: float | None = None,
    limit: int = CHUNK,
    program: Callable[..., Any] = _advance,
) -> Chunk:
    """Takes a bounded number of steps from a single record towards t1.

    Args:
        landscape: the landscape to integrate on.
        solver: a Diffrax solver.
        start: the single record to start from.
        t1: the time to stop at.
        solver_state: what solver and controller remember, or a `fresh_state`.
        tolerances: rtol and atol.
        convergence: the speed below which the flow is over once it has been above; `None`: never.
        limit: the number of steps to try, at most `CHUNK`.
        program: the compiled function; by default of quick compilation on small landscapes.

    Returns:
        The steps. The flow is over (`ended`) after a step at which loss or speed are not finite, which is then the
        last accepted one, when the speed has converged, and when solver or controller fail.
    """
    dtype = start.ts.dtype
    # Arrays, not Python numbers: numbers would be compiled in.
    speed, t0, end = (np.asarray(number, dtype) for number in (start.speeds[-1], start.ts[-1], t1))
    threshold = np.asarray(-np.inf if convergence is None else convergence, dtype)
    state, pair = (start.thetas[-1], start.energies[-1]), np.asarray(tolerances, dtype)
    records, solver_state, counts = program(
        landscape, solver, state, speed, t0, end, solver_state, pair, threshold, np.asarray(limit)
    )
    tried, accepted, ended = (int(count) for count in counts)
    columns = [np.array(np.asarray(rows)[:accepted]) for rows in records]
    steps = Steps(**dict(zip(FIELDS, columns, strict=True)))
    return Chunk(steps=steps, tried=tried, solver_state=solver_state, ended=bool(ended))
