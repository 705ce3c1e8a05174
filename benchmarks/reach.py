"""How far along a flow does a solver get in a given wall time?

The set-up of Brea, Martinelli, Şimşek & Gerstner (2023, arXiv 2301.10638): a softplus teacher of four units with biases
and 10⁴ samples; a student of 33 parameters has twenty seconds, one of 601 has sixty. Our solvers and Diffrax's run
under `simulate` with that budget, the others from Python until the budget is spent; compilation is left out. For each
the script prints the time t of the flow that it reached, of the mean squared error, and the loss there.

Run: `python benchmarks/reach.py [--rtol 1e-6] [--horizon 1e8] [--parameters 33] [--solvers default CVODE …]`; some
twelve minutes.
"""

import math
import time

import jax

jax.config.update("jax_enable_x64", True)

import diffrax as dfx
import numpy as np
import scipy.integrate
import tyro
from rich.console import Console
from rich.table import Table
from saddlescope.flows import simulate
from saddlescope.flows.simulation.tolerances import default_atol
from saddlescope.flows.solvers.kvaerno import kvaerno5

from suite.called_from_python import python_field, python_jacobian
from suite.problems import softplus_teacher
from suite.solvers import PEERS

SETTINGS = {33: (2, 8, 20.0), 601: (4, 100, 60.0)}
DIFFRAX = {"default": None, "Tsit5": dfx.Tsit5(), "Dopri8": dfx.Dopri8(), "Kvaerno5": kvaerno5()}
SCIPY = {"LSODA": scipy.integrate.LSODA, "SciPy BDF": scipy.integrate.BDF, "Radau": scipy.integrate.Radau}


def with_simulate(problem, solver, rtol, horizon, budget):
    """The time reached by `simulate`, and the loss there."""
    model, loss, data = problem.landscape.model, problem.landscape.loss, problem.landscape.data
    options = {"t1": horizon, "solver": solver, "rtol": rtol}
    # Long enough for the default to change its solver, so that everything is compiled before the clock starts.
    first = {"budget": budget / 2, "max_steps": 10**9} if solver is None else {"max_steps": 2}
    simulate(model, loss, data, **first, **options)
    reached = simulate(model, loss, data, budget=budget, max_steps=10**9, **options)
    return float(reached.ts[-1]), float(reached.losses[-1])


def with_scipy(problem, method, rtol, horizon, budget):
    """The time reached by a SciPy method with the exact Hessian, and the parameters there."""
    theta = np.asarray(problem.theta)
    # The budget ends a run here, not the other benchmark's limit.
    field, jacobian = python_field(problem, limit=math.inf), python_jacobian(problem)
    field(0, theta), jacobian(0, theta)
    began = time.perf_counter()
    solver = method(field, 0.0, theta, horizon, rtol=rtol, atol=default_atol(theta, rtol), jac=jacobian)
    while solver.status == "running" and time.perf_counter() - began < budget:
        solver.step()
    return solver.t, solver.y


def with_cvode(problem, rtol, horizon, budget):
    """The time reached by CVODE with the exact dense Hessian, and the parameters there."""
    from sksundae.cvode import CVODE

    theta = np.asarray(problem.theta)
    # The budget ends a run here, not the other benchmark's limit.
    field, jacobian = python_field(problem, limit=math.inf), python_jacobian(problem)
    field(0, theta), jacobian(0, theta)
    began, last = time.perf_counter(), [0.0, theta]

    def right(t, y, out):
        out[:] = field(t, y)

    def fill(t, y, f, out):
        out[:, :] = jacobian(t, y)

    solver = CVODE(right, rtol=rtol, atol=default_atol(theta, rtol), linsolver="lapackdense", jacfn=fill)
    solver.init_step(0.0, theta)
    while last[0] < horizon and time.perf_counter() - began < budget:
        solution = solver.step(horizon, method="onestep")
        last = [float(solution.t), np.array(solution.y)]
    return tuple(last)


def main(
    rtol: float = 1e-6,
    horizon: float = 1e8,
    parameters: tuple[int, ...] = tuple(SETTINGS),
    solvers: tuple[str, ...] = (),
) -> None:
    """Prints the table.

    Args:
        rtol: relative tolerance; the absolute one follows the initial weights.
        horizon: a time that ends the run before the budget does.
        parameters: numbers of parameters of the students.
        solvers: names of solvers; by default all.
    """
    settings = {count: SETTINGS[count] for count in parameters}
    table = Table(
        "solver", *(f"{count} parameters, {setting[2]:.0f} s: t, loss" for count, setting in settings.items())
    )
    runs = {name: lambda *a, s=solver: with_simulate(a[0], s, *a[1:]) for name, solver in DIFFRAX.items()}
    runs |= {name: lambda *a, m=method: with_scipy(a[0], m, *a[1:]) for name, method in SCIPY.items()}
    if "CVODE dense" in PEERS:
        runs["CVODE"] = with_cvode
    for name in solvers or runs:
        run, cells = runs[name], []
        for inputs, width, budget in settings.values():
            problem = softplus_teacher(inputs, width, horizon)
            t, end = run(problem, rtol, horizon, budget)
            loss = end if np.ndim(end) == 0 else problem.landscape.value(end)
            cells.append(f"{t:.3g}, {float(loss):.3g}")
            print(name, cells[-1], flush=True)
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
