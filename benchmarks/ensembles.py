"""Which method integrates an ensemble fastest, does "auto" find it, and what does it gain over a loop over `simulate`?

Four kinds of ensemble: linear networks (H = 100, three modes, explicit steps of equal cost), ReLU networks (steps cut
at kinks, costs that differ), small tanh networks on a long horizon (a solver for stiff fields at the end), and tanh
networks of 600 parameters on a sample (arithmetic instead of overhead). For each the script prints seconds, without
compilation: every method has run once before on the same shapes. Then ratios: "auto" over the best method by name,
and the loop over "auto". With `--target-only --members 1000` it integrates linear flows and analyses all of them in
one go, compilation included.

Run: `python benchmarks/ensembles.py [--members 64] [--target-only]`.
"""

import jax

jax.config.update("jax_enable_x64", True)

import time

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from saddlescope.analysis import itineraries
from saddlescope.flows import ensemble, half_squared_error, mean_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear, relu, tanh

METHODS = ("sequential", "vectorised", "parallel", "auto")


def whitened(count, inputs):
    x = np.random.default_rng(0).standard_normal((count, inputs))
    values, vectors = np.linalg.eigh(x.T @ x / count)
    return x @ (vectors / np.sqrt(values)) @ vectors.T


def networks(architecture, width, scale):
    return lambda key: TwoLayer(architecture, width=width, scale=scale, key=key)


def linear_flows():
    x = whitened(4096, 3)
    make = networks(Dense(linear, inputs=3, outputs=3), 100, 1e-6)
    return make, mean_squared_error, (x, x @ np.diag([3.0, 2.0, 1.0])), 80.0


def relu_flows():
    data = (np.array([[1.0, 0.5], [-1.0, 2.0]]), np.array([[1.0], [-1.0]]))
    return networks(Dense(relu, inputs=2, outputs=1), 20, 1e-4), mean_squared_error, data, 40.0


def stiff_flows():
    x = np.random.default_rng(0).standard_normal((40, 2))
    y = np.tanh(x @ np.array([[1.0], [-0.5]])) + 0.3 * np.tanh(x @ np.array([[0.3], [1.5]]))
    return networks(Dense(tanh, inputs=2, outputs=1), 6, 1e-2), half_squared_error, (x, y), 1e4


def larger_flows():
    x = np.random.default_rng(0).standard_normal((200, 10))
    y = np.tanh(x @ np.random.default_rng(1).standard_normal((10, 1)))
    return networks(Dense(tanh, inputs=10, outputs=2), 50, 1e-2), half_squared_error, (x, np.tile(y, 2)), 30.0


KINDS = {"linear": linear_flows, "ReLU": relu_flows, "stiff": stiff_flows, "larger": larger_flows}


def seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def loop(models, loss, data, t1):
    for model in models:
        simulate(model, loss, data, t1=t1)


def row(kind, members):
    """Seconds of every method and of the loop, each after a run that compiles; the loop's are those of a quarter."""
    make, loss, data, t1 = KINDS[kind]()
    models = [make(key) for key in jax.random.split(jax.random.key(0), members)]
    times = {}
    for method in METHODS:
        # As many as before, so that the shapes are the same; "auto" has then compiled whatever it tries.
        ensemble(models, loss, data, t1=t1, method=method)
        times[method] = seconds(lambda method=method: ensemble(models, loss, data, t1=t1, method=method))
    few = models[: max(members // 4, 1)]
    loop(few[:1], loss, data, t1)
    times["loop"] = seconds(lambda: loop(few, loss, data, t1)) * members / len(few)
    return times


def target(members):
    """Seconds of the first call in a process, with the analysis of all flows."""
    make, loss, data, t1 = linear_flows()
    began, keys = (time.perf_counter(), time.process_time()), jax.random.split(jax.random.key(0), members)
    found = itineraries(ensemble(make, loss, data, t1=t1, keys=keys), kinds=False)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    print(found)
    print(f"{members} flows with visits, widths and dwell times: {wall:.1f} s, {cpu:.1f} s of processor time")


def main(members: int = 64, target_only: bool = False, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
    """Prints the table.

    Args:
        members: flows of each ensemble.
        target_only: integrate and analyse `members` linear flows in a fresh process instead.
        kinds: which ensembles.
    """
    if target_only:
        target(members)
        return
    table = Table("kind", *METHODS, "loop", "auto / best", "loop / auto")
    for kind in kinds:
        times = row(kind, members)
        best = min(times[method] for method in METHODS if method != "auto")
        cells = [f"{times[name]:.2f}" for name in (*METHODS, "loop")]
        table.add_row(kind, *cells, f"{times['auto'] / best:.2f}", f"{times['loop'] / times['auto']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
