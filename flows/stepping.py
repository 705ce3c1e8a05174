"""A bounded number of adaptive steps, compiled once, with loss and speed recorded inside the solve."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .field import GradientFlow
from .solvers import ResumableController

# Steps per compiled call. Between calls the host may stop (budget, Ctrl-C), so a call should last seconds at most;
# each call costs about a millisecond of dispatch.
CHUNK = 128


class Steps(eqx.Module):
    """Accepted steps: time, parameters, dissipated energy, loss and speed at each step's end."""

    ts: Float[np.ndarray, " T"]
    ys: Float[np.ndarray, "T n"]
    energies: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]
    speeds: Float[np.ndarray, " T"]

    def __getitem__(self, index: Any) -> "Steps":
        return jax.tree.map(lambda array: array[index], self)


def join(parts: list[Steps]) -> Steps:
    """Several runs of steps, one after the other."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _record(flow: GradientFlow, state: tuple[Array, Array], data: Any) -> tuple[Array, ...]:
    loss, gradient = flow.value_and_gradient(state[0], data)
    return *state, loss, jnp.linalg.norm(gradient)


@eqx.filter_jit
def observe(flow: GradientFlow, state: tuple[Array, Array], data: Any) -> tuple[Array, ...]:
    """(θ, E, loss, speed) at one state."""
    return _record(flow, state, data)


def parameter_norm(scaled_error: tuple[Array, Array]) -> Array:
    """The norm of θ's error alone: the energy rides along, the flow must not depend on being measured."""
    return jnp.sqrt(jnp.mean(scaled_error[0] ** 2))


class Continuation(eqx.Module):
    """What solver and controller remember from one run of steps to the next."""

    solver: Any
    controller: Any

    @property
    def dt(self) -> float:
        """The step proposed next."""
        return float(self.controller[1])


@eqx.filter_jit
def _begin(flow, solver, state, t0, dt, data):
    terms = dfx.ODETerm(flow)
    one = jnp.ones((), state[0].dtype)
    solver_state = solver.init(terms, t0, t0 + dt, state, data)
    arrays = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, (bool, int, float)) else x, solver_state)
    return Continuation(arrays, ((one, one, jnp.asarray(False)), dt))


def begin(flow: GradientFlow, solver: dfx.AbstractSolver, start: Steps, dt: float, data: Any) -> Continuation:
    """The memory of a solver that starts from the single record `start` with a step of dt."""
    t0 = jnp.asarray(start.ts[-1])
    return _begin(flow, solver, _state(start), t0, jnp.asarray(dt, t0.dtype), data)


def _state(start: Steps) -> tuple[Array, Array]:
    return jnp.asarray(start.ys[-1]), jnp.asarray(start.energies[-1])


@eqx.filter_jit
def _advance(flow, solver, state, t0, t1, memory, rtol, atol, data):
    solution = dfx.diffeqsolve(
        dfx.ODETerm(flow),
        solver,
        t0,
        t1,
        jnp.minimum(memory.controller[1], t1 - t0),
        state,
        args=data,
        saveat=dfx.SaveAt(
            steps=True, fn=lambda t, y, args: _record(flow, y, args), solver_state=True, controller_state=True
        ),
        stepsize_controller=ResumableController(rtol=rtol, atol=atol, norm=parameter_norm),
        solver_state=memory.solver,
        controller_state=memory.controller,
        max_steps=CHUNK,
        throw=False,
    )
    assert solution.ts is not None and solution.ys is not None  # as saveat asks for both
    memory = Continuation(solution.solver_state, solution.controller_state)
    counts = solution.stats["num_steps"], solution.stats["num_accepted_steps"]
    return solution.ts, solution.ys, memory, counts


def step_onto(
    flow: GradientFlow,
    solver: dfx.AbstractSolver,
    start: Steps,
    t: float,
    tolerances: tuple[float, float],
    data: Any,
) -> Steps:
    """The record at time t, stepped onto from the single record `start`; a `FloatingPointError` if no step succeeds."""
    if t <= start.ts[-1]:
        return start
    steps, memory = start, begin(flow, solver, start, t - float(start.ts[-1]), data)
    while steps.ts[-1] < jnp.asarray(t, start.ts.dtype):
        more, _, memory = advance(flow, solver, steps[-1:], t, memory, tolerances, data)
        if len(more.ts) == 0:
            raise FloatingPointError(f"no step from t = {steps.ts[-1]:g} towards {t:g} succeeds.")
        steps = more
    return steps[-1:]


def advance(
    flow: GradientFlow,
    solver: dfx.AbstractSolver,
    start: Steps,
    t1: float,
    memory: Continuation,
    tolerances: tuple[float, float],
    data: Any,
) -> tuple[Steps, int, Continuation]:
    """Takes at most `CHUNK` steps from the single record `start` towards t1.

    **Returns:** the accepted steps (possibly none), the number of steps tried, and the memory to go on with.
    """
    # Arrays, not Python numbers: numbers would be compiled in.
    t0, end = jnp.asarray(start.ts[-1]), jnp.asarray(t1, dtype=start.ts.dtype)
    rtol, atol = (jnp.asarray(value) for value in tolerances)
    ts, ys, memory, (tried, accepted) = _advance(flow, solver, _state(start), t0, end, memory, rtol, atol, data)
    count = int(accepted)
    return Steps(*(np.asarray(array)[:count] for array in (ts, *ys))), int(tried), memory
