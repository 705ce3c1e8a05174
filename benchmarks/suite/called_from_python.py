"""Solvers of other libraries that call the compiled gradient, and Hessian, from Python: SciPy, SUNDIALS, torchdiffeq.

Each is a function (problem, rtol, atol) to `Work`. Threads are whatever JAX and BLAS use, the same for all.
"""

import time
from collections.abc import Callable

import jax
import numpy as np
import scipy.integrate
from saddlescope.flows.curvature.hessian import hessian_of

# As a module, whose limits may be changed before a run.
from . import compiled
from .compiled import Work, least_gradients, prepared, require_within_limit
from .problems import Problem


def python_field(problem: Problem, limit: float | None = None) -> Callable[..., np.ndarray]:
    """−∇L as a function of (t, θ).

    Args:
        problem: the flow.
        limit: seconds from now after which the function raises `TimeoutError`; by default `compiled.LIMIT`.
    """
    limit = compiled.LIMIT if limit is None else limit
    gradient, began = prepared(_compiled_gradient, problem), time.perf_counter()

    def field(t, y):
        if time.perf_counter() - began > limit:
            raise TimeoutError(f"given up after {limit:g} s")
        return -np.asarray(gradient(y))

    return field


def python_jacobian(problem: Problem) -> Callable[..., np.ndarray]:
    """−∇²L as a function of (t, θ)."""
    hessian = prepared(_compiled_hessian, problem)
    return lambda t, y: -np.asarray(hessian(y))


# Plain `jax.jit`, whose calls from Python cost the least; called once, as a solver may call it only late in its run.
def _compiled_gradient(problem):
    return _called(lambda landscape, theta: landscape.gradient(theta), problem.landscape, problem)


def _compiled_hessian(problem):
    return _called(lambda hessian, theta: hessian(theta), hessian_of(problem.landscape), problem)


def _called(function, owner, problem):
    """The function of the owner's arrays and θ, compiled; the arrays are on the device already."""
    leaves, structure = jax.tree.flatten(owner)
    leaves = jax.device_put(leaves)
    function_of_leaves = jax.jit(lambda theta, leaves: function(jax.tree.unflatten(structure, leaves), theta))
    jax.block_until_ready(function_of_leaves(problem.theta, leaves))
    return lambda theta: function_of_leaves(theta, leaves)


def with_scipy(method: str) -> Callable[[Problem, float, float], Work]:
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


def with_cvode(krylov: bool) -> Callable[[Problem, float, float], Work]:
    """SUNDIALS CVODE (BDF) by scikit-sundae.

    Args:
        krylov: GMRES with CVODE's own difference quotients, instead of a dense exact Hessian.
    """

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
        solver = CVODE(right, rtol=rtol, atol=atol, max_num_steps=compiled.MAX_STEPS, **linear)
        solution = solver.solve(np.concatenate([[0.0], problem.times]), np.asarray(problem.theta))
        good = solution.success and len(solution.t) == len(problem.times) + 1
        return Work(solution.y[1:] if good else None, -1, counts[0], 0, counts[1])

    return run


def torchdiffeq(problem: Problem, rtol: float, atol: float) -> Work:
    """torchdiffeq's dopri5 on the same gradient."""
    import torch
    from torchdiffeq import odeint

    require_within_limit(problem, prepared(least_gradients, problem))
    field, count = python_field(problem), [0]

    def right(t, y):
        count[0] += 1
        return torch.from_numpy(np.array(field(float(t), y.numpy())))

    times = torch.from_numpy(np.concatenate([[0.0], problem.times]))
    with torch.no_grad():
        states = odeint(right, torch.from_numpy(np.array(problem.theta)), times, rtol=rtol, atol=atol, method="dopri5")
    return Work(states.numpy()[1:], -1, count[0])
