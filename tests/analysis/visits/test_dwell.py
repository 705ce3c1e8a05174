"""Predicted dwell times: the leading-order form's flow in closed form, its error, and the flows that it predicts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import Thresholds, critical_point, itinerary, spectrum
from saddlescope.analysis.critical_points.kind import Kind
from saddlescope.analysis.visits.dwell import predicted_dwell, said_share
from saddlescope.experiments.setups import figure_1
from saddlescope.experiments.setups.registry import experiment
from saddlescope.flows import Landscape, simulate
from saddlescope.models import Dense, TwoLayer, quadratic
from scipy.optimize import brentq

from exact_flows import leaving, recorded
from separable import well

START = 0.01


def cubic_time(y):
    """The time at which y' = y² − y³, the flow of −y³/3 + y⁴/4, is at y, up to a constant."""
    return np.log(y / (1 - y)) - 1 / y


def cubic_flow(pace=1.0, start=START):
    """That flow with the loss multiplied, and time divided, by `pace`."""
    levels = np.concatenate([np.geomspace(start, 0.5, 1000), 1 - np.geomspace(0.5, 1e-9, 1000)[1:]])
    ts = (cubic_time(levels) - cubic_time(start)) / pace
    row = pace * np.array([1 / 12, 0, 0, -1 / 3, 1 / 4])
    return recorded(ts, levels[:, None] * [1.0, 0, 0], row, *2 * ([0, 0, pace / 2],))


def test_a_degenerate_saddle_in_closed_form():
    """The form −y³/3 alone: y' = y² until y³ = 3 · 0.1/12. What it leaves out makes 4 %, of which 10 % is uncertain."""
    visit = itinerary(cubic_flow())[0]
    assert (visit.kind.name, visit.kind.order) == ("degenerate saddle", 3)
    form = 1 / START - 0.025 ** (-1 / 3)
    assert visit.escape.dwell_predicted == pytest.approx(form, rel=1e-4)
    end = brentq(lambda y: y**3 / 3 - y**4 / 4 - 1 / 120, 0.1, 0.9)
    exact = cubic_time(end) - cubic_time(START)
    assert visit.passage.dwell == pytest.approx(exact, rel=1e-6)
    error = visit.escape.dwell_error * visit.escape.dwell_predicted
    assert exact - form == pytest.approx(error, rel=0.1) and error > 0.03 * exact


@pytest.mark.parametrize("pace", [1e-3, 1e3])
def test_time_has_no_unit(pace):
    """(cL, t/c) has the dwell times divided by c, and the same error."""
    usual, other = (itinerary(cubic_flow(c))[0].escape for c in (1.0, pace))
    assert pace * other.dwell_predicted == pytest.approx(usual.dwell_predicted, rel=1e-9)
    assert other.dwell_error == pytest.approx(usual.dwell_error, rel=1e-9)


def test_all_growing_coordinates_count():
    """Two wells of rates 1 and 0.8: y₁ = a e^t and y₂ = b e^{0.8 t} lower the loss together, neither does alone."""
    ts, rates, starts = np.linspace(0, 40, 8001), np.array([1.0, 0.8]), np.array([2.4e-4, 1e-3])
    paths = [leaving(ts, start, rate) for start, rate in zip(starts, rates, strict=True)]
    visits = itinerary(recorded(ts, np.stack([*paths, 0 * ts], axis=1), well(1.0), well(0.8)))
    drop = visits[0].loss - visits[1].loss
    linearised = lambda t: rates @ (starts * np.exp(rates * t)) ** 2 / 2 - 0.1 * drop  # noqa: E731
    escape, dwell = visits[0].escape, visits[0].passage.dwell
    assert escape.dwell_predicted == pytest.approx(brentq(linearised, 0, 40), rel=1e-4)
    assert abs(dwell - escape.dwell_predicted) == pytest.approx(escape.dwell_error * dwell, rel=0.2)
    for rate, start in zip(rates, starts, strict=True):
        alone = np.log(np.sqrt(0.2 * drop / rate) / start) / rate
        assert abs(alone - dwell) > 2 * abs(escape.dwell_predicted - dwell)


class Plane(eqx.Module):
    x: Array


def trough(model, data):
    """Along x the loss falls only because y follows it, y = −x²: F₄ = 1/4 − 1/2."""
    x, y = model.x
    return y**2 / 2 + y * x**2 + x**4 / 4


def test_coordinates_that_follow_the_null_space_count():
    """x' = x³ from 0.01 until x⁴ = 4 · 0.01², with F₄ of the relaxed loss; there it is all of the loss."""
    landscape = Landscape(Plane(jnp.zeros(2)), trough, ())
    point = critical_point(landscape)
    kind = Kind(name="degenerate saddle", evidence="by hand", order=4, spectrum=spectrum(landscape))
    found = predicted_dwell(landscape, np.array([START, -(START**2)]), point, kind, -1e-4)
    assert found is not None
    assert found.time == pytest.approx((START**-2 - 0.02**-1) / 2, rel=1e-3)
    # y lags behind −x² by y' = −2 x x' = −2 x⁴: a share x² of what it does, on the average over time.
    assert found.error < 0.01


def scaled_error(model, data):
    """A squared error of which the data say the unit: a single program for all."""
    x, y, unit = data
    return unit * jnp.mean((jax.vmap(model)(x) - y) ** 2)


@pytest.fixture(scope="module")
def dormant():
    """Itineraries of one small quadratic network whose loss is measured in two units."""
    angles = np.arange(12) * np.pi / 6
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    y = np.array([[1.0 + 2 * a * a - 0.7 * b * b] for a, b in x])
    model = TwoLayer(Dense(quadratic, inputs=2, outputs=1), width=6, scale=1e-3, key=jax.random.key(3))
    units = (1.0, 1e3)
    flows = [simulate(model, scaled_error, (x, y, np.asarray(unit)), t1=3000.0 / unit) for unit in units]
    return [itinerary(flow) for flow in flows]


def test_dormant_units_turn_as_they_grow(dormant):
    """Third order from random directions: the prediction is right to within the error that it states."""
    visits = dormant[0]
    first = visits[0]
    assert first.kind.order == 3 and first.kind.added_unit_form.order == 3
    for visit in visits[:-1]:
        escape, dwell = visit.escape, visit.passage.dwell
        assert escape.dwell_error < 0.01
        assert abs(escape.dwell_predicted - dwell) < 1.2 * escape.dwell_error * dwell
    # The largest unit, were it on the steepest direction from the beginning, would be early by several per cent.
    units = np.linalg.norm(first.critical_point.start.reshape(3, 6), axis=0)
    shortest = 1 / (first.kind.added_unit_form.rate * np.max(units))
    assert shortest < 0.97 * first.passage.dwell


def test_dormant_units_have_no_unit_of_time(dormant):
    for usual, other in zip(*dormant, strict=True):
        if usual.escape is not None:
            assert 1e3 * other.escape.dwell_predicted == pytest.approx(usual.escape.dwell_predicted, rel=1e-4)


@pytest.mark.parametrize("factor", [1e-3, 10.0])
def test_a_form_of_order_three_is_homogeneous(dormant, factor):
    """From s θ the loss falls by s³ F in the time T / s in which it falls by F from θ."""
    visit = dormant[0][0]
    point, fall = visit.critical_point, 1e-3
    start = point.start * 0.01 / np.linalg.norm(point.start)
    usual, other = (
        predicted_dwell(point.landscape, s * start, point, visit.kind, point.loss - s**3 * fall) for s in (1.0, factor)
    )
    assert usual is not None and other is not None
    assert factor * other.time == pytest.approx(usual.time, rel=1e-3)


def test_no_prediction_where_the_next_order_is_not_small():
    """From 0.08 on the cubic is late by ln(0.29/0.08) in 9: nothing is said unless it is asked for."""
    flow = cubic_flow(start=0.08)
    visits = itinerary(flow)
    escape = visits[0].escape
    assert escape.dwell_predicted is None and escape.dwell_error is None
    assert "no prediction holds" in str(escape) and "(–)" in str(visits)
    asked = itinerary(flow, thresholds=Thresholds(dwell_error=1.0))[0].escape
    assert 0.1 < asked.dwell_error < 0.3 and "to within" in str(asked)


@pytest.mark.parametrize(("share", "said"), [(0.0102, "2 %"), (0.00033, "0.04 %"), (0.01, "1 %"), (0.095, "10 %")])
def test_errors_are_rounded_up(share, said):
    assert said_share(share) == said


@pytest.mark.slow
@pytest.mark.parametrize("name", [item.name for item in figure_1.SETUPS])
@pytest.mark.parametrize("small", [True, False])
def test_the_set_ups(name, small):
    """Ten seeds: 2 % on the first plateau for ε ≤ 5e-4, 10 % on later ones of an e-fold; and what the error says."""
    usual = experiment(name)
    scale = min(usual.scale, 5e-4) if small else max(usual.scale, 5e-4)
    horizon = usual.t1 * max(usual.scale / scale, 1.0)
    for seed in range(10):
        setup = usual.setup(seed, scale=scale, t1=horizon)
        visits = itinerary(simulate(setup.model, setup.loss, setup.data, t1=setup.t1))
        for number, visit in enumerate(visits):
            escape, dwell = visit.escape, visit.passage.dwell
            if escape is None or dwell is None:
                continue
            if number == 0 or escape.e_folds >= 1:
                assert escape.dwell_predicted is not None, f"seed {seed}, visit {number}"
            if escape.dwell_predicted is not None:
                off = abs(escape.dwell_predicted / dwell - 1)
                assert off <= (0.02 if number == 0 and scale <= 5e-4 else 0.1), f"seed {seed}, visit {number}"
                assert off <= 1.2 * escape.dwell_error, f"seed {seed}, visit {number}"
