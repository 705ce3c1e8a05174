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
from ..solvers.controller import ResumableController
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


class _Stepper(eqx.Module):
    """What every step of a call needs; `near` is the first time that is too close to t1 to end a step at."""

    landscape: Landscape
    terms: Any
    solver: Any
    controller: ResumableController
    t1: Float[Array, ""]
    near: Float[Array, ""]
    convergence: Float[Array, ""]

    def step(self, loop: _Loop) -> _Loop:
        """Tries a step and records it where it is accepted."""
        t, state, solver_state, failed = self._tried(loop)
        accepted = solver_state.accepted
        value, gradient = self.landscape.value_and_gradient(state[0])
        speed = jnp.linalg.norm(gradient)
        converged = (speed < self.convergence) & (loop.speed >= self.convergence)
        over = converged | ~jnp.isfinite(value) | ~jnp.isfinite(speed)
        # A rejected step's record is written beyond the end, that is nowhere.
        row = jnp.where(accepted, loop.accepted, CHUNK)
        record = (t, *state, value, speed)
        return _Loop(
            t=t,
            state=state,
            speed=speed,
            solver_state=solver_state,
            tried=loop.tried + 1,
            accepted=loop.accepted + accepted,
            ended=accepted & over | failed,
            records=tuple(rows.at[row].set(new, mode="drop") for rows, new in zip(loop.records, record, strict=True)),
        )

    def _tried(self, loop: _Loop) -> tuple[Array, tuple[Array, Array], SolverState, Bool[Array, ""]]:
        """Time, (θ, E) and solver state after a step, those before it if it is rejected; whether the flow fails."""
        old, end = loop.solver_state, loop.solver_state.end
        end = jnp.where(end > self.near, jnp.where(old.accepted, self.t1, loop.t + 0.5 * (self.t1 - loop.t)), end)
        y, error, _, solver, outcome = self.solver.step(self.terms, loop.t, end, loop.state, None, old.solver, False)
        error = jax.tree.map(lambda x: jnp.where(jnp.isnan(x), jnp.inf, x), error)
        order = self.solver.error_order(self.terms)
        accepted, t, next_end, _, controller, failure = self.controller.adapt_step_size(
            loop.t, end, loop.state, y, None, error, order, old.controller
        )
        y, solver = _where(accepted, (y, solver), (loop.state, old.solver))
        new = SolverState(solver=solver, controller=controller, end=next_end, accepted=accepted, fresh=old.fresh)
        failed = accepted & (outcome != dfx.RESULTS.successful) | (failure != dfx.RESULTS.successful)
        return t, y, new, failed


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
    controller = controller_of(tolerances)
    solver_state = jax.lax.cond(
        solver_state.fresh,
        lambda: initial_state(landscape, solver, state, t0, solver_state.end, tolerances),
        lambda: solver_state,
    )
    stepper = _Stepper(
        landscape=landscape,
        terms=dfx.ODETerm(GradientFlow(landscape)),
        solver=with_tolerances(solver, controller),
        controller=controller,
        t1=t1,
        near=t1 - CLOSE * jnp.finfo(t1.dtype).eps * jnp.abs(t1),
        convergence=convergence,
    )
    # The first step has the length that was proposed, also where the former end cut it short.
    first = _begin(state, speed, t0, solver_state)
    more = lambda loop: (loop.t < t1) & (loop.tried < limit) & ~loop.ended  # noqa: E731
    # JAX hashes a loop's functions, which a method that holds arrays does not allow.
    last = jax.lax.while_loop(more, lambda loop: stepper.step(loop), first)
    return last.records, strongly_typed(last.solver_state), (last.tried, last.accepted, last.ended)


def _begin(state: tuple[Array, Array], speed: Array, t0: Array, solver_state: SolverState) -> _Loop:
    """The loop before the first step of a call."""
    rows = lambda like: jnp.zeros((CHUNK, *like.shape), like.dtype)  # noqa: E731
    return _Loop(
        t=t0,
        state=state,
        speed=speed,
        solver_state=solver_state,
        tried=jnp.asarray(0),
        accepted=jnp.asarray(0),
        ended=jnp.asarray(False),
        records=(*map(rows, (t0, *state, speed, speed)),),
    )


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
