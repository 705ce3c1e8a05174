"""What does accuracy cost? Our solvers and their peers on one suite of gradient flows.

For every problem, solver and tolerance: the largest error of the trajectory over some twenty times, relative to the
norm of the parameters; the largest error of the times at which the loss falls through 3/4, 1/4 and 1/20 of its drop,
relative to them; gradients, Hessian–vector products and Hessians, as gradient-equivalents at the cost ratios measured
in this run; and the wall time without compilation, the shortest of five runs, made in rounds over all solvers (one run,
where it is longer than half a second). The same rtol for every solver, and atol = rtol times the tenth percentile of
the initial weights' sizes.

Run: `python benchmarks/work_precision.py [--problems tanh …] [--solvers BDF …] [--quick] [--out DIR]`.
It writes work-precision.json, work-precision.md and a figure per problem (`--tables-only`: from the report that is
there already); the whole takes about forty minutes on one core, `--quick` some minutes. Competitors that are not
installed are left out: `pip install scikit-sundae torchdiffeq`. On a busy machine pin it to a core of its own, at
real-time priority (`taskset -c 1 chrt -f 10 python …`): compiled code hands over between threads, and each time an
ordinary process may wait for a slice of another's.
"""

import gc
import json
import statistics
import time
from functools import partial
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.ticker import NullFormatter
from saddlescope.flows.curvature.hessian import hessian_of
from saddlescope.flows.simulation.tolerances import default_atol

from competitors import DENSE, OURS, PEERS
from problems import PROBLEMS, with_times

TARGETS = (1e-4, 1e-6)
# Fractions of the loss's drop at which transition times are compared.
FRACTIONS = (0.75, 0.25, 0.05)
# Seconds: a run that took longer is not repeated at a tighter tolerance.
PATIENCE = 15.0
# Seconds: a run that took longer is timed once only; the others so many times more.
LONG, ROUNDS = 0.5, 4


def observed(problem, states):
    """Loss and speed at every state."""
    pairs = [problem.landscape.value_and_gradient(theta) for theta in states]
    return np.array([(loss, np.linalg.norm(gradient)) for loss, gradient in pairs]).T


def transition_times(problem, solve):
    """Where the reference's loss falls through the fractions of its drop, by bisection between solved times."""
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
    atol = lambda rtol: default_atol(np.asarray(problem.theta), rtol)  # noqa: E731
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


def clock(run):
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


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
    """Every short run again, in rounds, so that whatever else the machine does meets all of them; the fastest counts.

    **Arguments:** `rows`: pairs of a function of the problem and its row.
    """
    for _ in range(ROUNDS):
        for solve, row in rows:
            if row.get("seconds") and row["seconds"] < LONG:
                row["seconds"] = min(row["seconds"], clock(lambda: solve(problem))[1])  # noqa: B023


def cost_ratios(problem):
    """Wall time of a Hessian–vector product and of a Hessian over that of a gradient."""
    theta, landscape = jnp.asarray(problem.theta), jax.device_put(problem.landscape)
    gradient = eqx.filter_jit(landscape.gradient)
    product = eqx.filter_jit(landscape.hessian_product)
    calls = [lambda: gradient(theta), lambda: product(theta, theta)]
    if problem.dense:
        hessian = eqx.filter_jit(hessian_of(landscape))
        calls.append(lambda: hessian(theta))

    def timed(call):
        jax.block_until_ready(call())
        return statistics.median(clock(lambda: jax.block_until_ready(call()))[1] for _ in range(9))

    seconds = [timed(call) for call in calls]
    return {"product": seconds[1] / seconds[0], "hessian": seconds[2] / seconds[0] if problem.dense else 0.0}


def equivalents(row, ratios):
    """Gradient-equivalents of a row, or `None` where the work is not known."""
    if row["gradients"] is None:
        return None
    return row["gradients"] + ratios["product"] * row["products"] + ratios["hessian"] * row["hessians"]


def at_error(rows, target, value):
    """Where a solver's curve reaches the target error, interpolated in logarithms; `None` if it does not."""
    points = sorted((row["error"], value(row)) for row in rows if row.get("error") and value(row))
    if not points or points[0][0] > target:
        return None
    errors, values = np.array(points).T
    # A solver that is more accurate than asked at its loosest tolerance costs what it costs there.
    return float(np.exp(np.interp(np.log(target), np.log(errors), np.log(values))))


def run_problem(name, solvers, tolerances):
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
            try:
                row = measure(problem, expected, solve)
            except Exception as error:  # a peer's failure is a result, too
                row = {"error": None, "failure": f"{type(error).__name__}: {error}"[:200]}
            if row.get("seconds"):
                row["equivalents"] = equivalents(row, ratios)
            row = {"rtol": rtol, **row}
            results[label].append(row)
            runs.append((solve, row))
            print(f"  {label:26s} {described(row)}", flush=True)
            if row.get("seconds") is None or row["seconds"] > PATIENCE or row["error"] is None:
                break
    repeat(problem, runs)
    return {"parameters": int(problem.theta.size), "agreement": agreement, "ratios": ratios, "solvers": results}


def described(row):
    return " ".join(f"{k}={v if isinstance(v, str) else format(v, '.3g')}" for k, v in row.items() if v is not None)


def compilation(rows):
    """Seconds of compilation: the largest, as the solver may be another at another tolerance; `None` without runs."""
    spent = [row["compile"] for row in rows if "compile" in row]
    return max(spent) if spent else None


def unfinished(report):
    """Which solver did not reach which problem's end, and why, as markdown."""
    lines = ["\nRuns without a result\n"]
    for name, result in report.items():
        for label, rows in result["solvers"].items():
            if rows and rows[-1]["error"] is None:
                why = rows[-1].get("failure", "gave up").removeprefix("TimeoutError: ")
                lines.append(f"- {name}, {label} at rtol {rows[-1]['rtol']:g}: {why}")
    return "\n".join(lines)


def against_peers(report):
    """Seconds of the choice and of the best peer at the target errors, and their ratios, as markdown."""
    head = " | ".join(f"error {target:g}: `auto`, s | best peer, s | ratio" for target in TARGETS)
    lines = [f"| problem | {head} |", "|---" * (1 + 3 * len(TARGETS)) + "|"]
    ratios = {target: [] for target in TARGETS}
    for name, result in report.items():
        cells = []
        for target in TARGETS:
            seconds = {
                label: at_error(rows, target, lambda row: row["seconds"]) for label, rows in result["solvers"].items()
            }
            peers = {label: value for label, value in seconds.items() if label in PEERS and value}
            best, mine = min(peers, key=peers.__getitem__, default=None), seconds.get("auto")
            if not mine or best is None:
                cells += ["not reached" if mine is None else f"{mine:.2g}", "no peer", ""]
                continue
            ratios[target].append(mine / peers[best])
            cells += [f"{mine:.2g}", f"{peers[best]:.2g} ({best})", f"{mine / peers[best]:.2f}"]
        lines.append(f"| `{name}` ({result['parameters']}) | " + " | ".join(cells) + " |")
    means = [f"{np.exp(np.mean(np.log(values))):.2f}" if values else "" for values in ratios.values()]
    return "\n".join([*lines, "| geometric mean | " + " | ".join(f" | | {mean}" for mean in means) + " |"])


def tables(report):
    """The report as markdown: the choice against the best peer, and seconds at the target errors per solver."""
    lines = [against_peers(report)]
    for target in TARGETS:
        names = list(report)
        lines += [f"\nSeconds (gradient-equivalents) at a trajectory error of {target:g}\n"]
        lines += ["| solver | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for label in OURS | PEERS:
            cells = []
            for name in names:
                rows = report[name]["solvers"].get(label, [])
                seconds = at_error(rows, target, lambda row: row["seconds"])
                work = at_error(rows, target, lambda row: row.get("equivalents"))
                cells.append("—" if seconds is None else f"{seconds:.3g}" + (f" ({work:.2g})" if work else ""))
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["\nSeconds of compilation\n", "| solver | " + " | ".join(report) + " |", "|---" * (len(report) + 1) + "|"]
    for label in OURS:
        spent = [compilation(report[name]["solvers"].get(label, [])) for name in report]
        lines.append(f"| {label} | " + " | ".join("—" if s is None else f"{s:.2g}" for s in spent) + " |")
    return "\n".join(lines)


def draw(name, result, path):
    """Error against wall time and against gradient-equivalents."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained", sharey=True)
    for number, (label, rows) in enumerate(result["solvers"].items()):
        style = {
            "marker": "o" if label in OURS else "x",
            "ls": "-" if label in OURS else "--",
            "color": f"C{number % 10}",
        }
        for ax, key in zip(axes, ("seconds", "equivalents"), strict=True):
            points = [(row[key], row["error"]) for row in rows if row.get("error") and row.get(key)]
            if points:
                ax.loglog(*zip(*points, strict=True), label=label, ms=4, **style)
    for ax in axes:
        # Over less than two decades the ticks between them would be labelled, too, and overlap.
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set(xlabel="seconds, without compilation", ylabel="error of the trajectory", title=name)
    axes[1].set(xlabel="gradient-equivalents")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    problems: tuple[str, ...] = tuple(PROBLEMS),
    solvers: tuple[str, ...] = tuple(OURS | PEERS),
    out: Path = Path("benchmark-results"),
    quick: bool = False,
    tables_only: bool = False,
) -> None:
    """Measures the suite.

    Args:
        problems: names of problems.
        solvers: names of solvers.
        out: folder for the report.
        quick: two tolerances, and only the problems that take seconds.
        tables_only: of the report that is in the folder already.
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
