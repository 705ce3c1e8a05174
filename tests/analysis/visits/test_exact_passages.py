"""Passages, noise floors, escapes and comparisons of flows that are known in closed form."""

import numpy as np
import pytest
from saddlescope.analysis import Thresholds, compare, itinerary
from saddlescope.analysis.visits.noise import noise_floor
from saddlescope.analysis.visits.passages import passages, scales_of

from exact_flows import FAST, SEED, SLOW, leaving, recorded, time_of, two_wells
from separable import rotation, well


@pytest.mark.parametrize("curvature", [0.5, 20.0])
@pytest.mark.parametrize(("rtol", "atol"), [(1e-6, 1e-9), (1e-9, 1e-4), (None, None)])
def test_the_noise_floor_in_closed_form(curvature, rtol, atol):
    r"""Equal curvature c in all directions: $100\,c\,(rtol\,\|\theta\| + atol \sqrt 3)$, or a tenth of a decade more.

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


@pytest.mark.parametrize(("rtol", "atol"), [(0.1, 1e-12), (1e-9, 1e-3)])
def test_a_flow_at_a_loose_tolerance_is_followed_to_rest(rtol, atol):
    """θ' = −θ: below a speed f the loss falls by f²/2, which is 1e-4 of its range at a hundredth of the first speed.

    With another share, it is the first speed times its root; a share that is rounding decides only if it is larger."""
    ts = np.linspace(0, 15, 3001)
    flow = recorded(ts, np.exp(-ts)[:, None] * np.array([2.0, -1.0, 2.0]), *3 * ([0, 0, 1 / 2],), rtol=rtol, atol=atol)
    (visit,) = passages(flow)
    assert visit.at_noise
    assert flow.speeds[visit.index] / flow.speeds[0] == pytest.approx(0.01, rel=0.02)
    for name in ("loss_unseen", "loss_silent"):
        (visit,) = passages(flow, thresholds=Thresholds(**{name: 4e-4}))
        # The loss's own size is here its range; that of its rounding, ‖∇L‖‖θ‖, is twice that where the floor is met.
        assert 0.0195 < flow.speeds[visit.index] / flow.speeds[0] < 0.029


def test_scales_are_those_of_the_whole_flow():
    """Range of the loss, largest speed and weights anywhere, curvature at the end, where a well has 2."""
    ts = np.linspace(0, 20, 400)
    flow = recorded(ts, leaving(ts, 0.01, 1.0)[:, None] * [1.0, 0, 0], well(1.0))
    scales = scales_of(flow)
    assert scales.loss == pytest.approx((1 - 1e-4) ** 2 / 4, rel=1e-9)
    assert scales.gradient == pytest.approx(2 / 27**0.5, rel=1e-3)
    assert scales.weight == pytest.approx(1.0, rel=1e-9)
    assert scales.curvature == pytest.approx(2.0, rel=0.1)


@pytest.fixture(scope="module")
def flow():
    return two_wells()


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


def test_an_escape_that_rounding_seeds_is_told():
    """The second well starts at 1e-25, which the weights, of size 1 by then, do not resolve: 4 ε of them."""
    slow = (SLOW[0], 1e-25)
    flow = two_wells(slow=slow, t1=75.0)
    with pytest.warns(UserWarning, match="seeded by rounding"):
        visits = itinerary(flow)
    assert [visit.escape.seeded_by_rounding for visit in visits[:2]] == [False, True]
    assert not any(visit.escape.seeded_by_rounding for visit in itinerary(two_wells())[:2])


@pytest.mark.parametrize(("pace", "fate"), [(0.9, "lengthened"), (0.995, "kept"), (1.005, "kept"), (1.1, "left early")])
def test_what_follows_the_same_path_at_another_pace(flow, pace, fate):
    """Dwell times are in the inverse ratio of the paces, 1 to a hundredth is the same.

    An optimiser with a time scale of its own is measured by its time to the last plateau."""
    other = two_wells(pace=pace)
    found = compare(flow, other)
    for plateau, passage in zip(found.plateaus, passages(flow), strict=False):
        assert plateau.dwell == pytest.approx(passage.dwell)
        assert plateau.other_dwell == pytest.approx(passage.dwell / pace, rel=1e-4)
        assert plateau.ratio == pytest.approx(1 / pace, rel=1e-4)
        assert plateau.fate == fate
    ts = found.ts
    assert ts[-1] <= flow.ts[-1] and len(ts) == np.sum(other.ts <= flow.ts[-1])
    behind = np.stack([leaving(pace * ts, y, rate) - leaving(ts, y, rate) for rate, y in (FAST, SLOW)])
    np.testing.assert_allclose(found.distances, np.linalg.norm(behind, axis=0), atol=1e-8)
    own = compare(flow, two_wells(pace=pace, follows_flow=False))
    assert [plateau.fate for plateau in own.plateaus] == ["kept", "kept"]
    np.testing.assert_allclose([plateau.ratio for plateau in own.plateaus], 1.0, rtol=1e-4)
    np.testing.assert_allclose(
        [plateau.other_dwell for plateau in own.plateaus], [p.other_dwell for p in found.plateaus]
    )


@pytest.mark.parametrize(("rate", "fate"), [(3.95, "skipped"), (3.82, "left early")])
def test_a_plateau_is_skipped_if_it_takes_less_than_half_of_the_drop_after_it(flow, rate, fate):
    """The second well so fast that its plateau takes 0.45 or 0.51 of its drop, by crossings on a fine grid."""
    ts, (fast, start) = np.linspace(0, 5, 500_001), FAST
    losses = fast * (leaving(ts, start, fast) ** 2 - 1) ** 2 / 4 + (leaving(ts, SLOW[1], rate) ** 2 - 1) ** 2 / 4
    arrival, departure, after = (ts[np.argmax(losses <= level)] for level in (0.35, 0.225, 0.025))
    share = (departure - arrival) / (after - departure)
    assert abs(share - 0.5) < 0.06 and (share < 0.5) == (fate == "skipped")
    assert [plateau.fate for plateau in compare(flow, two_wells(slow=(rate, SLOW[1]))).plateaus] == ["kept", fate]
