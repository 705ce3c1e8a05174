r"""An itinerary does not depend on the units of loss, time and weights, nor on a constant added to the loss.

$L \to c L$ with $t \to t / c$; $\theta \to s\,\theta$ with $t \to s^2 t$, of the landscape $L(\theta / s)$.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import itinerary
from saddlescope.analysis.visits.noise import noise_floor
from saddlescope.analysis.visits.passages import scales_of
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, incoming, linear, relu
from saddlescope.models.units import with_units

from separable import polynomials, rotation, well
from vector import Vector

ROWS = (well(4.0), well(1.0), [0, 0, 0.5])
START, T1 = np.array([1e-3, 1e-4, 0.3]), 25.0


def flow_in(c=1.0, s=1.0, constant=0.0, rows=ROWS, start=START, t1=T1):
    """Two wells and a parabola in other units: all of them are one program."""
    coefficients = np.zeros((3, 5))
    for number, row in enumerate(rows):
        coefficients[number, : len(row)] = row
    coefficients[0, 0] += constant
    q = rotation(0)
    model = Vector(jnp.asarray(s * (q.T @ np.asarray(start, dtype=float))))
    return simulate(model, polynomials, [q / s, c * coefficients, np.asarray(0.0)], t1=t1 * s**2 / c)


def essence(visits, unit=1.0):
    """What must be the same, and times to be the same to the accuracy of the flow."""
    counts = [(v.kind.name, v.kind.index, v.kind.nullity, v.kind.order, v.passage.leaving) for v in visits]
    return counts, np.array([[v.passage.arrival, v.passage.departure or np.nan] for v in visits]) / unit


@pytest.fixture(scope="module")
def usual():
    return itinerary(flow_in())


@pytest.mark.parametrize(
    ("c", "s"), [(1e-12, 1), (1e12, 1), (1, 1e-6), (1, 1e6), (1e-12, 1e-6), (1e12, 1e-6), (1e-12, 1e6), (3e-5, 7e2)]
)
@pytest.mark.fast_for(
    "1-1e-06", "1000000000000.0-1", "1000000000000.0-1e-06", "1e-12-1000000.0", "1e-12-1e-06", "3e-05-700.0"
)
def test_units_of_loss_and_weights_do_not_matter(usual, c, s):
    visits = itinerary(flow_in(c, s))
    (counts, times), (expected, usual_times) = essence(visits, s**2 / c), essence(usual)
    assert counts == expected
    np.testing.assert_allclose(times, usual_times, rtol=1e-6, atol=1e-6)
    for visit, other in zip(visits, usual, strict=True):
        assert visit.critical_point.distance / s == pytest.approx(other.critical_point.distance, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("constant", [-1.25, -2.5, -1e3, 1e3])
def test_a_constant_added_to_the_loss_does_not_matter(usual, constant):
    """With −1.25 the loss is zero at the first saddle, with −2.5 it is negative from the start."""
    (counts, times), (expected, usual_times) = essence(itinerary(flow_in(constant=constant))), essence(usual)
    assert counts == expected
    np.testing.assert_allclose(times, usual_times, rtol=1e-6, atol=1e-6)
    scales, others = scales_of(flow_in(constant=constant)), scales_of(flow_in())
    assert scales.loss == pytest.approx(others.loss, rel=1e-9)


def test_the_noise_floor_is_in_units_of_the_speed():
    """Rounded to a tenth of a decade, it would differ by up to a quarter if that were in units of its own."""
    usual = noise_floor(flow_in())
    for c in (1e-12, 3e-5, 1.7, 1e12):
        np.testing.assert_allclose(noise_floor(flow_in(c))[[0, -1]] / c, usual[[0, -1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "start", "kind"),
    [
        (ROWS, (0, 0, 0), "strict saddle"),
        (([-0.25, 0, -0.5, 0, 0.25], ROWS[1], ROWS[2]), (0, 1, 0), "strict saddle"),
        (ROWS, (1, 1, 0), "minimum"),
        (([0], [0], [0]), (0.3, 0.2, 0.1), "minimum"),
        (([2.0], [0], [0]), (0, 0, 0), "minimum"),
        (([-2.0], [0], [0]), (0, 0, 0), "minimum"),
    ],
    ids=["a saddle", "a saddle of negative loss", "a minimum", "no loss", "constant loss, no weights", "negative"],
)
@pytest.mark.fast_for("a minimum", "a saddle", "a saddle of negative loss", "no loss")
def test_a_flow_that_has_nowhere_to_go_stays(rows, start, kind):
    flow = flow_in(rows=rows, start=start, t1=1.0)
    (visit,) = itinerary(flow)
    assert visit.passage.dwell is None and not visit.passage.leaving
    assert visit.kind.name in (kind, "undetermined") if kind == "minimum" else visit.kind.name == kind
    scales = scales_of(flow)
    assert np.all(np.isfinite([scales.loss, scales.gradient, scales.weight])) and min(scales.loss, scales.gradient) > 0


def network(activation, scale):
    return TwoLayer(Dense(activation, inputs=2, outputs=2), width=3, scale=scale, key=jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["zero inputs", "zero inputs and targets", "dead units", "a loss without weights"])
def test_a_network_that_nothing_moves_stays(case):
    x = np.abs(np.random.default_rng(1).standard_normal((10, 2)))
    model, loss, data = network(linear, 0.3), half_squared_error, (jnp.asarray(x), jnp.asarray(x))
    if case == "zero inputs":
        data = (0 * data[0], data[1])
    elif case == "zero inputs and targets":
        data = (0 * data[0], 0 * data[1])
    elif case == "dead units":
        model = network(relu, 0.3)
        model = with_units(model, -np.abs(incoming(model)), model.v)
    else:
        loss = lambda model, data: jnp.mean(data[0] ** 2)  # noqa: E731
    (visit,) = itinerary(simulate(model, loss, data, t1=5.0))
    assert visit.passage.dwell is None and visit.kind.name in ("minimum", "undetermined", "saddle (left)")
    assert visit.speed == 0 and np.isfinite(visit.loss)


class Single(eqx.Module):
    """Two parameters in single precision."""

    x: jax.Array


def double_well(model, data):
    return (model.x[0] ** 2 - 1) ** 2 / 4 + model.x[1] ** 2 / 2


def test_a_flow_in_single_precision_has_an_itinerary():
    """Analysed in double precision where JAX has it, and told why not where it has not."""
    flow = simulate(Single(jnp.array([1e-3, 1e-2], jnp.float32)), double_well, (), t1=30.0)
    assert flow.thetas.dtype == np.float32
    visits = itinerary(flow)
    assert [visit.kind.name for visit in visits] == ["strict saddle", "minimum"]
    assert [visit.kind.index for visit in visits] == [1, 0]
    assert visits[0].critical_point.theta.dtype == np.float64
    with jax.enable_x64(False):
        coarse = itinerary(simulate(Single(jnp.array([1e-3, 1e-2])), double_well, (), t1=30.0))
        text = str(coarse)
    assert {visit.kind.name for visit in coarse} == {"undetermined"}
    assert "kinds need float64" in text
    np.testing.assert_allclose([v.loss for v in coarse], [0.25, 0], atol=1e-4)


def test_a_spent_budget_leaves_kinds_undetermined(usual):
    flow = flow_in()
    visits = itinerary(flow, budget=0.0)
    assert [visit.time for visit in visits] == [visit.time for visit in usual]
    assert {visit.kind.evidence for visit in visits} == {"the budget of 0 seconds was spent"}
    assert essence(itinerary(flow, budget=1e4))[0] == essence(usual)[0]


def test_a_flow_cut_while_leaving_is_leaving(usual):
    visits = itinerary(flow_in(t1=0.95 * usual[1].passage.departure))
    assert [visit.passage.leaving for visit in visits] == [False, True]
    assert "leaving" in str(visits) and "stays" not in str(visits)
    assert not any(visit.passage.leaving for visit in usual)
