"""Derivatives of a flow: of where it is, of when its loss falls to a level, of how long it dwells on a plateau."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float

from ..landscapes.landscape import Landscape, unflatten
from .problem import Problem, check_number, known, problem_of, stopped


class Crossing(eqx.Module):
    r"""Where a flow came by: at a time, or at a level of its loss.

    - `time`: that time; where the flow did not get there, the time at which it ended.
    - `model`: the model at `time`.
    - `reached`: whether the flow got there. Where it did not because t_max came first, `time` is t_max, derivative
      included, so that it is $\min(t^*, t_{\max})$ throughout.
    - `result`: Diffrax's word on the integration: successful, event occurred, or why it failed.
    """

    time: Float[Array, ""]
    model: Any
    reached: Bool[Array, ""]
    result: dfx.RESULTS


class _Below(eqx.Module):
    """The event's condition, L(θ) − level."""

    landscape: Landscape
    level: Float[Array, ""]

    def __call__(self, t: Any, y: tuple[Array, Array], args: Any, **kwargs: Any) -> Float[Array, ""]:
        # Diffrax compares it with a Python number, so its type must be JAX's default, also for float32 weights in x64.
        return (self.landscape.value(y[0]) - self.level).astype(jnp.result_type(float))


class _Halving(optx.Bisection):
    """Bisection that stops at a short interval; its parent also wants the function below the same tolerance."""

    def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> tuple[Any, optx.RESULTS]:
        return jnp.abs(state.upper - state.lower) <= self.atol + self.rtol * jnp.abs(y), optx.RESULTS.successful


def flow_map(model: Any, loss: Callable[[Any, Any], Any], data: Any, t1: Any, **options: Any) -> Crossing:
    r"""The model that gradient flow $\dot\theta = -\nabla L(\theta)$ makes of a model by time t1, differentiably.

    The steps themselves are differentiated, with checkpoints, so that the derivative is that of the computed solution
    and as accurate as that. Every floating-point array of `model` and `data` and t1 can be differentiated; a parameter
    of anything else, like an initialisation scale or a covariance, by composition: make model or data from it. To have
    no sample in between, make `SufficientStatistics` from it (its factor may be a Cholesky factor).

    The vector field must be continuous. Where a ReLU unit crosses a kink it jumps, and with it the derivative, which
    differentiated steps do not see: models that declare units that are not smooth have values only.

    **Arguments:**

    - `model`, `loss`, `data`: as for `simulate`; the data are integrated as they are.
    - `t1`: end of the time interval [0, t1], positive.
    - `solver`: a Diffrax solver with error estimate; Tsit5 by default.
    - `rtol`, `atol`: tolerances; by default as in `simulate`.
    - `adjoint`: `diffrax.RecursiveCheckpointAdjoint()` by default, for reverse mode (`jax.grad`); for forward mode
      (`jax.jvp`, `jax.jacfwd`) give `diffrax.ForwardMode()`. The backsolve adjoint is refused: backwards in time,
      gradient flow amplifies errors.
    - `max_steps`: number of steps, rejected ones included, after which to stop; 100 000 by default.

    **Returns:** a `Crossing`.

    **Raises:** `ValueError` for weights, data, loss, tolerances or times that make no sense (where their values are
    known, that is outside `jax.jit`), and on differentiation for models whose units are not smooth.
    """
    check_number("t1", t1, positive=True)
    problem, theta = problem_of(model, loss, data, **options)
    time, theta, result = problem.solve(theta, t1)
    return Crossing(time, unflatten(model, theta), dfx.is_successful(result), result)


def crossing_time(
    model: Any, loss: Callable[[Any, Any], Any], data: Any, level: Any, t_max: Any, **options: Any
) -> Crossing:
    r"""The first time at which the loss falls to a level, differentiably: the time of a transition.

    With p anything that the flow depends on, $L(\theta(t^*, p), p) = \ell$ gives

    $$\frac{dt^*}{dp} = \frac{d\ell/dp - \partial_p [L(\theta(t, p), p)]_{t = t^*}}{dL/dt}, \qquad
    \frac{dL}{dt} = -\|\nabla L\|^2,$$

    and the model at $t^*$ moves with it. First derivatives only.

    **Arguments:** `level`: ℓ; `t_max`: when to give up, positive; all others as for `flow_map`.

    **Returns:** a `Crossing` at $t^*$. A loss that starts at or below the level is there at time 0, for good, with
    derivative zero.

    **Raises:** `ValueError` as `flow_map` does.
    """
    check_number("t_max", t_max, positive=True)
    check_number("level", level)
    problem, theta = problem_of(model, loss, data, **options)
    fall = _fall(problem, theta, level, t_max)
    return Crossing(fall.time, unflatten(model, fall.theta), fall.reached, fall.result)


def dwell_time(
    model: Any, loss: Callable[[Any, Any], Any], data: Any, upper: Any, lower: Any, t_max: Any, **options: Any
) -> Crossing:
    r"""The time that the loss takes from one level to a lower one, differentiably.

    With levels a little below one plateau's loss and a little below the next one's, it is how long the flow dwells on
    the latter.

    **Arguments:** `upper`, `lower`: the levels; `t_max`: when to give up, since the flow's start; all others as for
    `flow_map`.

    **Returns:** a `Crossing` at the lower level whose `time` is the dwell time. Where `lower` is not reached, that is
    $t_{\max}$ less the time of `upper`, and 0 if that is not reached either.

    **Raises:** `ValueError` as `flow_map` does, and unless upper > lower.
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
    return Crossing(second.time, unflatten(model, second.theta), first.reached & second.reached, result)


class _Fall(NamedTuple):
    time: Float[Array, ""]
    theta: Float[Array, " n"]
    reached: Bool[Array, ""]
    result: dfx.RESULTS


def _fall(problem: Problem, theta: Float[Array, " n"], level: Any, t_max: Any) -> _Fall:
    """Finds the crossing on the solver's interpolant, not differentiated; goes there by steps; corrects the rest."""
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

    # The interpolant is less accurate than the steps. An Euler step removes its error δ to order δ², …
    value, gradient = landscape.value_and_gradient(theta)
    step = stopped(_newton(value, gradient, level, reached))
    theta = theta - step * gradient
    # … a Newton step corrects the time for what is left and gives it its derivative, as its slope has none.
    value, gradient = landscape.value_and_gradient(theta)
    # Without crossing, the time has that of t_max.
    late = jnp.where(dfx.is_successful(found), end - stopped(end), 0.0)
    moved = jnp.where(reached, _newton(value, stopped(gradient), level, reached), late)
    # The model moves as the time does, by its derivative and otherwise not at all.
    theta = theta - stopped(gradient) * (moved - stopped(moved))
    return _Fall(time + step + moved, theta, reached | below, found)


def _newton(value: Array, gradient: Array, level: Array, wanted: Array) -> Array:
    """The time in which the loss falls from `value` to `level` at its present rate; 0 where not wanted."""
    rate = jnp.sum(gradient**2)
    wanted = wanted & (rate > 0)
    return jnp.where(wanted, (value - level) / jnp.where(wanted, rate, 1.0), 0.0)
