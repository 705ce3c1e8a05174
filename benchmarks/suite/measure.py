"""References, errors, and the work and time of a solver on a problem."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from saddlescope.flows.curvature.hessian import hessian_of
from saddlescope.flows.simulation.tolerances import default_atol

from .problems import PROBLEMS, with_times
from .solvers import OURS, PEERS
from .timing import clock, median_seconds

# Fractions of the loss's drop at which transition times are compared.
FRACTIONS = (0.75, 0.25, 0.05)
# Seconds: a run that took longer is timed only once; the others this number of times more.
LONG, ROUNDS = 0.5, 4
# Timed calls of a gradient, a product and a Hessian, of which the median counts.
CALLS = 9


def observed(problem, states):
    """Loss and speed at every state."""
    pairs = [problem.landscape.value_and_gradient(theta) for theta in states]
    return np.array([(loss, np.linalg.norm(gradient)) for loss, gradient in pairs]).T


def transition_times(problem, solve):
    """The times at which the reference's loss falls through the fractions of its drop, by bisection."""
    grid = np.geomspace(1e-3 * problem.t1, problem.t1, 200)
    start = observed(problem, [problem.theta])[0][0]
    for _ in range(3):
        losses, _ = observed(problem, solve(problem._replace(times=grid)))
        levels = losses[-1] + np.array(FRACTIONS) * (start - losses[-1])
        after = np.array([np.argmax(losses < level) for level in levels])
        # Each bracket is filled with points; three rounds resolve a thousandth of a ten-thousandth.
        brackets = [np.linspace(grid[max(i - 1, 0)], grid[i], 40) for i in after if i > 0]
        grid = np.unique(np.concatenate([*brackets, [problem.t1]]))
    return np.unique([grid[max(i, 0)] for i in (np.searchsorted(-losses, -level) for level in levels)])


def reference(name):
    """The problem with its comparison times, the states there, and how well a second method agrees."""
    problem = with_times(PROBLEMS[name]())
    atol = partial(default_atol, np.asarray(problem.theta))
    if name in ("tanh", "softplus-33", "softplus-601"):
        first, second, rtol = OURS["BDF" if name == "softplus-601" else "Rodas5P"], OURS["BDF"], 1e-10
    elif name == "wide":
        first, second, rtol = OURS["ExtrapolatedRKC"], OURS["KrylovRosenbrock 5"], 1e-8
    else:
        first, second, rtol = PEERS["Dopri8"], PEERS["Tsit5"], 1e-12
    problem = with_times(problem, transition_times(problem, lambda p: first(p, 1e-7, atol(1e-7)).states))
    states = first(problem, rtol, atol(rtol)).states
    other = second(problem, 10 * rtol, atol(10 * rtol)).states
    return problem, states, distance(other, states)


def distance(states, expected):
    """The largest relative distance over the times."""
    return float(np.max(np.linalg.norm(states - expected, axis=1) / np.linalg.norm(expected, axis=1)))


def shift(problem, states, expected):
    """The largest relative error of a time at which a loss is passed: the loss's error over its slope."""
    losses, speeds = observed(problem, expected)
    found, _ = observed(problem, states)
    drop = losses[0] - losses[-1]
    steep = speeds**2 * problem.times > 0.05 * drop
    shifts = np.abs(found - losses) / speeds**2 / problem.times
    return float(np.max(shifts[steep])) if np.any(steep) else float("nan")


def measure(problem, expected, solve):
    """A row: errors, work, and the seconds of compilation and of the first run; `solve`: a function of the problem."""
    # A millionth of the flow compiles all that the whole needs.
    _, compilation = clock(lambda: solve(problem._replace(times=1e-6 * problem.times)))
    work, seconds = clock(lambda: solve(problem))
    row = {"steps": work.steps, "seconds": seconds, "compile": compilation}
    row |= {"gradients": work.gradients, "products": work.products, "hessians": work.hessians, "error": None}
    if work.states is not None:
        row |= {"error": distance(work.states, expected), "shift": shift(problem, work.states, expected)}
    return row


def repeat(problem, rows):
    """Times every short run again and keeps the shortest: in rounds, so that other load meets all solvers alike.

    Args:
        problem: the flow.
        rows: pairs of a function of the problem and its row, whose seconds are replaced.
    """
    for _ in range(ROUNDS):
        for solve, row in rows:
            if row.get("seconds") and row["seconds"] < LONG:
                row["seconds"] = min(row["seconds"], clock(partial(solve, problem))[1])


def cost_ratios(problem):
    """Wall time of a Hessian–vector product and of a Hessian over that of a gradient."""
    theta, landscape = jnp.asarray(problem.theta), jax.device_put(problem.landscape)
    gradient = eqx.filter_jit(landscape.gradient)
    product = eqx.filter_jit(landscape.hessian_product)
    calls = [lambda: gradient(theta), lambda: product(theta, theta)]
    if problem.dense:
        hessian = eqx.filter_jit(hessian_of(landscape))
        calls.append(lambda: hessian(theta))
    seconds = [median_seconds(call, CALLS) for call in calls]
    return {"product": seconds[1] / seconds[0], "hessian": seconds[2] / seconds[0] if problem.dense else 0.0}
