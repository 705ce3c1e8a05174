"""Sign changes along a flow: against closed forms, independent searches, and over interruptions."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.theory import orthogonal_unit
from saddlescope.experiments import orthogonal_points
from saddlescope.flows import Result, crossing_time, half_squared_error, load, mean_squared_error, simulate
from saddlescope.flows.simulation.approach import zero_from_before
from saddlescope.flows.simulation.sign_changes import SignChanges, check_sign_changes
from saddlescope.flows.simulation.steps import Steps
from saddlescope.flows.solvers import BDF, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P
from saddlescope.models import Dense, TwoLayer, incoming, linear, relu
from saddlescope.models.units import with_units
from scipy.optimize import brentq

from compilations import compiled
from vector import Vector

STRENGTHS, SCALE = np.array([2.0, 1.0]), 1e-2


def aligned():
    """Two modes that grow each on its own: u = s / (1 + (s/ε² − 1) exp(−2 s t)) (Saxe et al. 2014, Eq. 7)."""
    model = TwoLayer(Dense(linear, inputs=2, outputs=2), width=2, scale=1.0, key=jax.random.key(0))
    weights = jnp.asarray(SCALE * np.eye(2))
    x = np.sqrt(2) * np.eye(2)
    return with_units(model, weights, weights), (jnp.asarray(x), jnp.asarray(x * STRENGTHS))


def strengths(model):
    """Strengths of the two modes, less the half of what they grow to."""
    return jnp.diag(jax.vmap(model)(jnp.eye(2))) - STRENGTHS / 2


@pytest.mark.parametrize("solver", [None, pytest.param(BDF(), marks=pytest.mark.slow)])
def test_half_times_of_modes_are_the_closed_form(solver):
    model, data = aligned()
    rtol = 1e-10 if solver is None else 1e-8
    flow = simulate(
        model, half_squared_error, data, t1=30.0, sign_changes={"half": strengths}, solver=solver, rtol=rtol
    )
    found = flow.sign_changes["half"]
    assert flow.result is Result.reached_t1
    np.testing.assert_array_equal(found.entries, [0, 1])
    np.testing.assert_array_equal(found.directions, [1, 1])
    np.testing.assert_allclose(found.times, np.log(STRENGTHS / SCALE**2 - 1) / (2 * STRENGTHS), rtol=100 * rtol)


def test_a_quantity_is_compiled_once_for_chunks_of_any_length():
    model, data = aligned()
    with compiled() as programs:
        simulate(
            model,
            half_squared_error,
            data,
            t1=30.0,
            # Chunks end at them, after any number of steps.
            save_times=[1.0, 1.1, 7.0],
            sign_changes={"both": lambda model: jnp.sum(strengths(model))},
        )
    assert sum("_positive" in name for name in programs) == 1


@pytest.mark.slow
def test_a_loss_level_is_where_crossing_time_finds_it():
    model, data = aligned()
    quantities = {
        "low": lambda model: half_squared_error(model, data) - 0.6,
        "never": lambda model: half_squared_error(model, data) - 100.0,
    }
    flow = simulate(model, half_squared_error, data, t1=30.0, sign_changes=quantities)
    crossing = crossing_time(model, half_squared_error, data, 0.6, 30.0)
    np.testing.assert_allclose(flow.sign_changes["low"].times, [crossing.time], rtol=1e-9)
    assert list(flow.sign_changes["low"].directions) == [-1]
    assert len(flow.sign_changes["never"]) == 0


@pytest.fixture(scope="module")
def kinked():
    """ReLU units that turn over the samples on their way."""
    keys = jax.random.split(jax.random.key(3), 3)
    x = jax.random.normal(keys[0], (12, 2))
    y = jnp.sin(2 * x[:, :1])
    return TwoLayer(Dense(relu, inputs=2, outputs=1), width=4, scale=0.3, key=keys[1]), (x, y)


def test_kinks_are_where_units_switch(kinked, tmp_path):
    model, (x, y) = kinked

    def inputs(model):
        return x @ incoming(model).T

    flow = simulate(model, mean_squared_error, (x, y), t1=2.5, sign_changes={"kinks": inputs}, rtol=1e-8)
    found = flow.sign_changes["kinks"]
    assert len(found) >= 3
    assert np.all(np.diff(found.times) >= 0)
    scale = float(jnp.max(jnp.abs(inputs(flow.final_model))))
    for time, entry in zip(found.times, found.entries, strict=True):
        assert abs(np.ravel(inputs(flow.model(time)))[entry]) < 1e-8 * scale
    # Every sign is the one at the start, turned as often as it was recorded.
    signs = np.ravel(inputs(model)) > 0
    for entry, direction in zip(found.entries, found.directions, strict=True):
        assert signs[entry] == (direction < 0)
        signs[entry] = direction > 0
    np.testing.assert_array_equal(signs, np.ravel(inputs(flow.final_model)) > 0)
    flow.save(tmp_path / "flow.npz")
    read = load(tmp_path / "flow.npz", model, mean_squared_error, (x, y))
    for field in ("times", "entries", "directions"):
        np.testing.assert_array_equal(getattr(read.sign_changes["kinks"], field), getattr(found, field))


def test_sign_changes_survive_interruption(kinked, tmp_path):
    model, (x, y) = kinked
    settings = {"t1": 2.5, "rtol": 1e-12, "sign_changes": {"kinks": lambda model: x @ incoming(model).T}}
    whole = simulate(model, mean_squared_error, (x, y), **settings)
    path = tmp_path / "flow.npz"
    with pytest.warns(UserWarning, match="maximum number of steps"):
        half = whole.stats["num_steps"] // 2
        part = simulate(model, mean_squared_error, (x, y), checkpoint=path, max_steps=half, **settings)
    assert 0 < len(part.sign_changes["kinks"]) < len(whole.sign_changes["kinks"])
    resumed = simulate(model, mean_squared_error, (x, y), checkpoint=path, **settings)
    np.testing.assert_array_equal(resumed.sign_changes["kinks"].times, whole.sign_changes["kinks"].times)
    with pytest.raises(ValueError, match="another flow: sign_changes differ"):
        simulate(model, mean_squared_error, (x, y), checkpoint=path, **(settings | {"sign_changes": None}))


SOLVERS = {
    "Tsit5": dfx.Tsit5(),
    "BDF": BDF(),
    "MatrixFreeBDF": BDF(matrix_free=True, quadratures=1),
    "Rodas5P": Rodas5P(symmetric=True, quadratures=1),
    "ExtrapolatedRKC": ExtrapolatedRKC(quadratures=1),
    "KrylovRosenbrock": KrylovRosenbrock(quadratures=1),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "Tsit5" else pytest.mark.slow) for name in SOLVERS]
)
def test_the_time_of_a_kink_is_as_accurate_as_the_flow_before_it(name):
    """A unit loses its second sample at w₂ = 0; until then it is solved exactly.

    The error of the time is that of w₂ at the last step before it, over the slope of w₂. Steps across the kink, in
    which the slope jumps to zero, tell it to a few per cent of their length only, or not before the next one.
    """
    targets, start, weight = np.array([1.0, -1.0]), np.array([0.02, 0.05]), 0.06
    data = orthogonal_points(np.ones(2), targets)
    base = TwoLayer(Dense(relu, inputs=2), width=1, scale=1.0, key=jax.random.key(0))
    model = with_units(base, jnp.asarray(start[None]), jnp.asarray([[weight]]))

    def exact(t):
        return orthogonal_unit(np.atleast_1d(t) / 2, start, weight, targets)[0][:, 1]

    kink = brentq(lambda t: exact(t)[0], 0.1, 3.0, xtol=1e-15)
    slope = (exact(kink + 1e-6) - exact(kink - 1e-6))[0] / 2e-6
    for rtol in (1e-6, 1e-8, 1e-10):
        settings = {"sign_changes": {"kinks": lambda model: incoming(model)[0]}, "solver": SOLVERS[name], "rtol": rtol}
        flow = simulate(model, half_squared_error, data, t1=3.0, **settings)
        found = flow.sign_changes["kinks"]
        assert (list(found.entries), list(found.directions)) == ([1], [-1])
        before = flow.ts < min(found.times[0], kink)
        error = np.max(np.abs(flow.thetas[before, 1] - exact(flow.ts[before])))
        assert abs(found.times[0] - kink) <= 2 * error / abs(slope) + 1e-14


@pytest.mark.parametrize("after", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("zero", [1 + 1e-9, 1.1, 1.5, 1.999, 2 - 1e-9])
def test_a_zero_is_found_from_before_whatever_follows_it(zero, after):
    """g = sin(zero − t) up to the zero; then its slope is `after` times what it was: zero, smaller or larger."""

    def record(t):
        rest = {name: np.array([t]) for name in ("ts", "energies", "losses", "speeds")}
        return Steps(thetas=np.array([[t]]), **rest)

    def value(steps):
        t = float(steps.ts[-1])
        return np.sin(zero - t) if t < zero else after * (zero - t) - 1e-12

    pair = jax.tree.map(lambda *arrays: np.concatenate(arrays), record(1.0), record(2.0))
    asked = []

    def onto(start, t):
        asked.append(t)
        return record(t)

    assert zero_from_before(value, onto, pair) == pytest.approx(zero, abs=4e-15)
    assert len(asked) < 60
    # Both signs, and at the ends.
    assert zero_from_before(lambda steps: -value(steps), onto, pair) == pytest.approx(zero, abs=4e-15)


@pytest.mark.parametrize(
    ("quantities", "message"),
    [
        ([strengths], "dictionary from names"),
        ({"not a name": strengths}, "an identifier and a function"),
        ({"count": lambda model: 3}, "must return finite real numbers"),
        ({"log": lambda model: jnp.log(-1.0)}, "must return finite real numbers"),
    ],
)
def test_what_is_no_quantity_raises(quantities, message):
    with pytest.raises(ValueError, match=message):
        check_sign_changes(quantities, aligned()[0])


def test_simulate_checks_the_quantities():
    model, data = aligned()
    with pytest.raises(ValueError, match="must return finite real numbers"):
        simulate(model, half_squared_error, data, t1=1.0, sign_changes={"count": lambda model: 3})


def test_sign_changes_within_one_step_are_in_order_of_time():
    """$x' = -x$ passes two close levels within one step, that of the second entry first."""
    levels = np.array([0.5, 0.5 + 1e-4])
    flow = simulate(
        Vector(jnp.ones(1)),
        lambda model, data: jnp.sum(model.x**2) / 2,
        (),
        t1=2.0,
        rtol=1e-8,
        sign_changes={"levels": lambda model: model.x - levels},
    )
    found = flow.sign_changes["levels"]
    times = np.log(1 / levels[::-1])
    assert np.ptp(np.searchsorted(flow.ts, times)) == 0
    np.testing.assert_array_equal(found.entries, [1, 0])
    np.testing.assert_allclose(found.times, times, rtol=1e-7)
    assert str(found).splitlines() == [
        "2 sign changes",
        "  t = 0.692947: entry 1 becomes non-positive",
        "  t = 0.693147: entry 0 becomes non-positive",
    ]


def test_many_sign_changes_are_told_in_six_lines():
    times = np.arange(1.0, 10.0)
    many = SignChanges(times=times, entries=np.zeros(9, int), directions=(-1) ** np.arange(9))
    lines = str(many).splitlines()
    assert lines[0] == "9 sign changes" and len(lines) == 6
    assert lines[1] == "  t = 1: entry 0 becomes positive" and lines[-1] == "  … 5 more, the last at t = 9"
    assert str(SignChanges.none()) == "0 sign changes"
