"""The report of a measured suite: curves read at target errors, tables in markdown, figures."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from .solvers import OURS, PEERS

# Errors of the trajectory at which the tables read the curves.
TARGETS = (1e-4, 1e-6)


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
