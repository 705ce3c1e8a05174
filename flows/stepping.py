"""A bounded number of adaptive steps, compiled once, with loss and speed recorded inside the solve."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .field import GradientFlow

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


def _parameter_norm(scaled_error: tuple[Array, Array]) -> Array:
    # The energy rides along without a say in the step length: the flow must not depend on being measured.
    return jnp.sqrt(jnp.mean(scaled_error[0] ** 2))


@eqx.filter_jit
def _advance(flow, solver, state, t0, t1, dt, rtol, atol, data):
    solution = dfx.diffeqsolve(
        dfx.ODETerm(flow),
        solver,
        t0,
        t1,
        dt,
        state,
        args=data,
        saveat=dfx.SaveAt(steps=True, fn=lambda t, y, args: _record(flow, y, args)),
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol, norm=_parameter_norm),
        max_steps=CHUNK,
        throw=False,
    )
    assert solution.ts is not None and solution.ys is not None  # as saveat asks for both
    return solution.ts, solution.ys, solution.stats["num_steps"], solution.stats["num_accepted_steps"]


def advance(
    flow: GradientFlow,
    solver: dfx.AbstractSolver,
    start: Steps,
    t1: float,
    dt: float,
    tolerances: tuple[float, float],
    data: Any,
) -> tuple[Steps, int]:
    """Takes at most `CHUNK` steps from the single record `start` towards t1.

    **Returns:** the accepted steps (possibly none) and the number of steps tried.
    """
    state = (jnp.asarray(start.ys[-1]), jnp.asarray(start.energies[-1]))
    # Arrays, not Python numbers: numbers would be compiled in.
    t0, end = jnp.asarray(start.ts[-1]), jnp.asarray(t1, dtype=start.ts.dtype)
    step = jnp.minimum(jnp.asarray(dt, dtype=start.ts.dtype), end - t0)
    rtol, atol = (jnp.asarray(value) for value in tolerances)
    ts, ys, tried, accepted = _advance(flow, solver, state, t0, end, step, rtol, atol, data)
    count = int(accepted)
    return Steps(*(np.asarray(array)[:count] for array in (ts, *ys))), int(tried)
