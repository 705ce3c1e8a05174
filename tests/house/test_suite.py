"""Long checks on the benchmark's suite, run by hand: agreement with Dopri8, memory, and the cost of a plateau."""

import subprocess
import sys

import numpy as np
import pytest
from saddlescope.flows.simulation.tolerances import default_atol
from saddlescope.models.quick import quickly_compiled

from suite import compiled
from suite.problems import PROBLEMS, softplus_teacher, with_times
from suite.solvers import DENSE, OURS, PEERS

pytestmark = pytest.mark.slow
# A method of second order would take 10⁵ steps at the tolerance of the others.
RTOL = dict.fromkeys(OURS, 1e-7) | {"RKC2": 1e-5}
# At tighter tolerances its steps shrink without end at some kinks; `candidate_solvers` does not offer it there.
LOOSER = {("relu", "Rodas5P"): 1e-5}
# Horizons and samples with which Dopri8 takes a minute; with the suite's it takes half an hour and more.
SMALLER = {
    "wide": lambda: PROBLEMS["wide"]()._replace(t1=100.0),
    "softplus-33": lambda: softplus_teacher(2, 8, 1e3, samples=500),
    "softplus-601": lambda: softplus_teacher(4, 100, 5.0, samples=500),
}
# Problems on which compilation takes longer than all steps, also without optimisation.
SHORT = {"attention", "deep-linear", "linear", "relu"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_solver_agrees_with_dopri8(name, monkeypatch):
    monkeypatch.setattr(compiled, "LIMIT", np.inf)
    monkeypatch.setattr(compiled, "MAX_STEPS", 2_000_000)
    if name in SHORT:
        monkeypatch.setattr(compiled, "COMPILED", quickly_compiled)
    problem = with_times(SMALLER.get(name, PROBLEMS[name])())
    theta = np.asarray(problem.theta)
    expected = PEERS["Dopri8"](problem, 1e-11, default_atol(theta, 1e-11)).states
    errors, allowed = {}, {}
    for label, solver in OURS.items():
        if label == "auto" or label in problem.without or (label in DENSE and not problem.dense):
            continue
        rtol = LOOSER.get((name, label), RTOL[label])
        work = solver(problem, rtol, default_atol(theta, rtol))
        distances = np.linalg.norm(work.states - expected, axis=1) / np.linalg.norm(expected, axis=1)
        errors[label] = float(np.max(distances)) / rtol
        print(f"{name}, {label}: {errors[label]:.3g} tolerances in {work.steps} steps", flush=True)
        # The errors of all steps, each within the tolerance, may add up. Of order two, where the error of a step is of
        # order three, the sum goes with the tolerance to the power 2/3; of higher ones it is amplified on plateaus.
        allowed[label] = work.steps if label == "RKC2" else min(work.steps, 100)
    assert all(errors[label] < allowed[label] for label in errors), errors


# Of the process itself: `getrusage` counts what its parent had before it began.
PEAK = """
import re
from pathlib import Path
import jax
jax.config.update("jax_enable_x64", True)
from saddlescope.flows import mean_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, tanh
keys = jax.random.split(jax.random.key(0), 3)
x = jax.random.normal(keys[0], (50, 99))
y = jax.vmap(TwoLayer(Dense(tanh, inputs=99), width=4, scale=1.0, key=keys[1]))(x)
model = TwoLayer(Dense(tanh, inputs=99), width=100, scale=1e-2, key=keys[2])
flow = simulate(model, mean_squared_error, (x, y), t1=1e6, rtol=1e-6)
print(flow.result.value, flow.ts[-1], flow.thetas.shape[1], flow.stats["num_steps"], flow.stats["solver_history"])
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def test_peak_memory_of_a_long_flow_of_ten_thousand_parameters():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    print(done.stdout)
    *_, summary, megabytes = done.stdout.strip().splitlines()
    assert " 1000000.0 10000 " in f" {summary} "
    assert float(megabytes) < 1000
