"""Every solver behind one signature: (problem, rtol, atol) to states at the problem's times, and the work done.

Diffrax solvers run compiled on the flat parameters, with `PIDController(rtol, atol)`; explicit ones step onto the
times, the others use their own dense output. SciPy's and SUNDIALS' solvers, and torchdiffeq, call the same compiled
gradient, and Hessian where they take one, from Python. Threads are whatever JAX and BLAS use, the same for all.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from saddlescope.flows.curvature.hessian import hessian_of
from saddlescope.flows.solver_choice.choose import first_choice
from saddlescope.flows.solvers import BDF, RKC2, ExponentialRosenbrock, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P
from saddlescope.flows.solvers.kvaerno import kvaerno5

from problems import Problem

MAX_STEPS = 200_000
# Seconds after which a run is given up. Where that is certain, it is not begun.
LIMIT = 30.0


class Work(NamedTuple):
    """States at the times (`None` for a failure), steps tried, gradients, products and Hessians (`None`: not known)."""

    states: np.ndarray | None
    steps: int
    gradients: int | None
    products: int | None = 0
    hessians: int | None = 0


class Plain(eqx.Module):
    """The flow without its energy, and the Jacobian of that."""

    landscape: Any
    hessian: Any = None

    def __call__(self, t, theta, args):
        return -self.landscape.gradient(theta)

    def jacobian(self, t, theta, args):
        return -self.hessian(theta)


@eqx.filter_jit
def _solve(landscape, theta, solver, rtol, atol, times, onto):
    controller: Any = dfx.PIDController(rtol=rtol, atol=atol)
    if onto:
        controller = dfx.ClipStepSizeController(controller, step_ts=times)
    return dfx.diffeqsolve(
        dfx.ODETerm(Plain(landscape)),
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


def with_diffrax(
    make: Callable[[Problem], dfx.AbstractSolver], count: Callable[[Any, int], dict], explicit: bool = False
):
    """A Diffrax solver; `count`: from solver state and number of steps to gradients, products, Hessians."""

    def run(problem, rtol, atol):
        solver = _made(make, problem)
        if explicit:
            _refuse_beyond_limit(problem, _made(_least_gradients, problem))
        numbers = jnp.asarray(rtol), jnp.asarray(atol), jnp.asarray(problem.times)
        solution = _solve(problem.landscape, problem.theta, solver, *numbers, explicit)
        steps = int(solution.stats["num_steps"])
        good = bool(solution.result == dfx.RESULTS.successful)
        return Work(np.asarray(solution.ys) if good else None, steps, **count(solution.solver_state, steps))

    return run


def _least_gradients(problem):
    """What explicit methods need at least: their real intervals of stability are no longer than their evaluations."""
    return problem.t1 * _made(_sharpness, problem)


def _refuse_beyond_limit(problem, gradients):
    seconds = gradients * _made(_gradient_seconds, problem)
    if seconds > LIMIT:
        raise TimeoutError(f"not begun: at least {gradients:.2g} gradients, {seconds:.2g} s")


def _gradient_seconds(problem):
    """Of a gradient within compiled code."""
    count = 20

    def timed():
        began = time.perf_counter()
        jax.block_until_ready(_fixed(problem.landscape, problem.theta, jnp.asarray(0.0), jnp.asarray([count]), 1))
        return time.perf_counter() - began

    return min(timed() for _ in range(3)) / count


_SOLVERS: dict[Any, Any] = {}


def _made(make, problem):
    """A solver made once per problem: what it checks at its making is not part of a run."""
    return _SOLVERS.setdefault((make, problem.name), make(problem) if (make, problem.name) not in _SOLVERS else None)


def _jacobian(problem):
    return Plain(problem.landscape, hessian_of(problem.landscape)).jacobian


def _stages(number, hessians=0):
    return lambda state, steps: {"gradients": number * steps, "hessians": hessians * steps}


def _bdf(state, steps):
    counts = state.newton.counts
    return {"gradients": int(counts.evaluations), "hessians": int(counts.jacobians)}


def _matrix_free(state, steps):
    return {"gradients": int(state.newton.evaluations), "products": int(state.newton.products)}


def _krylov(state, steps):
    return {"gradients": int(state.evaluations), "products": int(state.products)}


def _stabilised(state, steps):
    return {"gradients": int(state.evaluations), "products": int(state.spectrum.products)}


_CHOSEN: dict[tuple[str, float], str] = {}


def auto(problem, rtol, atol):
    """Ours: the solver that `first_choice` picks, before the clock starts."""
    key = problem.name, rtol
    if key not in _CHOSEN:
        choice = first_choice(problem.landscape, problem.t1, rtol)
        _CHOSEN[key] = choice.name
        print(f"{problem.name}: auto at rtol {rtol:g} is {_CHOSEN[key]}: {choice.reason}")
    names = {"KrylovRosenbrock": "KrylovRosenbrock 5", "MatrixFreeBDF": "BDF matrix-free"}
    return (OURS | PEERS)[names.get(_CHOSEN[key], _CHOSEN[key])](problem, rtol, atol)


_tsit5 = with_diffrax(lambda problem: dfx.Tsit5(), _stages(6), explicit=True)
OURS: dict[str, Any] = {
    "auto": auto,
    "BDF": with_diffrax(lambda problem: BDF(jacobian=_jacobian(problem)), _bdf),
    "BDF matrix-free": with_diffrax(lambda problem: BDF(matrix_free=True), _matrix_free),
    "Rodas5P": with_diffrax(lambda problem: Rodas5P(True, jacobian=_jacobian(problem)), _stages(8, 1)),
    "ExponentialRosenbrock 5": with_diffrax(
        lambda problem: ExponentialRosenbrock(5, True, jacobian=_jacobian(problem)), _stages(5, 1)
    ),
    "KrylovRosenbrock 5": with_diffrax(lambda problem: KrylovRosenbrock(5), _krylov),
    "RKC2": with_diffrax(lambda problem: RKC2(), _stabilised),
    "ExtrapolatedRKC": with_diffrax(lambda problem: ExtrapolatedRKC(), _stabilised),
}


def python_field(problem):
    """−∇L as a function of (t, θ) for solvers that call Python; raises `TimeoutError` once `LIMIT` has passed."""
    gradient, began = _made(_compiled_gradient, problem), time.perf_counter()

    def field(t, y):
        if time.perf_counter() - began > LIMIT:
            raise TimeoutError(f"given up after {LIMIT:g} s")
        return -np.asarray(gradient(y))

    return field


def python_jacobian(problem):
    """−∇²L as a function of (t, θ)."""
    hessian = _made(_compiled_hessian, problem)
    return lambda t, y: -np.asarray(hessian(y))


# Plain `jax.jit`, whose calls from Python cost the least; called once, as a solver may do so late on its way.
def _compiled_gradient(problem):
    return _called(lambda landscape, theta: landscape.gradient(theta), problem.landscape, problem)


def _compiled_hessian(problem):
    return _called(lambda hessian, theta: hessian(theta), hessian_of(problem.landscape), problem)


def _called(function, owner, problem):
    """The function of the owner's arrays and θ, compiled; the former are on the device already."""
    leaves, structure = jax.tree.flatten(owner)
    leaves = jax.device_put(leaves)
    compiled = jax.jit(lambda theta, leaves: function(jax.tree.unflatten(structure, leaves), theta))
    jax.block_until_ready(compiled(problem.theta, leaves))
    return lambda theta: compiled(theta, leaves)


def with_scipy(method):
    """SciPy's `solve_ivp` with the exact Hessian."""

    def run(problem, rtol, atol):
        options = {"method": method, "t_eval": problem.times, "rtol": rtol, "atol": atol}
        count = [0]

        jacobian = python_jacobian(problem)

        def hessian(t, y):
            count[0] += 1
            return jacobian(t, y)

        solution = scipy.integrate.solve_ivp(
            python_field(problem), (0, problem.times[-1]), np.asarray(problem.theta), jac=hessian, **options
        )
        good = solution.y.shape[1] == len(problem.times)
        return Work(solution.y.T if good else None, -1, solution.nfev, 0, count[0])

    return run


def with_cvode(krylov):
    """SUNDIALS CVODE by scikit-sundae, BDF with a dense exact Hessian, or with GMRES and its difference quotients."""

    def run(problem, rtol, atol):
        from sksundae.cvode import CVODE

        field, hessian, counts = python_field(problem), None if krylov else python_jacobian(problem), [0, 0]

        def right(t, y, out):
            counts[0] += 1
            out[:] = field(t, y)

        def jacobian(t, y, f, out):
            counts[1] += 1
            out[:, :] = hessian(t, y)

        linear = {"linsolver": "gmres", "krylov_dim": 20} if krylov else {"linsolver": "lapackdense", "jacfn": jacobian}
        solver = CVODE(right, rtol=rtol, atol=atol, max_num_steps=MAX_STEPS, **linear)
        solution = solver.solve(np.concatenate([[0.0], problem.times]), np.asarray(problem.theta))
        good = solution.success and len(solution.t) == len(problem.times) + 1
        return Work(solution.y[1:] if good else None, -1, counts[0], 0, counts[1])

    return run


def torchdiffeq(problem, rtol, atol):
    """torchdiffeq's dopri5 on the same gradient."""
    import torch
    from torchdiffeq import odeint

    _refuse_beyond_limit(problem, _made(_least_gradients, problem))
    field, count = python_field(problem), [0]

    def right(t, y):
        count[0] += 1
        return torch.from_numpy(np.array(field(float(t), y.numpy())))

    times = torch.from_numpy(np.concatenate([[0.0], problem.times]))
    with torch.no_grad():
        states = odeint(right, torch.from_numpy(np.array(problem.theta)), times, rtol=rtol, atol=atol, method="dopri5")
    return Work(states.numpy()[1:], -1, count[0])


@eqx.filter_jit
def _fixed(landscape, start, step, counts, order):
    field = Plain(landscape)

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


def with_fixed_steps(order):
    """The field's habit: gradient descent (order 1) or classical Runge–Kutta (4) with a step given by the sharpness.

    The step is rtol^(1/order) / sharpness, the larger sharpness of the flow's start and end.
    """

    def run(problem, rtol, atol):
        sharpness = _made(_sharpness, problem)
        step = min(rtol ** (1 / order), 1.0) / sharpness
        counts = np.maximum(np.diff(np.concatenate([[0.0], problem.times])) / step, 1).round().astype(int)
        total = int(counts.sum())
        _refuse_beyond_limit(problem, order * total)
        states = _fixed(problem.landscape, problem.theta, jnp.asarray(step), jnp.asarray(counts), order)
        return Work(np.asarray(states), total, order * total)

    return run


def _sharpness(problem):
    """The larger spectral radius of the flow's start and end; of its start, where the end takes minutes to find."""
    start = float(problem.landscape.sharpness(problem.theta))
    if "RKC2" in problem.without:
        return start
    whole = problem._replace(times=problem.t1 * np.linspace(0, 1, len(problem.times) + 1)[1:])
    end = OURS["RKC2"](whole, 1e-3, 1e-6).states
    return start if end is None else max(start, float(problem.landscape.sharpness(end[-1])))


PEERS: dict[str, Any] = {
    "Tsit5": _tsit5,
    "Dopri8": with_diffrax(lambda problem: dfx.Dopri8(), _stages(13), explicit=True),
    "Kvaerno5": with_diffrax(lambda problem: kvaerno5(), lambda s, n: dict.fromkeys(("gradients", "hessians"))),
    "LSODA": with_scipy("LSODA"),
    "SciPy BDF": with_scipy("BDF"),
    "Radau": with_scipy("Radau"),
    "RK4, step by sharpness": with_fixed_steps(4),
    "GD, step by sharpness": with_fixed_steps(1),
}
if importlib.util.find_spec("sksundae"):
    PEERS |= {"CVODE dense": with_cvode(False), "CVODE GMRES": with_cvode(True)}
if importlib.util.find_spec("torchdiffeq"):
    PEERS["torchdiffeq dopri5"] = torchdiffeq
# They hold or factorise a dense Jacobian.
DENSE = {
    "BDF",
    "Rodas5P",
    "ExponentialRosenbrock 5",
    "Kvaerno5",
    "LSODA",
    "SciPy BDF",
    "Radau",
    "CVODE dense",
}
