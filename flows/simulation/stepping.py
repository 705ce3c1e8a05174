"""A bounded number of adaptive steps in one compiled program, with loss and speed recorded beside them."""

from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..compilation.traced import compiled
from ..landscapes.field import GradientFlow
from ..landscapes.landscape import Landscape
from .solver_state import SolverState, controller_of, fresh_state, initial_state, strongly_typed, with_tolerances
from .steps import FIELDS, Steps

# Steps that one call may take: the program records as many.
CHUNK = 128
# A step that would end this many units of rounding before the end, or later, ends there (Diffrax's number).
CLOSE = 100


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

    t: Float[Array, ""]
    state: tuple[Array, Array]
    speed: Float[Array, ""]
    solver_state: SolverState
    tried: Int[Array, ""]
    accepted: Int[Array, ""]
    ended: Bool[Array, ""]
    records: tuple[Array, ...]


@compiled
def _advance(
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
    terms, controller = dfx.ODETerm(GradientFlow(landscape)), controller_of(tolerances)
    solver_state = jax.lax.cond(
        solver_state.fresh,
        lambda: initial_state(landscape, solver, state, t0, solver_state.end, tolerances),
        lambda: solver_state,
    )
    solver = with_tolerances(solver, controller)
    near = t1 - CLOSE * jnp.finfo(t1.dtype).eps * jnp.abs(t1)

    def step(loop: _Loop) -> _Loop:
        old, end = loop.solver_state, loop.solver_state.end
        end = jnp.where(end > near, jnp.where(old.accepted, t1, loop.t + 0.5 * (t1 - loop.t)), end)
        y, error, _, new_solver, outcome = solver.step(terms, loop.t, end, loop.state, None, old.solver, False)
        error = jax.tree.map(lambda x: jnp.where(jnp.isnan(x), jnp.inf, x), error)
        accepted, t, next_end, _, new_controller, failure = controller.adapt_step_size(
            loop.t, end, loop.state, y, None, error, solver.error_order(terms), old.controller
        )
        y, new_solver = _where(accepted, (y, new_solver), (loop.state, old.solver))
        new = SolverState(
            solver=new_solver, controller=new_controller, end=next_end, accepted=accepted, fresh=old.fresh
        )
        value, gradient = landscape.value_and_gradient(y[0])
        speed = jnp.linalg.norm(gradient)
        over = (speed < convergence) & (loop.speed >= convergence) | ~jnp.isfinite(value) | ~jnp.isfinite(speed)
        ended = accepted & (over | (outcome != dfx.RESULTS.successful)) | (failure != dfx.RESULTS.successful)
        # A rejected step's record is written beyond the end, that is nowhere.
        row = jnp.where(accepted, loop.accepted, CHUNK)
        records = tuple(
            rows.at[row].set(new, mode="drop") for rows, new in zip(loop.records, (t, *y, value, speed), strict=True)
        )
        return _Loop(
            t=t,
            state=y,
            speed=speed,
            solver_state=new,
            tried=loop.tried + 1,
            accepted=loop.accepted + accepted,
            ended=ended,
            records=records,
        )

    rows = lambda like: jnp.zeros((CHUNK, *like.shape), like.dtype)  # noqa: E731
    # The first step has the length that was proposed, also where the former end cut it short.
    first = _Loop(
        t=t0,
        state=state,
        speed=speed,
        solver_state=solver_state,
        tried=jnp.asarray(0),
        accepted=jnp.asarray(0),
        ended=jnp.asarray(False),
        records=(*map(rows, (t0, *state, speed, speed)),),
    )
    last = jax.lax.while_loop(lambda loop: (loop.t < t1) & (loop.tried < limit) & ~loop.ended, step, first)
    return last.records, strongly_typed(last.solver_state), (last.tried, last.accepted, last.ended)


def _where(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


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

    Returns:
        The steps. The flow is over (`ended`) after a step at which loss or speed are not finite, which is then the
        last accepted one, when the speed has converged, and when solver or controller fail.
    """
    dtype = start.ts.dtype
    # Arrays, not Python numbers: numbers would be compiled in.
    speed, t0, end = (np.asarray(number, dtype) for number in (start.speeds[-1], start.ts[-1], t1))
    threshold = np.asarray(-np.inf if convergence is None else convergence, dtype)
    state, pair = (start.thetas[-1], start.energies[-1]), np.asarray(tolerances, dtype)
    records, solver_state, counts = _advance(
        landscape, solver, state, speed, t0, end, solver_state, pair, threshold, np.asarray(limit)
    )
    tried, accepted, ended = (int(count) for count in counts)
    columns = [np.array(np.asarray(rows)[:accepted]) for rows in records]
    steps = Steps(**dict(zip(FIELDS, columns, strict=True)))
    return Chunk(steps=steps, tried=tried, solver_state=solver_state, ended=bool(ended))
