"""What does accuracy cost? Our solvers and their peers on one suite of gradient flows.

For every problem, solver and tolerance the script measures
- the largest error of the trajectory over some twenty times, relative to the norm of the parameters;
- the largest relative error of the times at which the loss falls through 3/4, 1/4 and 1/20 of its drop;
- gradients, Hessian–vector products and Hessians, also as gradient-equivalents at the cost ratios measured in this run;
- the wall time without compilation: the shortest of five runs, made in rounds over all solvers (one run only, if it
  takes longer than half a second).
All solvers are given the same rtol, and atol = rtol times the tenth percentile of the initial weights' sizes.

Run: `python benchmarks/work_precision.py [--problems tanh …] [--solvers BDF …] [--quick] [--out DIR]`.
It writes work-precision.json, work-precision.md and a figure per problem (`--tables-only`: from the report that is
there already); the whole takes about forty minutes on one core, `--quick` some minutes. Peers that are not installed
are left out: `pip install scikit-sundae torchdiffeq`. On a busy machine pin it to a core of its own, at real-time
priority (`taskset -c 1 chrt -f 10 python …`): compiled code hands over between threads, and each time an ordinary
process may wait for a slice of another's.
"""

import gc
import json
from functools import partial
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import tyro
from saddlescope.flows.simulation.tolerances import default_atol

from suite.measure import cost_ratios, measure, reference, repeat
from suite.problems import PROBLEMS
from suite.report import described, draw, equivalents, tables, unfinished
from suite.solvers import DENSE, OURS, PEERS

# Seconds: a run that took longer is not repeated at a tighter tolerance.
PATIENCE = 15.0


def run_problem(name, solvers, tolerances):
    """All rows of a problem, by solver, with what is needed to read them.

    Args:
        name: of the problem.
        solvers: names of solvers.
        tolerances: values of rtol, the loosest first.
    """
    problem, expected, agreement = reference(name)
    ratios = cost_ratios(problem)
    print(f"{name}: {problem.theta.size} parameters, references agree to {agreement:.1e}, {ratios}", flush=True)
    results, runs = {}, []
    for label in solvers:
        if label in problem.without or (label in DENSE and not problem.dense):
            continue
        results[label] = []
        for rtol in tolerances:
            solve = partial((OURS | PEERS)[label], rtol=rtol, atol=default_atol(np.asarray(problem.theta), rtol))
            row = {"rtol": rtol, **_measured_or_failed(problem, expected, solve)}
            if row.get("seconds"):
                row["equivalents"] = equivalents(row, ratios)
            results[label].append(row)
            runs.append((solve, row))
            print(f"  {label:26s} {described(row)}", flush=True)
            if row.get("seconds") is None or row["seconds"] > PATIENCE or row["error"] is None:
                break
    repeat(problem, runs)
    return {"parameters": int(problem.theta.size), "agreement": agreement, "ratios": ratios, "solvers": results}


def _measured_or_failed(problem, expected, solve):
    try:
        return measure(problem, expected, solve)
    except Exception as error:  # a peer's failure is a result, too
        return {"error": None, "failure": f"{type(error).__name__}: {error}"[:200]}


def main(
    problems: tuple[str, ...] = tuple(PROBLEMS),
    solvers: tuple[str, ...] = tuple(OURS | PEERS),
    out: Path = Path("benchmark-results"),
    quick: bool = False,
    tables_only: bool = False,
) -> None:
    """Measures the suite, and writes and prints the report.

    Args:
        problems: names of problems.
        solvers: names of solvers.
        out: folder for the report.
        quick: whether to take two tolerances only, and only the problems that take seconds.
        tables_only: whether to read the report that is in the folder instead of measuring.
    """
    out.mkdir(parents=True, exist_ok=True)
    if quick:
        problems = tuple(name for name in problems if name in ("tanh", "attention", "deep-linear"))
    tolerances = (1e-4, 1e-7) if quick else (1e-3, 1e-5, 1e-7, 1e-10)
    report = json.loads((out / "work-precision.json").read_text()) if tables_only else {}
    for name in () if tables_only else problems:
        report[name] = run_problem(name, solvers, tolerances)
        (out / "work-precision.json").write_text(json.dumps(report, indent=1))
        # Each compiled function holds memory maps, of which Linux grants a process 65530: beyond, the compiler aborts.
        jax.clear_caches()
        gc.collect()
    for name, result in report.items():
        draw(name, result, out / f"{name}.png")
    (out / "work-precision.md").write_text(tables(report) + "\n" + unfinished(report) + "\n")
    print(tables(report))


if __name__ == "__main__":
    tyro.cli(main)
