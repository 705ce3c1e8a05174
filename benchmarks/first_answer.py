"""How long does a first answer take in a fresh process, compared with a program written by hand?

On eight small problems (the six set-ups of `saddlescope.experiments`, the tanh network of README's "Long plateaus", and
an `eqx.nn.MLP` with biases), four times are compared:
(a) to the trajectory by `simulate`;
(b) to the printed itinerary that follows;
(c) of a program that calls Diffrax's `diffeqsolve` once, compiled, at the same tolerances, with every step kept, by
    Tsit5 or, where that is faster, Kvaerno5;
(d) of SciPy's LSODA with compiled gradient and Hessian, and numpy's `eigh` of the final Hessian.
Each runs in a fresh process, imports included, that finds its data in a file and makes its model with
`saddlescope.models`; first with an empty folder for JAX's compiled programs, then with the filled one. (JAX does not
keep programs that call back to Python, as `diffeqsolve` does in order to raise errors.)

The tables show seconds of the processor and, in brackets, of the clock, each the least of `--repeats`; programs are
those handed to XLA, found in the folder or not. A last table has the command line, a second network of another width in
one process, the first call of `BDF` beside Kvaerno5, and imports.

Run: `python benchmarks/first_answer.py [--problem tanh …] [--repeats 3]`.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import tyro
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from saddlescope.experiments import experiment
from saddlescope.experiments.setups import figure_1
from saddlescope.models import Dense, TwoLayer, tanh

from suite.answers import LIMIT, PROBLEMS, load

IMPORTS = ("import diffrax", "import saddlescope.models", "from saddlescope.flows import simulate")
IMPORTS += ("from saddlescope.analysis import itinerary", "from saddlescope.experiments import run")
WIDTH = 130


class Mark(NamedTuple):
    """Seconds of the processor and of the clock, and programs handed to XLA, since a process began."""

    cpu: float
    wall: float
    programs: int = 0

    def __str__(self):
        return f"{self.cpu:.1f} ({self.wall:.1f})"


def write_data(folder):
    """One file of arrays for each problem; the set-ups' models must be those of `saddlescope.experiments`."""
    for name in (item.name for item in figure_1.SETUPS):
        setup = experiment(name).setup(0)
        np.savez(folder / f"{name}.npz", *jax.tree.leaves(setup.data))
        if not eqx.tree_equal(setup.model, load(name, folder / f"{name}.npz")[0]):
            raise RuntimeError(f"the model of {name} is not that of the experiment.")
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (100, 4))
    np.savez(folder / "tanh.npz", x, jax.vmap(TwoLayer(Dense(tanh, inputs=4), width=4, scale=1.0, key=keys[1]))(x))
    x = jax.random.normal(keys[0], (40, 2))
    np.savez(folder / "MLP.npz", x, np.sin(2 * x[:, :1]) * x[:, 1:])


def fresh(arguments, cache):
    """What a fresh process took in all, and what it wrote."""
    ours = ("JAX_", "SADDLESCOPE_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"SADDLESCOPE_CACHE": str(cache), "JAX_COMPILATION_CACHE_DIR": str(cache), "MPLBACKEND": "Agg"}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.time() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return Mark(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall), done.stdout


def answer(method, name, data, cache):
    """The marks of one method of `suite/answers.py`, in a fresh process."""
    program = Path(__file__).parent / "suite" / "answers.py"
    _, written = fresh([program, method, name, data / f"{name}.npz", time.time()], cache)
    return [Mark(*mark) for mark in json.loads(written.splitlines()[-1])]


def cold_and_warm(measure, repeats):
    """The marks of the fastest process with an empty folder for programs, and of the fastest with a filled one."""
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(measure(cache))
            warm.append(measure(cache))
    return min(cold), min(warm)


def row(name, data, repeats):
    """Two rows of the table of answers, cold and warm."""
    methods = ["saddlescope", "Tsit5", "LSODA"] + (["Kvaerno5"] if PROBLEMS[name].stiff else [])
    marks = {
        method: cold_and_warm(lambda cache, method=method: answer(method, name, data, cache), repeats)
        for method in methods
    }
    rows = []
    for k in range(2):
        trajectory, itinerary = marks["saddlescope"][k]
        by, (peer,) = min(
            ((method, marks[method][k]) for method in methods if method in ("Tsit5", "Kvaerno5")), key=lambda p: p[1]
        )
        cells = [
            name,
            str(trajectory),
            str(itinerary),
            f"{peer} {by}",
            str(marks["LSODA"][k][-1] if marks["LSODA"][k] else f"> {LIMIT}"),
        ]
        cells += [f"{trajectory.cpu / peer.cpu:.2f}", f"{itinerary.cpu - trajectory.cpu:.1f}"]
        rows.append([*cells, f"{trajectory.programs}, {itinerary.programs}, {peer.programs}"])
    return rows


def others(data, repeats):
    """Rows (what, cold, warm) of everything else that a newcomer waits for."""

    def line(what, measure):
        return [what, *(str(marks[-1]) for marks in cold_and_warm(measure, repeats))]

    def second(cache):
        first, last = answer("widths", "linear", data, cache)
        return [Mark(last.cpu - first.cpu, last.wall - first.wall)]

    out = data / "out"
    command = ["-m", "saddlescope", "run", "linear", "--out", out]
    yield line("`saddlescope run linear`", lambda cache: [fresh(command, cache)[0]])
    yield line("a second width in one process, linear, to the itinerary", second)
    for method in ("BDF to t1", "Kvaerno5 to t1"):
        yield line(f"tanh, `diffeqsolve` by {method}", lambda cache, method=method: answer(method, "tanh", data, cache))
    for statement in IMPORTS:
        yield line(f"`{statement}`", lambda cache, statement=statement: [fresh(["-c", statement], cache)[0]])


def main(problem: tuple[str, ...] = tuple(PROBLEMS), repeats: int = 3, rest: bool = True) -> None:
    """Prints the tables.

    Args:
        problem: names of problems.
        repeats: fresh processes for each number, of which the fastest counts.
        rest: whether to print the table of everything else as well.
    """
    unknown = set(problem) - set(PROBLEMS)
    if unknown or repeats < 1:
        raise SystemExit(
            f"problems are {', '.join(PROBLEMS)}, repeats at least 1; got {', '.join(problem)}; {repeats}."
        )
    heads = ("problem", "(a) trajectory", "(b) itinerary", "(c) Diffrax", "(d) LSODA, eigh", "a/c", "b − a", "programs")
    console = Console(width=WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_data(data)
        rows = [row(name, data, repeats) for name in problem]
        for k, title in enumerate(("From an empty folder for compiled programs", "With a filled one")):
            table = Table(*heads, box=MARKDOWN)
            for each in rows:
                table.add_row(*each[k])
            console.print(f"\n{title}; programs of a, b, c; seconds of the processor (of the clock):\n", table)
        if rest:
            table = Table("", "empty folder", "filled folder", box=MARKDOWN)
            for cells in others(data, repeats):
                table.add_row(*cells)
            console.print("\n", table)


if __name__ == "__main__":
    tyro.cli(main)
