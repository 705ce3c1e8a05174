"""Solvers that run compiled: Diffrax solvers on the flat parameters, and fixed steps.

Each is a function (problem, rtol, atol) to `Work`. Diffrax solvers run under `PIDController(rtol, atol)`; explicit ones
step onto the problem's times, the others use their own dense output.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows.solvers import RKC2

from .problems import Problem
from .timing import clock

MAX_STEPS = 200_000
# Seconds after which a run is given up. A run that is certain to take longer is not started.
LIMIT = 30.0
# How programs are compiled: timed are optimised ones, where a comparison of numbers alone has no use for that.
COMPILED: Callable[..., Any] = jax.jit
# Gradients in one timed loop, long beside the call, and loops, the shortest of which counts.
TIMED_GRADIENTS, TIMED_LOOPS = 20, 3


class Work(NamedTuple):
    """What a run yields.

    Attributes:
        states: parameters at the problem's times; `None` for a failure.
        steps: steps tried; -1 where the solver does not tell.
        gradients: number of gradients; `None` where it is not known. So are the next two.
        products: number of Hessian–vector products.
        hessians: number of dense Hessians.
    """

    states: np.ndarray | None
    steps: int
    gradients: int | None
    products: int | None = 0
    hessians: int | None = 0


class PlainField(eqx.Module):
    """The field −∇L without the energy that `simulate` integrates beside it, and its Jacobian."""

    landscape: Any
    hessian: Any = None

    def __call__(self, t, theta, args):
        return -self.landscape.gradient(theta)

    def jacobian(self, t, theta, args):
        return -self.hessian(theta)


_PREPARED: dict[tuple[Callable, str], Any] = {}


def prepared(make: Callable[[Problem], Any], problem: Problem) -> Any:
    """What `make` makes of the problem, made once per problem: preparations are not part of a run."""
    key = make, problem.name
    if key not in _PREPARED:
        _PREPARED[key] = make(problem)
    return _PREPARED[key]


def with_diffrax(
    make: Callable[[Problem], dfx.AbstractSolver], count: Callable[[Any, int], dict], explicit: bool = False
) -> Callable[[Problem, float, float], Work]:
    """A Diffrax solver.

    Args:
        make: from the problem to the solver.
        count: from solver state and number of steps to the numbers of gradients, products and Hessians, by name.
        explicit: whether it is an explicit method, which steps onto the times and is not started where its stability
            limit makes it too slow.
    """

    def program(problem):
        return _called(make(problem), explicit, problem)

    def run(problem, rtol, atol):
        if explicit:
            require_within_limit(problem, prepared(least_gradients, problem))
        states, steps, good, memory = prepared(program, problem)(np.asarray(rtol), np.asarray(atol), problem.times)
        return Work(np.asarray(states) if good else None, int(steps), **count(memory, int(steps)))

    return run


def _called(solver, explicit, problem):
    """The compiled solve of a problem as a function of rtol, atol and times, with its arrays on the device already.

    Plain `jax.jit`, whose calls from Python cost the least, as for the gradients that other libraries call.
    """
    arrays, static = eqx.partition((problem.landscape, problem.theta, solver), eqx.is_array)
    arrays = jax.device_put(arrays)

    @COMPILED
    def of_arrays(arrays, rtol, atol, times):
        solution = _solve(*eqx.combine(arrays, static), rtol, atol, times, explicit)
        good = solution.result == dfx.RESULTS.successful
        return solution.ys, solution.stats["num_steps"], good, eqx.filter(solution.solver_state, eqx.is_array)

    return lambda rtol, atol, times: of_arrays(arrays, rtol, atol, times)


def _solve(landscape, theta, solver, rtol, atol, times, onto):
    controller: Any = dfx.PIDController(rtol=rtol, atol=atol)
    if onto:
        controller = dfx.ClipStepSizeController(controller, step_ts=times)
    return dfx.diffeqsolve(
        dfx.ODETerm(PlainField(landscape)),
        solver,
        0.0,
        times[-1],
        1e-3,
        theta,
        saveat=dfx.SaveAt(ts=times, solver_state=True),
        stepsize_controller=controller,
        max_steps=MAX_STEPS,
        throw=False,
    )


def count_stabilised(state, steps):
    """The work of RKC2 and ExtrapolatedRKC."""
    return {"gradients": int(state.evaluations), "products": int(state.spectrum.products)}


with_rkc2 = with_diffrax(lambda problem: RKC2(), count_stabilised)


def least_gradients(problem):
    """A lower bound for explicit methods: their real stability interval is at most as long as their evaluations."""
    return problem.t1 * prepared(_sharpness, problem)


def require_within_limit(problem, gradients):
    """Raises `TimeoutError` if that many gradients take longer than `LIMIT`."""
    seconds = gradients * prepared(_gradient_seconds, problem)
    if seconds > LIMIT:
        raise TimeoutError(f"not begun: at least {gradients:.2g} gradients, {seconds:.2g} s")


def _gradient_seconds(problem):
    """Seconds of a gradient within compiled code."""

    def loop():
        counts = jnp.asarray([TIMED_GRADIENTS])
        return jax.block_until_ready(_fixed(problem.landscape, problem.theta, jnp.asarray(0.0), counts, 1))

    return min(clock(loop)[1] for _ in range(TIMED_LOOPS)) / TIMED_GRADIENTS


def _sharpness(problem):
    """The larger sharpness of the flow's start and end; of its start, where the end takes minutes to find."""
    start = float(problem.landscape.sharpness(problem.theta))
    if "RKC2" in problem.without:
        return start
    whole = problem._replace(times=problem.t1 * np.linspace(0, 1, len(problem.times) + 1)[1:])
    end = with_rkc2(whole, 1e-3, 1e-6).states
    return start if end is None else max(start, float(problem.landscape.sharpness(end[-1])))


def with_fixed_steps(order: int) -> Callable[[Problem, float, float], Work]:
    """Gradient descent (order 1) or the classical Runge–Kutta method (4), as often used in the field.

    The step is rtol^(1/order) / sharpness, with the larger sharpness of the flow's start and end.
    """

    def run(problem, rtol, atol):
        sharpness = prepared(_sharpness, problem)
        step = min(rtol ** (1 / order), 1.0) / sharpness
        counts = np.maximum(np.diff(np.concatenate([[0.0], problem.times])) / step, 1).round().astype(int)
        total = int(counts.sum())
        require_within_limit(problem, order * total)
        states = _fixed(problem.landscape, problem.theta, jnp.asarray(step), jnp.asarray(counts), order)
        return Work(np.asarray(states), total, order * total)

    return run


@eqx.filter_jit
def _fixed(landscape, start, step, counts, order):
    """The states after each number of further steps."""
    field = PlainField(landscape)

    def advance(_, theta):
        f = lambda y: field(0.0, y, None)  # noqa: E731
        a = f(theta)
        if order == 1:
            return theta + step * a
        b = f(theta + step / 2 * a)
        c = f(theta + step / 2 * b)
        return theta + step / 6 * (a + 2 * b + 2 * c + f(theta + step * c))

    def segment(theta, count):
        theta = jax.lax.fori_loop(0, count, advance, theta)
        return theta, theta

    return jax.lax.scan(segment, start, counts)[1]
