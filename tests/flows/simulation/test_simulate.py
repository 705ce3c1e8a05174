"""What simulate promises beyond accuracy: default tolerances, stops, stiffness, precision, saving."""

import dataclasses
import time
import warnings

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import itinerary
from saddlescope.analysis.visits.passages import passages
from saddlescope.flows import Result, half_squared_error, load, mean_squared_error, simulate
from saddlescope.flows.simulation import integration
from saddlescope.flows.simulation.recorder import Recorder
from saddlescope.flows.simulation.steps import FIELDS, Steps
from saddlescope.flows.solvers.kvaerno import PatientChord, kvaerno5
from saddlescope.models import Dense, TwoLayer, linear, low_rank_plus_noise, relu
from saddlescope.models.units import unit_vectors, with_units
from scipy.optimize import brentq

from vector import Vector


def two_modes(scale, strengths=(2.0, 1.0), angle=0.0):
    """Aligned weights of equal size `scale` in both modes, in a basis rotated by `angle`."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[c, -s], [s, c]])
    scale = np.broadcast_to(scale, 2)
    model = TwoLayer(Dense(linear, inputs=2, outputs=2), width=2, scale=1.0, key=jax.random.key(0))
    weights = rotation @ np.diag(scale) @ rotation.T
    model = with_units(model, jnp.asarray(weights), jnp.asarray(weights.T))
    x = np.sqrt(2) * np.eye(2)
    target = rotation @ np.diag(strengths) @ rotation.T
    return model, (jnp.asarray(x), jnp.asarray(x @ target.T))


@pytest.mark.parametrize("scale", [1e-8, 1e-4])
def test_dwell_time_with_default_tolerances(scale):
    """The first plateau ends when a tenth of the drop is done: the loss is a sum of two logistics in closed form."""
    model, data = two_modes(scale, angle=0.4)
    flow = simulate(model, half_squared_error, data, t1=45.0)
    first, second, _ = passages(flow)
    s = np.array([2.0, 1.0])

    def loss(t):
        u = s / (1 + (s / scale**2 - 1) * np.exp(-2 * s * t))
        return 0.5 * np.sum((s - u) ** 2)

    level = 0.9 * loss(first.time) + 0.1 * loss(second.time)
    assert first.dwell == pytest.approx(brentq(lambda t: loss(t) - level, 0, second.time, xtol=1e-13), rel=1e-7)


def test_time_scales_with_the_loss():
    """L' = cL means t' = t/c: two outputs make the half squared error equal the mean squared error."""
    model, data = two_modes(1e-2, angle=0.3)
    half = simulate(model, half_squared_error, data, t1=3.0)
    mean = simulate(model, mean_squared_error, data, t1=3.0)
    np.testing.assert_allclose(half.thetas[-1], mean.thetas[-1], rtol=1e-12)
    double = simulate(model, lambda m, d: 2 * half_squared_error(m, d), data, t1=1.5)
    np.testing.assert_allclose(half.thetas[-1], double.thetas[-1], rtol=1e-8)


def test_rounding_that_seeds_an_escape_is_reported():
    """Mode two is exactly absent; in a rotated basis rounding brings it up, and the itinerary says so."""
    model, data = two_modes((1e-3, 0.0), angle=0.4)
    flow = simulate(model, half_squared_error, data, t1=80.0)
    with pytest.warns(UserWarning, match="seeded by rounding"):
        visits = itinerary(flow)
    assert [visit.effective_width.width for visit in visits] == [0, 1, 2]
    assert visits[1].escape.seeded_by_rounding
    assert "seeded by rounding" in str(visits)


@pytest.mark.parametrize(("scale", "angle", "seeded"), [(1e-36, 0.0, False), (1e-20, 0.4, False), (1e-36, 0.4, True)])
@pytest.mark.fast_for("1e-20-0.4-False")
def test_an_escape_is_in_time_unless_rounding_is_reported(scale, angle, seeded):
    """Mode two is as small as ε^½ beside mode one, and exact in its own basis, however small."""
    model, data = two_modes(scale, angle=angle)
    flow = simulate(model, half_squared_error, data, t1=90.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        visits = itinerary(flow)
    s = np.array([2.0, 1.0])

    def loss(t):
        u = s / (1 + np.exp(np.log(s) - 2 * np.log(scale) - 2 * s * t))
        return 0.5 * np.sum((s - u) ** 2)

    # A tenth of the second drop is done.
    expected = brentq(lambda t: loss(t) - 0.45, 0, 90)
    error = abs(visits[1].passage.departure - expected)
    assert (error > 0.1) == seeded and (error < 1e-3) != seeded
    assert [visit.escape.seeded_by_rounding for visit in visits[:2]] == [False, seeded]
    assert len(said) == seeded


def test_an_absent_mode_stays_absent_in_its_own_basis():
    model, data = two_modes((1e-3, 0.0))
    flow = simulate(model, half_squared_error, data, t1=60.0)
    assert flow.losses[-1] == pytest.approx(0.5, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visits = itinerary(flow)
    # The flow ends at a saddle: never call it a minimum.
    assert [visit.kind.name for visit in visits] == ["strict saddle", "strict saddle"]


def robertson(t, y, args):
    a, b = 0.04 * y[0] - 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.array([-a, a - b, b])


def solve_robertson(solver):
    controller = dfx.PIDController(rtol=1e-6, atol=1e-9)
    y0 = jnp.array([1.0, 0.0, 0.0])
    term = dfx.ODETerm(robertson)
    return dfx.diffeqsolve(term, solver, 0.0, 1e4, 1e-4, y0, stepsize_controller=controller, max_steps=2000)


@pytest.mark.slow
def test_robertson_takes_the_right_number_of_steps():
    """With the chord iteration repaired; were it not, some 526 steps with 269 rejected would be taken."""
    solution = solve_robertson(kvaerno5())
    assert int(solution.stats["num_steps"]) == 49
    assert int(solution.stats["num_rejected_steps"]) == 2
    # Reference from SciPy's Radau at rtol 1e-12.
    from scipy.integrate import solve_ivp

    reference = solve_ivp(
        lambda t, y: np.asarray(robertson(t, y, None)), (0, 1e4), [1, 0, 0], "Radau", rtol=1e-10, atol=1e-14
    )
    np.testing.assert_allclose(solution.ys[-1], reference.y[:, -1], rtol=1e-4)


def test_the_implicit_solver_crosses_a_stiff_valley():
    """Curvatures 1 and 1e6: the explicit step is bound by 1e-6, the implicit one is not."""

    def loss(model, data):
        x = model.x
        return 0.5 * (1e6 * (x[0] - x[1] ** 2) ** 2 + x[1] ** 2)

    flow = simulate(Vector(jnp.array([1.0, 1.0])), loss, (), t1=3.0, solver=kvaerno5(), rtol=1e-6, atol=1e-8)
    assert flow.result is Result.reached_t1
    assert flow.stats["num_steps"] < 3000
    assert isinstance(flow.solver.root_finder, PatientChord)
    # On the valley floor x₀ = x₁² the flow is x₁' = −x₁/(1 + 4x₁²), up to 1e-6.
    x = flow.thetas[-1][1]
    assert np.log(x) + 2 * x**2 == pytest.approx(2.0 - 3.0, abs=1e-4)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_the_patient_iteration_ends_within_its_tolerance(tolerance):
    """And no sooner than it has to: the error is a share of the tolerance, not of a looser one."""
    target, strength = jnp.array([1.0, 2.5]), 0.3
    solver = PatientChord(rtol=tolerance, atol=tolerance, norm=optx.max_norm)
    function = lambda y, args: y + strength * jnp.sin(y) - target  # noqa: E731
    found = optx.root_find(function, solver, jnp.array([0.9, 2.3]), max_steps=50)
    exact = [brentq(lambda y, end=end: y + strength * np.sin(y) - end, 0, 3, xtol=1e-15) for end in target]
    errors = np.abs(found.value - np.array(exact)) / (tolerance * (1 + np.abs(exact)))
    assert np.max(errors) < 0.1


@pytest.fixture(scope="module")
def problem():
    return two_modes(1e-2, angle=0.2)


def test_stop_at_convergence(problem):
    flow = simulate(problem[0], half_squared_error, problem[1], t1=1e4, convergence=1e-6)
    assert flow.result is Result.converged
    assert flow.speeds[-1] < 1e-6 <= flow.speeds[-2]


def test_convergence_does_not_stop_a_slow_start():
    """At a small scale the flow starts slower than it will end."""
    model, data = two_modes(1e-8)
    flow = simulate(model, half_squared_error, data, t1=100.0, convergence=1e-6)
    assert flow.losses[-1] < 1e-10


def test_stop_at_max_steps_and_budget(problem):
    with pytest.warns(UserWarning, match="maximum number of steps"):
        flow = simulate(problem[0], half_squared_error, problem[1], t1=1e4, max_steps=100)
    assert flow.result is Result.max_steps
    assert flow.stats["num_steps"] == 100
    assert 0 < flow.ts[-1] < 1e4
    with pytest.warns(UserWarning, match="budget"):
        began = time.monotonic()
        endless = {"t1": 1e9, "max_steps": 10**9, "solver": dfx.Tsit5()}
        flow = simulate(problem[0], half_squared_error, problem[1], budget=0.5, **endless)
    assert flow.result is Result.budget
    assert time.monotonic() - began < 30


def test_a_flow_that_blows_up_is_a_value_not_a_nan():
    def loss(model, data):
        return -(model.x[0] ** 3) / 3  # x' = x²: infinite at t = 1

    with pytest.warns(UserWarning, match="stopped early"):
        flow = simulate(Vector(jnp.array([1.0])), loss, (), t1=2.0, max_steps=3000)
    assert flow.result in (Result.not_finite, Result.max_steps)
    assert np.all(np.isfinite(flow.losses)) and np.all(np.isfinite(flow.speeds))
    assert flow.ts[-1] == pytest.approx(1.0, abs=1e-6)


def test_sliding_along_a_kink_is_said_not_suffered():
    """One neuron whose kink w·x₂ = 0 attracts from both sides: x₁ pulls it across, x₂ pushes it back."""
    x = jnp.array([[1.0, 0.0], [0.5, 1.0]])
    model = TwoLayer(Dense(relu, inputs=2, outputs=1), width=1, scale=1.0, key=jax.random.key(0))
    model = with_units(model, jnp.array([[0.4, -0.25]]), jnp.array([[0.5]]))
    with pytest.warns(UserWarning, match="slides along a kink"):
        flow = simulate(model, half_squared_error, (x, jnp.array([[2.0], [-5.0]])), t1=50.0)
    assert flow.result is Result.sliding
    assert flow.stats["num_steps"] < 5000
    assert abs(float(flow.final_model.u[0] @ x[1])) < 1e-8


def test_interruption_keeps_what_was_computed(problem, monkeypatch):
    original, calls = integration.advance, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(integration, "advance", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        flow = simulate(problem[0], half_squared_error, problem[1], t1=1e3, solver=dfx.Tsit5())
    assert flow.result is Result.interrupted
    assert len(flow.ts) > 100 and flow.ts[-1] < 1e3


def test_saved_times_are_stepped_onto(problem):
    times = np.concatenate([np.geomspace(1e-3, 1.0, 7), np.linspace(1.0, 4.0, 6)[1:]])
    flow = simulate(problem[0], half_squared_error, problem[1], t1=5.0, save_times=times)
    assert np.all(np.isin(times, flow.ts))
    assert flow.ts[-1] == 5.0
    plain = simulate(problem[0], half_squared_error, problem[1], t1=5.0)
    np.testing.assert_allclose(flow.thetas[-1], plain.thetas[-1], rtol=1e-8)


def test_every_transition_is_resolved(problem):
    """Between neighbouring saved times the loss never falls by more than a twentieth of its whole drop."""
    flow = simulate(problem[0], half_squared_error, problem[1], t1=1e3)
    assert np.max(-np.diff(flow.losses)) < 0.05 * (flow.losses[0] - flow.losses[-1])


@given(limit=st.integers(4, 40), chunks=st.lists(st.integers(1, 30), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_a_thinned_path_keeps_its_ends_and_stops(limit, chunks, seed):
    times = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1, sum(chunks) + 1))
    stops = times[[len(times) // 3, -1]]

    def steps(t):
        return Steps(t, t[:, None], t, t, t)

    path, start = Recorder(steps(times[:1]), stops, limit), 1
    for count in chunks:
        path.extend(steps(times[start : start + count]))
        start += count
    kept = path.steps().ts
    assert np.all(np.diff(kept) > 0) and set(kept) <= set(times)
    assert kept[0] == times[0] and kept[-1] == times[-1] and set(stops) <= set(kept)
    assert len(kept) <= limit + max(chunks) + 3
    assert path.accepted == len(times) - 1
    # What is left out is left out evenly.
    assert np.max(np.diff(np.searchsorted(times, kept))) <= 2 * (2 * len(times) // limit + 1)


def test_save_and_load(problem, tmp_path):
    flow = simulate(problem[0], half_squared_error, problem[1], t1=5.0)
    path = tmp_path / "flow.npz"
    flow.save(path)
    back = load(path, problem[0], half_squared_error, problem[1])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(back, name), getattr(flow, name))
    assert back.result is flow.result and back.stats == flow.stats
    np.testing.assert_array_equal(back.evaluate(1.234), flow.evaluate(1.234))
    assert [item.name for item in tmp_path.iterdir()] == ["flow.npz"]
    with pytest.raises(OSError, match="cannot write .*: it is a folder"):
        flow.save(tmp_path)
    path.write_bytes(b"no trajectory")
    with pytest.raises(ValueError, match="not a saved trajectory"):
        load(path, problem[0], half_squared_error, problem[1])


def test_low_rank_start_has_no_first_plateau():
    """Large low-rank weights plus noise: the loss falls at once, then plateaus come."""
    x = np.sqrt(3) * np.eye(3)
    target = np.diag([6.0, 3.0, 2.0]) / 11
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=20, scale=1.0, key=jax.random.key(1))
    small = low_rank_plus_noise(model, rank=0, size=0.0, scale=1e-4, key=jax.random.key(2))
    large = low_rank_plus_noise(model, rank=1, size=0.1, scale=1e-4, key=jax.random.key(2))
    values = np.linalg.svd(np.asarray(unit_vectors(large)), compute_uv=False)
    assert values[0] > 100 * values[1]
    data = jnp.asarray(x), jnp.asarray(x @ target.T)
    flows = [simulate(m, half_squared_error, data, t1=60.0) for m in (small, large)]
    assert passages(flows[0])[0].dwell > 5
    assert passages(flows[1])[0].time > 1
    with pytest.raises(ValueError, match="rank must lie between"):
        low_rank_plus_noise(model, rank=7, size=0.1, scale=1e-4, key=jax.random.key(2))


def test_a_trajectory_speaks_and_shows_itself_escaped(problem):
    flow = simulate(problem[0], half_squared_error, problem[1], t1=5.0)
    assert str(flow).splitlines()[0] == "gradient flow to t = 5 (t1 reached)"
    stats = flow.stats | {"reason": "a < b & c"}
    changed = dataclasses.replace(flow, stats=stats)
    assert changed._repr_html_() == f"<pre>{str(flow)}\n  a &lt; b &amp; c</pre>"
