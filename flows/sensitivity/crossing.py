"""Differentiable flows: the state at a time, the first passage of a loss level, the dwell time on a plateau."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float

from ..landscapes.landscape import Landscape
from ..landscapes.parameters import unflatten
from .problem import Problem, check_number, known, problem_of, stopped


class Crossing(eqx.Module):
    r"""The state of a flow at a given time or at the first passage of a loss level.

    Attributes:
        time: that time; where it was not reached because t_max came first, t_max, derivative included, so that it is
            $\min(t^*, t_{\max})$ throughout; where the integration failed, the time at which it ended.
        model: the model at `time`.
        reached: whether the time or the level was reached.
        result: Diffrax's result of the integration: successful, event occurred, or why it failed.
    """

    time: Float[Array, ""]
    model: Any
    reached: Bool[Array, ""]
    result: dfx.RESULTS

    def __str__(self) -> str:
        if not known((self.time, self.reached)):
            return "a crossing whose time is traced"
        if bool(self.reached):
            return f"reached at t = {float(self.time):.8g}"
        why = "" if dfx.is_okay(self.result) else f": {dfx.RESULTS[self.result]}"
        return f"not reached by t = {float(self.time):.8g}{why}"


class _Below(eqx.Module):
    """The event's condition, L(θ) − level."""

    landscape: Landscape
    level: Float[Array, ""]

    def __call__(self, t: Any, y: tuple[Array, Array], args: Any, **kwargs: Any) -> Float[Array, ""]:
        # Diffrax compares it with a Python number, so its type must be JAX's default, also for float32 weights in x64.
        return (self.landscape.value(y[0]) - self.level).astype(jnp.result_type(float))


class _Halving(optx.Bisection[Any]):
    """Bisection that stops at a short interval, whereas its parent also bounds the function by the tolerance."""

    def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> tuple[Any, optx.RESULTS]:
        return jnp.abs(state.upper - state.lower) <= self.atol + self.rtol * jnp.abs(y), optx.RESULTS.successful


def flow_map(model: Any, loss: Callable[[Any, Any], Any], data: Any, t1: Any, **options: Any) -> Crossing:
    r"""The flow map of $\dot\theta = -\nabla L(\theta)$: the model at time t1, differentiably.

    The derivative is computed by discretise-then-optimise, with checkpointing: it is that of the computed solution, and
    as accurate. Every floating-point array of `model` and `data` and t1 can be differentiated; other parameters, like
    an initialisation scale or a covariance, by composition: make model or data from them. To avoid a sample in between,
    make `SufficientStatistics` from a covariance (the factor may be a Cholesky factor).

    The vector field must be continuous. Where a ReLU unit crosses a kink, the field and the derivative jump, which
    discretise-then-optimise does not see: for models that declare non-smooth units differentiation raises `ValueError`.
    Outside `jax.jit`, invalid weights, data, losses, tolerances and times raise it as well.

    Args:
        model: the initial model, as for `simulate`.
        loss: scalar function of (model, data).
        data: any PyTree of arrays, integrated as it is.
        t1: end of the time interval [0, t1], positive.
        **options: how to integrate:

            - `solver`: a Diffrax solver with error estimate; Tsit5 by default.
            - `rtol`, `atol`: tolerances per step; by default as in `simulate`.
            - `adjoint`: `diffrax.RecursiveCheckpointAdjoint()` by default, for reverse mode (`jax.grad`);
              `diffrax.ForwardMode()` for forward mode (`jax.jvp`, `jax.jacfwd`). `diffrax.BacksolveAdjoint` raises
              `ValueError`, since gradient flow amplifies errors backwards in time.
            - `max_steps`: number of steps, rejected ones included, after which to stop; 100 000 by default.

    Returns:
        The state at t1.
    """
    check_number("t1", t1, positive=True)
    problem, theta = problem_of(model, loss, data, **options)
    time, theta, result = problem.solve(theta, t1)
    reached = dfx.is_successful(result)
    return Crossing(time=time, model=unflatten(model, theta), reached=reached, result=result)


def crossing_time(
    model: Any, loss: Callable[[Any, Any], Any], data: Any, level: Any, t_max: Any, **options: Any
) -> Crossing:
    r"""The first passage time of a loss level, differentiably: the time of a transition.

    With p any parameter of the flow, $L(\theta(t^*, p), p) = \ell$ gives

    $$\frac{dt^*}{dp} = \frac{d\ell/dp - \partial_p [L(\theta(t, p), p)]_{t = t^*}}{dL/dt}, \qquad
    \frac{dL}{dt} = -\|\nabla L\|^2,$$

    and the model at $t^*$ moves with it. First derivatives only.

    Args:
        model: the initial model, as for `simulate`.
        loss: scalar function of (model, data).
        data: any PyTree of arrays, integrated as it is.
        level: the loss level ℓ.
        t_max: the time at which to give up, positive.
        **options: as for `flow_map`.

    Returns:
        The state at $t^*$. A loss that starts at or below the level reaches it at time 0, with derivative zero.
    """
    check_number("t_max", t_max, positive=True)
    check_number("level", level)
    problem, theta = problem_of(model, loss, data, **options)
    fall = _fall(problem, theta, level, t_max)
    return Crossing(time=fall.time, model=unflatten(model, fall.theta), reached=fall.reached, result=fall.result)


def dwell_time(
    model: Any, loss: Callable[[Any, Any], Any], data: Any, upper: Any, lower: Any, t_max: Any, **options: Any
) -> Crossing:
    r"""The time that the loss takes from one level to a lower one, differentiably.

    With one level slightly below the loss of one plateau and the other slightly below that of the next, it is the dwell
    time on the latter.

    Args:
        model: the initial model, as for `simulate`.
        loss: scalar function of (model, data).
        data: any PyTree of arrays, integrated as it is.
        upper: the upper loss level.
        lower: the lower loss level.
        t_max: the time, from the flow's start, at which to give up, positive.
        **options: as for `flow_map`.

    Returns:
        The state at the lower level, with the dwell time as its `time`. Where `lower` is not reached, that is
        $t_{\max}$ less the passage time of `upper`, and 0 if that is not reached either.

    Raises:
        ValueError: unless upper > lower.
    """
    check_number("t_max", t_max, positive=True)
    check_number("upper", upper)
    check_number("lower", lower)
    if known((upper, lower)) and not upper > lower:
        raise ValueError(f"the loss falls from upper to lower; got upper={upper}, lower={lower}.")
    problem, theta = problem_of(model, loss, data, **options)
    first = _fall(problem, theta, upper, t_max)
    second = _fall(problem, first.theta, lower, t_max - first.time)
    result = dfx.RESULTS.where(first.reached, second.result, first.result)
    reached = first.reached & second.reached
    return Crossing(time=second.time, model=unflatten(model, second.theta), reached=reached, result=result)


class _Fall(NamedTuple):
    time: Float[Array, ""]
    theta: Float[Array, " n"]
    reached: Bool[Array, ""]
    result: dfx.RESULTS


def _fall(problem: Problem, theta: Float[Any, " n"], level: Any, t_max: Any) -> _Fall:
    """Finds the passage on the solver's interpolant, not differentiated; steps onto it; corrects the remainder."""
    landscape, level = problem.landscape, jnp.asarray(level, theta.dtype)
    below = landscape.value(theta) <= level
    end = jnp.where(below, 0.0, jnp.asarray(t_max, theta.dtype))
    frozen = stopped((problem, theta, end))
    # To a few units of rounding, as halving a step costs little beside making it.
    halving = _Halving(rtol=4 * float(jnp.finfo(theta.dtype).eps), atol=0.0, flip=True)
    event = dfx.Event(_Below(frozen[0].landscape, stopped(level)), halving, direction=False)
    time, _, found = frozen[0].solve(*frozen[1:], event)
    time = stopped(time)
    theta, result = problem.solve(theta, time)[1:]
    reached = dfx.is_event(found) & dfx.is_successful(result)

    # The interpolant is less accurate than the steps. An Euler step reduces its error δ to order δ², …
    value, gradient = landscape.value_and_gradient(theta)
    step = stopped(_newton(value, gradient, level, reached))
    theta = theta - step * gradient
    # … a Newton step, whose slope is not differentiated, corrects the remaining error and provides the derivative.
    value, gradient = landscape.value_and_gradient(theta)
    # Where the level is not reached, the derivative is that of t_max.
    late = jnp.where(dfx.is_successful(found), end - stopped(end), 0.0)
    moved = jnp.where(reached, _newton(value, stopped(gradient), level, reached), late)
    # The model moves with the derivative of the time, and its value does not.
    theta = theta - stopped(gradient) * (moved - stopped(moved))
    return _Fall(time=time + step + moved, theta=theta, reached=reached | below, result=found)


def _newton(value: Any, gradient: Any, level: Any, wanted: Array) -> Array:
    """The time in which the loss falls from `value` to `level` at its present rate; 0 where not wanted."""
    rate = jnp.sum(gradient**2)
    wanted = wanted & (rate > 0)
    return jnp.where(wanted, (value - level) / jnp.where(wanted, rate, 1.0), 0.0)
