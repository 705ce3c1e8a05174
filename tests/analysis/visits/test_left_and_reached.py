"""What a flow did outweighs what the derivatives say: points that it left, and points that it never came to."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import Thresholds, classify, critical_point, itinerary
from saddlescope.analysis.critical_points.kind import Kind
from saddlescope.analysis.visits.itinerary import _About as About
from saddlescope.analysis.visits.left import departure_rate, unless_left
from saddlescope.analysis.visits.passages import passages, scales_of
from saddlescope.analysis.visits.reached import unless_out_of_reach
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, relu
from saddlescope.models.units import with_units

from exact_flows import FAST, SLOW, leaving, recorded, two_wells
from separable import rotation, well
from vector import Vector

MINIMUM = Kind(name="minimum", evidence="as a test has it")


def point_at(flow, y, start):
    """The critical point at y = Qx, which is known exactly, as seen from saved time number `start`."""
    landscape = flow.landscape
    model = Vector(y @ rotation(0))
    found = critical_point(Landscape(model, landscape.loss, landscape.data))
    theta, begun = np.asarray(model.x), flow.thetas[start]
    value = float(landscape.value(theta))
    return dataclasses.replace(
        found, theta=theta, loss=value, start=begun, distance=float(np.linalg.norm(theta - begun)), converged=True
    )


@pytest.fixture(scope="module")
def flow():
    return two_wells()


def test_the_rate_of_a_departure_is_the_eigenvalue(flow):
    first, second, _ = passages(flow)
    for passage, (rate, _) in zip((first, second), (FAST, SLOW), strict=True):
        measured, e_folds = departure_rate(flow, passage)
        # At departure y² = 1 − √0.9, where the speed a (y − y³) grows at a (1 − 3y²).
        assert measured == pytest.approx(rate, rel=0.15) and measured < rate
        assert e_folds > 3


def test_what_counted_as_a_minimum_is_the_strict_saddle_that_the_rate_tells(flow):
    """With a threshold above the eigenvalue −1 at the second saddle, and then without."""
    _, second, last = passages(flow)
    point = point_at(flow, np.array([1.0, 0, 0]), second.index)
    right = classify(point)
    assert (right.name, right.index) == ("strict saddle", 1)
    assert right.spectrum is not None
    coarse = dataclasses.replace(MINIMUM, spectrum=dataclasses.replace(right.spectrum, zero_threshold=1.5))
    kind = unless_left(flow, second, point, coarse)
    assert (kind.name, kind.order, kind.index, kind.nullity) == ("strict saddle", 2, 1, 0)
    assert "the flow left this point at a rate of" in kind.evidence and "as a test has it" in kind.evidence
    # Where nothing is known of eigenvalues, or none is of the size of the rate, it is a saddle all the same.
    for spectrum in (None, dataclasses.replace(coarse.spectrum, eigenvalues=np.array([-1e-3, 1.0, 2.0]))):
        kind = unless_left(flow, second, point, dataclasses.replace(coarse, spectrum=spectrum))
        assert (kind.name, kind.order) == ("saddle (left)", None)
    # So it is if an eigenvalue has to be the rate to the last digit; and it has to grow by the e-folds asked for.
    strict = Thresholds(rate_agreement=1.0)
    assert unless_left(flow, second, point, coarse, thresholds=strict).name == "saddle (left)"
    assert unless_left(flow, second, point, coarse, thresholds=Thresholds(left_growth=50.0)) is coarse
    # A minimum that is not left, and any other kind, stay as they are.
    assert unless_left(flow, last, point, coarse) is coarse
    assert unless_left(flow, second, point, right) is right


def test_a_point_whose_loss_the_flow_does_not_fall_below_may_be_a_minimum(flow):
    _, second, _ = passages(flow)
    lowest = point_at(flow, np.array([1.0, 1.0, 0]), second.index)
    assert unless_left(flow, second, lowest, MINIMUM) is MINIMUM


def test_a_slow_escape_is_told_in_the_itinerary():
    """A second well of depth 1e-9 beside one of depth 1: its eigenvalue −1e-9 is left at that rate.

    Beside the scale of the curvature it is small, but the flow does not take it for zero."""
    fast, slow = (1.0, 1e-3), (1e-9, 1e-4)
    ts = np.concatenate([np.linspace(0, 40, 2001), 40 + np.linspace(0, 2.5e10, 4001)[1:]])
    ys = np.stack([leaving(ts, start, rate) for rate, start in (fast, slow)] + [0 * ts], axis=1)
    visits = itinerary(recorded(ts, ys, well(fast[0]), well(slow[0]), rtol=1e-13, atol=1e-16))
    assert [visit.kind.name for visit in visits] == ["strict saddle", "strict saddle", "minimum"]
    assert visits[1].kind.index == 1
    assert visits[1].escape.rate_predicted == pytest.approx(1e-9, rel=1e-6)


def test_a_degenerate_saddle_that_looks_like_a_minimum_is_a_saddle():
    r"""$\dot y = y^2$ in the landscape −y³/3 + y⁴/4: left algebraically, without a negative eigenvalue."""
    y = np.concatenate([np.linspace(0.05, 0.9, 400), 1 - np.geomspace(0.1, 1e-7, 200)[1:]])
    # dt = dy / (y² (1 − y))
    ts = np.log(y / (1 - y)) - 1 / y
    flow = recorded(ts - ts[0], y[:, None] * [1.0, 0, 0], [0, 0, 0, -1 / 3, 1 / 4])
    first, _ = passages(flow)
    point = point_at(flow, np.zeros(3), first.index)
    kind = unless_left(flow, first, point, dataclasses.replace(MINIMUM, spectrum=classify(point).spectrum))
    assert kind.name == "saddle (left)" and "to a lower loss" in kind.evidence
    assert itinerary(flow)[0].kind.name in ("degenerate saddle", "saddle (left)")


def test_a_point_farther_away_than_the_flow_moves_is_not_reached(flow):
    """Around the second saddle the flow moves by √2 to the third visit and 1 to the first."""
    first, second, last = passages(flow)
    around = first.index, last.index
    near = point_at(flow, np.array([1.0, 0, 0]), second.index)
    assert unless_out_of_reach(flow, second, around, near, MINIMUM) is MINIMUM
    far = point_at(flow, np.array([-1.0, 0, 0]), second.index)
    assert far.distance > 1.9
    kind = unless_out_of_reach(flow, second, around, far, MINIMUM)
    assert kind.name == "no critical point" and "not reached" in kind.evidence
    # It has stayed at loss 0, and not at a saddle of loss ¼ nearby.
    other = dataclasses.replace(point_at(flow, np.array([1.0, 1.0, 0]), last.index), loss=1e-5, distance=0.02)
    ends = second.index, len(flow.ts) - 1
    kind = unless_out_of_reach(flow, last, ends, other, MINIMUM)
    assert kind.name == "no critical point" and "converged to a lower loss" in kind.evidence
    there = point_at(flow, np.array([1.0, 1.0, 0]), last.index)
    assert unless_out_of_reach(flow, last, ends, there, MINIMUM) is MINIMUM


def test_a_visit_lies_between_the_departure_before_it_and_the_arrival_after_it(flow):
    visited = passages(flow)
    assert len(visited) == 3
    around = [About(flow, visited, number, (), scales_of(flow), Thresholds()).around for number in range(3)]
    before, after = [visited[0].departure, visited[1].departure], [visited[1].arrival, visited[2].arrival]
    expected = np.searchsorted(flow.ts, [*before, *after])
    np.testing.assert_array_equal(around, [(0, expected[2]), (expected[0], expected[3]), (expected[1], 5000)])


def test_a_flow_that_was_leaving_when_it_ended_moved_as_far_as_it_came(flow):
    """Cut short at 0.1 from the second saddle, which it left, it says nothing of points at distance 2."""
    _, second, _ = passages(flow)
    index = second.index
    away = np.linalg.norm(flow.thetas[index:] - flow.thetas[index], axis=1)
    cut = dataclasses.replace(second, departure=None, leaving=True)
    end = index + int(np.argmax(away > 0.1))
    far = point_at(flow, np.array([-1.0, 0, 0]), index)
    assert unless_out_of_reach(flow, cut, (index, end), far, MINIMUM).name == "no critical point"
    assert unless_out_of_reach(flow, dataclasses.replace(cut, leaving=False), (index, end), far, MINIMUM) is MINIMUM


def test_a_flow_that_starts_at_its_critical_point_has_reached_it():
    """To rounding: it moves less than the point is away."""
    ts = np.linspace(0, 5, 11)
    ys = np.array([1.0, 0, 0]) + 1e-16 * np.exp(-2 * ts)[:, None]
    flow = recorded(ts, ys, well(1.0))
    (visit,) = itinerary(flow)
    assert (visit.kind.name, visit.passage.dwell) == ("minimum", None)


def test_close_units_are_not_taken_for_one_where_the_flow_has_converged_to_two():
    """Two ReLU units 0.01 rad apart that fit their data: the network of width one has its minimum elsewhere."""
    first, angle = np.array([1.0, 0.3]), 0.01
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    units, outputs = np.stack([first, turn @ first]), np.array([[1.0], [0.7]])
    base = TwoLayer(Dense(relu, inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((10, 2)))
    data = x, jax.vmap(with_units(base, jnp.asarray(units), jnp.asarray(outputs)))(x)
    begun = with_units(base, jnp.asarray(1.3 * units), jnp.asarray(0.8 * outputs))
    flow = simulate(begun, half_squared_error, data, t1=200.0)
    last = itinerary(flow)[-1]
    assert last.kind.name == "minimum"
    assert last.critical_point.distance < 1e-4 and last.critical_point.loss < 1e-20
