r"""Passages, noise floors and escapes of flows known in closed form, recorded as they are: nothing is integrated.

In a double well $\frac a4 (y^2 - 1)^2$ the flow $\dot y = a (y - y^3)$ is $y^{-2} = 1 + (y_0^{-2} - 1) e^{-2at}$.
"""

import numpy as np
import pytest
from saddlescope.analysis import itinerary
from saddlescope.analysis.visits.passages import noise_floor, passages, scales_of
from saddlescope.flows import Result
from saddlescope.flows.simulation.stepping import Steps
from saddlescope.flows.simulation.trajectory import Trajectory

from separable import rotation, separable, well

SEED = 0


def recorded(ts, ys, *rows, rtol=1e-9, atol=1e-12, **stats):
    """The trajectory through given y at given times, on the landscape of given polynomials."""
    landscape = separable(*rows, at=ys[0], seed=SEED)
    thetas = ys @ rotation(SEED)
    losses, gradients = landscape.values_and_gradients(thetas)
    speeds = np.linalg.norm(gradients, axis=1)
    steps = Steps(ts=ts, thetas=thetas, energies=losses[0] - losses, losses=losses, speeds=speeds)
    stats = {"rtol": rtol, "atol": atol, **stats}
    return Trajectory(steps=steps, result=Result.reached_t1, stats=stats, landscape=landscape, solver=None)


def leaving(ts, start, rate):
    """A double well's coordinate."""
    return (1 + (start**-2 - 1) * np.exp(-2 * rate * ts)) ** -0.5


def time_of(start, rate, left):
    """When the share `left` of its drop is still to come: (y² − 1)² = left."""
    square = 1 - np.sqrt(left)
    return np.log(square * (1 - start**2) / (start**2 * (1 - square))) / (2 * rate)


@pytest.mark.parametrize("curvature", [0.5, 20.0])
@pytest.mark.parametrize(("rtol", "atol"), [(1e-6, 1e-9), (1e-9, 1e-4), (None, None)])
def test_the_noise_floor_in_closed_form(curvature, rtol, atol):
    r"""Equal curvature c in all directions: $100\,c\,(rtol\,\|\theta\| + atol \sqrt 3)$, at most a tenth of a decade more.

    At the end nothing is left of θ but the absolute tolerance; an optimiser has neither and is exact to rounding."""
    ts = np.linspace(0, 30 / curvature, 100)
    ys = np.exp(-curvature * ts)[:, None] * np.array([2.0, -1.0, 2.0])
    flow = recorded(ts, ys, *3 * ([0, 0, curvature / 2],), rtol=rtol, atol=atol)
    relative, absolute = (np.finfo(float).eps, 0.0) if rtol is None else (rtol, atol * np.sqrt(3))
    exact = 100 * curvature * (relative * np.linalg.norm(ys, axis=1) + absolute)
    ratios = noise_floor(flow) / exact
    assert np.all(ratios >= 1 - 1e-9) and np.all(ratios <= 10**0.1 * (1 + 1e-9))
    # Converged beyond what its tolerances can tell, or not.
    (visit,) = passages(flow)
    assert visit.at_noise == (atol is not None)
    assert visit.departure is None and visit.dwell is None


def test_scales_are_those_of_the_whole_flow():
    """Loss at the start, largest speed and weights anywhere, curvature at the end, where a well has 2."""
    ts = np.linspace(0, 20, 400)
    flow = recorded(ts, leaving(ts, 0.01, 1.0)[:, None] * [1.0, 0, 0], well(1.0))
    scales = scales_of(flow)
    assert scales.loss == pytest.approx((1 - 1e-4) ** 2 / 4, rel=1e-9)
    assert scales.gradient == pytest.approx(2 / 27**0.5, rel=1e-3)
    assert scales.weight == pytest.approx(1.0, rel=1e-9)
    assert scales.curvature == pytest.approx(2.0, rel=0.1)


FAST, SLOW = (4.0, 1e-3), (1.0, 1e-4)


@pytest.fixture(scope="module")
def flow():
    """Two double wells: the deeper one is left first, then the other."""
    ts = np.linspace(0, 25, 5001)
    ys = np.stack([leaving(ts, start, rate) for rate, start in (FAST, SLOW)] + [0 * ts], axis=1)
    return recorded(ts, ys, well(FAST[0]), well(SLOW[0]))


def test_arrivals_and_departures_in_closed_form(flow):
    """A tenth of a drop after, and nine tenths of it before."""
    first, second, last = passages(flow)
    assert (first.time, first.arrival) == (0.0, 0.0)
    (fast, x), (slow, y) = FAST, SLOW
    # What the other coordinate does meanwhile is a few millionths of a drop.
    assert first.departure == pytest.approx(time_of(x, fast, 0.9), abs=2e-4)
    assert second.arrival == pytest.approx(time_of(x, fast, 0.1), abs=2e-4)
    assert second.departure == pytest.approx(time_of(y, slow, 0.9), abs=2e-4)
    assert last.arrival == pytest.approx(time_of(y, slow, 0.1), abs=2e-4)
    assert last.departure is None
    for visit in (first, second):
        assert visit.dwell == visit.departure - visit.arrival


def test_crossings_are_told_to_better_than_a_step():
    """One well, on 40 times: by the cubic through losses and speeds to 1e-4 of the fall, not to a step of 1/2."""
    ts = np.linspace(0, 20, 41)
    coarse = recorded(ts, leaving(ts, 1e-3, 1.0)[:, None] * [1.0, 0, 0], well(1.0))
    first, last = passages(coarse)
    # The record ends, and starts, where what is left of the drop is less than 1e-5 of it.
    assert first.departure == pytest.approx(time_of(1e-3, 1.0, 0.9), abs=2e-3)
    assert last.arrival == pytest.approx(time_of(1e-3, 1.0, 0.1), abs=2e-3)


def test_visits_and_escapes_in_closed_form(flow):
    """Each saddle with its index and rate; it is left along one coordinate, at y² = 1 − √0.9 after ln(y/y₀)/a."""
    visits = itinerary(flow)
    assert [visit.kind.name for visit in visits] == ["strict saddle", "strict saddle", "minimum"]
    assert [visit.kind.index for visit in visits] == [2, 1, 0]
    np.testing.assert_allclose([visit.critical_point.loss for visit in visits], [1.25, 0.25, 0.0], atol=1e-10)
    assert visits[2].escape is None
    for k, (visit, (rate, start)) in enumerate(zip(visits, (FAST, SLOW), strict=False)):
        left = visit.escape
        assert left.order == 2 and not left.seeded_by_rounding
        assert left.rate_predicted == pytest.approx(rate, rel=1e-8)
        # The rate y'/y = a (1 − y²) of a steady phase may fall by a hundredth.
        assert left.rate_measured == pytest.approx(rate, rel=0.01) and left.rate_measured < rate
        axis = rotation(SEED)[k]
        assert left.direction @ axis == pytest.approx(1.0, abs=1e-3) and left.overlap == pytest.approx(1.0, abs=1e-3)
        # From the first time at or after arrival, until half of a y² has fallen by a tenth of a/4.
        arrived = flow.ts[np.searchsorted(flow.ts, visit.passage.arrival)]
        expected = np.log(np.sqrt(0.05) / leaving(arrived, start, rate)) / rate
        assert left.dwell_predicted == pytest.approx(expected, rel=1e-3)
        assert left.dwell_predicted == pytest.approx(visit.passage.dwell, rel=0.03)
        # The steady phase ends at y² = 1/100.
        assert left.e_folds == pytest.approx(np.log(0.1 / leaving(arrived, start, rate)), abs=0.05)
