"""Runs cut in pieces: between chunks, by a kill signal, over a change of solver."""

import functools
import signal
import subprocess
import sys
from pathlib import Path

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import GradientFlow, Landscape, mean_squared_error, simulate
from saddlescope.flows.simulation import integration, stepping
from saddlescope.flows.simulation.recorder import Recorder
from saddlescope.flows.simulation.solver_state import fresh_state, parameter_norm
from saddlescope.flows.simulation.steps import FIELDS, Steps, join
from saddlescope.flows.solvers import BDF, KrylovRosenbrock
from saddlescope.flows.solvers.controller import ResumableController

import long_run


def same_bits(one, other):
    assert one.result is other.result
    assert one.stats == other.stats
    for name in FIELDS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.fixture(scope="module")
def whole():
    return long_run.run(1e4)


@pytest.mark.parametrize(
    "solver",
    [dfx.Tsit5(), *(pytest.param(s, marks=pytest.mark.slow) for s in (BDF(), KrylovRosenbrock(4, quadratures=1)))],
)
def test_chunks_take_the_steps_of_one_solve(solver):
    model, data = long_run.problem()
    landscape, rtol = Landscape(model, mean_squared_error, data), 1e-6
    theta = landscape.theta
    tolerances, t1, dt = (rtol, 1e-3 * rtol), 400.0, 0.01
    chunked = [Steps(*(np.asarray(a)[None] for a in (0.0, theta, 0.0, 0.0, 0.0)))]
    state = fresh_state(landscape, solver, chunked[0], dt, tolerances)
    while chunked[-1].ts[-1] < t1:
        chunk = stepping.advance(landscape, solver, chunked[-1][-1:], t1, state, tolerances)
        chunked.append(chunk.steps)
        state = chunk.solver_state
    assert len(chunked) > 2
    found = join(chunked)
    solution = eqx.filter_jit(dfx.diffeqsolve)(
        dfx.ODETerm(GradientFlow(landscape)),
        solver,
        0.0,
        jnp.asarray(t1),
        jnp.asarray(dt),
        (jnp.asarray(theta), jnp.zeros(())),
        saveat=dfx.SaveAt(steps=True),
        stepsize_controller=ResumableController(
            dfx.PIDController(*(jnp.asarray(a) for a in tolerances), norm=parameter_norm)
        ),
    )
    count = int(solution.stats["num_accepted_steps"])
    # Two programs round differently, and steps pass that on; a wrong state would change them by percents.
    np.testing.assert_allclose(found.ts[1:], solution.ts[:count], rtol=1e-6)
    np.testing.assert_allclose(found.thetas[1:], solution.ys[0][:count], rtol=1e-6, atol=1e-8)


# Before the solver changes, in the middle of a round of steps, and after.
@pytest.mark.parametrize("time", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_with_the_same_bits(time, whole, tmp_path):
    path = tmp_path / "flow.npz"
    program = [sys.executable, str(Path(long_run.__file__)), str(path), str(time)]
    killed = subprocess.run(program, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert path.exists()
    same_bits(long_run.run(1e4, checkpoint=path), whole)
    # A finished run is read back, and only then a larger horizon continues it.
    same_bits(long_run.run(1e4, checkpoint=path), whole)
    longer = long_run.run(2e4, checkpoint=path)
    assert longer.ts[-1] == 2e4
    assert np.array_equal(longer.ts[: len(whole.ts)], whole.ts)


def outgoing_signs(model):
    return model.v


@pytest.fixture(scope="module")
def watched():
    return long_run.run(1e4, save_times=[5.0, 5.1, 300.0], sign_changes={"signs": outgoing_signs})


@pytest.mark.parametrize("length", [1, 7, stepping.CHUNK])
@pytest.mark.fast_for("128")
def test_where_calls_end_changes_no_bit(length, watched, tmp_path, monkeypatch):
    """Over stops, sign changes, a change of solver, and a resumption in the middle of a round."""
    monkeypatch.setattr(integration.Integration, "steps_of_call", lambda self: length)
    options = {
        "save_times": [5.0, 5.1, 300.0],
        "sign_changes": {"signs": outgoing_signs},
        "checkpoint": tmp_path / "flow.npz",
    }
    for most in (100, 200):
        with pytest.warns(UserWarning, match="maximum number of steps"):
            part = long_run.run(1e4, max_steps=most, **options)
        assert part.stats["num_steps"] == most
    found = long_run.run(1e4, **options)
    assert len(found.stats["solver_history"]) == 2 and len(found.sign_changes["signs"]) > 0
    same_bits(found, watched)
    assert np.array_equal(found.sign_changes["signs"].times, watched.sign_changes["signs"].times)


def test_where_calls_end_changes_no_thinned_path(monkeypatch):
    monkeypatch.setattr(integration, "Recorder", functools.partial(Recorder, limit=100 * 50))
    whole = long_run.run(1e4)
    assert len(whole.ts) < 110 < whole.stats["num_accepted_steps"]
    monkeypatch.setattr(integration.Integration, "steps_of_call", lambda self: 7)
    same_bits(long_run.run(1e4), whole)


def test_checkpoints_of_other_flows_raise(tmp_path):
    path = tmp_path / "flow.npz"
    model, (x, y) = long_run.problem()
    settings = {"t1": 1.0, "checkpoint": path, "rtol": 1e-6}
    simulate(model, mean_squared_error, (x, y), **settings)
    with pytest.raises(ValueError, match="another flow: data differ"):
        simulate(model, mean_squared_error, (x, 2 * y), **settings)
    with pytest.raises(ValueError, match="another flow: solver differ"):
        simulate(model, mean_squared_error, (x, y), solver=dfx.Dopri8(), **settings)
    with pytest.raises(ValueError, match="another flow: rtol, atol differ"):
        simulate(model, mean_squared_error, (x, y), **(settings | {"rtol": 1e-7}))
    with pytest.raises(ValueError, match="reached t = 1, beyond t1=0.5"):
        simulate(model, mean_squared_error, (x, y), **(settings | {"t1": 0.5}))
    path.write_text("something else")
    with pytest.raises(ValueError, match="not a saved checkpoint"):
        simulate(model, mean_squared_error, (x, y), **settings)


def test_the_solver_changes_when_stability_holds_steps_short(whole):
    assert [name for _, name in whole.stats["solver_history"]][0] == "Tsit5"
    assert len(whole.stats["solver_history"]) == 2
    assert "held short by stability" in str(whole)
    model, data = long_run.problem()
    exact = simulate(model, mean_squared_error, data, t1=200.0, solver=dfx.Dopri8(), rtol=1e-11)
    found = long_run.run(1e4, save_times=[200.0])
    at = int(np.searchsorted(found.ts, 200.0))
    distance = np.linalg.norm(found.thetas[at] - exact.thetas[-1]) / np.linalg.norm(exact.thetas[-1])
    assert distance < 1e-4
    assert found.energy_error < 1e-5


def test_short_flows_stay_explicit():
    assert long_run.run(30.0).stats["solver_history"] == [(0.0, "Tsit5")]


def test_cost_grows_with_the_logarithm_of_the_horizon():
    """On a plateau as in every later decade of time."""
    longer = long_run.run(1e6)
    assert longer.ts[-1] == 1e6
    before, *decades = np.histogram(longer.ts, [1e2, 1e3, 1e4, 1e5, 1e6])[0]
    assert max(decades) < 1.5 * before


def test_a_checkpoint_is_of_what_is_computed(tmp_path):
    """Another loss, or quantity, of the same name is another flow; the same one under another name is the same."""
    path = tmp_path / "flow.npz"
    model, data = long_run.problem()
    same = {"t1": 1.0, "rtol": 1e-6, "checkpoint": path}
    loss, tenfold = (
        lambda model, data: mean_squared_error(model, data),
        lambda model, data: 10 * mean_squared_error(model, data),
    )
    first = simulate(model, loss, data, sign_changes={"signs": lambda model: model.v}, **same)
    with pytest.raises(ValueError, match="another flow: loss differ"):
        simulate(model, tenfold, data, sign_changes={"signs": lambda model: model.v}, **same)
    with pytest.raises(ValueError, match="another flow: sign_changes differ"):
        simulate(model, loss, data, sign_changes={"signs": lambda model: model.u}, **same)
    partial = functools.partial(mean_squared_error)
    same_bits(simulate(model, partial, data, sign_changes={"signs": lambda model: model.v}, **same), first)


class Weighted(eqx.Module):
    """A loss that is a module with an array."""

    weight: jax.Array

    def __call__(self, model, data):
        return self.weight * mean_squared_error(model, data)


def test_a_loss_may_be_a_module_and_its_arrays_identify_it(tmp_path):
    model, data = long_run.problem()
    same = {"t1": 1.0, "rtol": 1e-6, "checkpoint": tmp_path / "flow.npz"}
    first = simulate(model, Weighted(jnp.asarray(2.0)), data, **same)
    np.testing.assert_allclose(first.losses[0], 2 * mean_squared_error(model, data), rtol=1e-14)
    same_bits(simulate(model, Weighted(jnp.asarray(2.0)), data, **same), first)
    with pytest.raises(ValueError, match="another flow: loss differ"):
        simulate(model, Weighted(jnp.asarray(3.0)), data, **same)


def test_a_budget_spent_in_reading_a_checkpoint_does_not_overwrite_it(whole, tmp_path):
    path = tmp_path / "flow.npz"
    long_run.run(1e4, checkpoint=path)
    before = path.read_bytes()
    with pytest.warns(UserWarning, match="budget"):
        part = long_run.run(2e4, checkpoint=path, budget=0.0)
    assert part.ts[-1] == 1e4
    assert path.read_bytes() == before
    same_bits(long_run.run(1e4, checkpoint=path), whole)


def test_a_checkpoint_that_cannot_be_written_leaves_flow_and_old_one(tmp_path, monkeypatch):
    path = tmp_path / "flow.npz"
    with pytest.warns(UserWarning, match="maximum number of steps"):
        long_run.run(30.0, checkpoint=path, max_steps=50)
    before = path.read_bytes()

    def disk_full(file, **arrays):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", disk_full)
        with pytest.warns(
            UserWarning, match=r"without a new checkpoint: cannot write .*flow.npz: No space left on dev"
        ):
            assert long_run.run(30.0, checkpoint=path).ts[-1] == 30.0
    assert path.read_bytes() == before
    assert long_run.run(30.0, checkpoint=path).ts[-1] == 30.0
    for place in (tmp_path, tmp_path / "missing" / "flow.npz"):
        with pytest.raises(ValueError, match="a checkpoint is a file in a folder that exists"):
            long_run.run(30.0, checkpoint=place)
