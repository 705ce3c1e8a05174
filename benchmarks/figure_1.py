"""How long do the set-ups of the paper's Figure 1B–G take, to an error of 1e-8?

Each is integrated by `simulate` as `saddlescope run` does, except for the tolerance `--rtol`, from the 8192 samples to
the last time: the reduction of the sample to exact statistics is part of the time. For each the script prints the
number of samples, the solver and its steps, the seconds of the first call, which compiles, and of the fastest of five
later calls, and the largest error of the trajectory at twenty times, relative to the norm of the parameters, against
Dopri8 at rtol 1e-13.

Run: `python benchmarks/figure_1.py [--names relu …] [--rtol 1e-10]`.
"""

import jax

jax.config.update("jax_enable_x64", True)

import diffrax as dfx
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from saddlescope.experiments import experiment
from saddlescope.experiments.setups import figure_1
from saddlescope.flows import simulate
from saddlescope.flows.simulation.trajectory import told

from suite.timing import clock

REPEATS = 5


def error(setup, rtol, times):
    """The largest relative distance to the reference at the times."""

    def states(**options):
        flow = simulate(setup.model, setup.loss, setup.data, t1=setup.t1, save_times=times, **options)
        return flow.thetas[np.isin(flow.ts, times)]

    expected, found = states(solver=dfx.Dopri8(), rtol=1e-13), states(rtol=rtol)
    return np.max(np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1))


def main(names: tuple[str, ...] = tuple(item.name for item in figure_1.SETUPS), rtol: float = 1e-10) -> None:
    """Prints the table.

    Args:
        names: names of set-ups.
        rtol: relative tolerance.
    """
    table = Table("set-up", "samples", "steps", "first call, s", "later calls, s", "error")
    for name in names:
        setup = experiment(name).setup(0)

        def run(setup=setup):
            return simulate(setup.model, setup.loss, setup.data, t1=setup.t1, rtol=rtol)

        flow, first = clock(run)
        later = min(clock(run)[1] for _ in range(REPEATS))
        steps = f"{flow.stats['num_steps']} of {told(flow.stats['solver_history'])}"
        samples = str(len(jax.tree.leaves(setup.data)[0])) + (", as statistics" if flow.stats["reduced_data"] else "")
        found = error(setup, rtol, np.geomspace(1e-3 * setup.t1, setup.t1, 20))
        table.add_row(name, samples, steps, f"{first:.2g}", f"{later:.2g}", f"{found:.1e}")
    Console(width=120).print(table)


if __name__ == "__main__":
    tyro.cli(main)
