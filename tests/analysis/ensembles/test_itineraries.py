"""Itineraries of ensembles: what `itinerary` finds of each member, and what members share."""

import jax
import numpy as np
import pytest
from saddlescope.analysis import itineraries, itinerary
from saddlescope.flows import ensemble, mean_squared_error
from saddlescope.models import Dense, TwoLayer, linear, relu

# Orthogonal inputs, with the levels ½ ∑ of the targets' squares that are not yet learned: 2.5, 0.5, 0.
X, Y = np.eye(2) * np.sqrt(2), np.sqrt(2) * np.diag([2.0, 1.0])


def network(key, scale=1e-4):
    return TwoLayer(Dense(linear, inputs=2, outputs=2), width=4, scale=scale, key=key)


@pytest.fixture(scope="module")
def flows():
    return ensemble(network, mean_squared_error, (X, Y), t1=40.0, keys=[jax.random.key(k) for k in range(4)])


@pytest.fixture(scope="module")
def found(flows):
    return itineraries(flows)


def test_visits_are_those_of_each_trajectory(flows, found):
    for number in range(len(flows)):
        alone = itinerary(flows[number])
        several = found.visits[number]
        assert len(several) == len(alone) == 3
        for visit, passage, widths in zip(alone, several.passages, several.effective_widths, strict=True):
            assert passage.index == visit.passage.index
            np.testing.assert_allclose(passage.arrival, visit.passage.arrival)
            assert passage.dwell == pytest.approx(visit.passage.dwell) and passage.at_noise == visit.passage.at_noise
            assert [w.width for w in widths] == [w.width for w in visit.effective_widths]
            np.testing.assert_allclose(widths[0].sizes, visit.effective_widths[0].sizes)


@pytest.mark.slow
def test_critical_points_that_members_share_are_refined_once(flows, found):
    assert found.found is not None and list(found.found.itineraries) == [0]
    every = itineraries(flows, share=False)
    assert every.found is not None and len(every.found.itineraries) == len(flows)
    shared, own = found.dataset(), every.dataset()
    for name in ("kind", "index", "nullity", "order", "effective_width", "loss", "dwell"):
        np.testing.assert_array_equal(shared[name], own[name], err_msg=name)
    np.testing.assert_allclose(shared.rate_predicted, own.rate_predicted, rtol=1e-9)
    # The speed grows at the rate of the distance from a strict saddle, as far as a rate is steady.
    np.testing.assert_allclose(shared.rate_measured[:, 0], own.rate_measured[:, 0], rtol=5e-3)
    assert np.all(np.isnan(shared.dwell_predicted[1:])) and np.all(np.isfinite(own.dwell_predicted[:, 0]))
    assert found[2][0].kind.name == "strict saddle" and found[0] is found.found.itineraries[0]


def test_the_dataset_holds_the_closed_forms(flows, found):
    """Levels and rates of linear networks: the escape rate at a saddle is the largest value that is not learned."""
    data = found.dataset()
    assert dict(data.sizes) == {"member": 4, "visit": 3, "layer": 1}
    np.testing.assert_array_equal(data.effective_width, [[0, 1, 2]] * 4)
    # The second saddle is passed at a distance.
    np.testing.assert_allclose(data.loss[:, :2], [[2.5, 0.5]] * 4, rtol=1e-2)
    np.testing.assert_allclose(data.rate_predicted[:, :2], [[2.0, 1.0]] * 4, rtol=1e-8)
    np.testing.assert_array_equal(data.kind, [["strict saddle", "strict saddle", "minimum"]] * 4)
    assert data.kind.dtype.kind == "U" and data["index"].dtype == np.int32
    np.testing.assert_allclose(data.dwell, data.departure - data.arrival)
    assert np.all(np.isnan(data.dwell[:, 2])) and not data.censored.any() and np.all(data.failure == "")
    np.testing.assert_array_equal(data.key, range(4))
    assert str(found).splitlines()[0] == "itineraries of 4 flows, 3 to 3 visits each"


def test_a_flow_cut_off_on_a_plateau_is_censored(flows):
    """A horizon between the two transitions: the second plateau's dwell time is known from below."""
    visits = itineraries(flows, kinds=False).visits[0].passages
    middle = (visits[1].arrival + visits[1].departure) / 2
    data = itineraries(
        ensemble(network, mean_squared_error, (X, Y), t1=middle, keys=[jax.random.key(0)]), kinds=False
    ).dataset()
    assert data.censored.all() and data.visits == 2 and np.isnan(data.departure[0, 1])
    assert np.isnan(data.dwell[0, 1]) and data.t_end == middle > data.arrival[0, 1]
    assert np.all(data.kind == "") and np.all(data["index"] == -1)


@pytest.mark.slow
def test_other_levels_are_other_critical_points():
    """Two ReLU units of different data: members of one landscape reach different minima, and each is refined."""
    x = np.array([[1.0, 0.3], [-0.4, 1.0], [-1.0, -0.2]])
    y = np.array([[1.0], [0.5], [1.2]])
    flows = ensemble(
        lambda key: TwoLayer(Dense(relu, inputs=2, outputs=1), width=2, scale=1e-2, key=key),
        mean_squared_error,
        (x, y),
        t1=200.0,
        keys=[jax.random.key(k) for k in range(5)],
    )
    found = itineraries(flows)
    last = [visits.losses[-1] for visits in found.visits]
    assert np.ptp(last) > 0.01
    for number, visits in enumerate(found.visits):
        for k, loss in enumerate(visits.losses):
            known = found.known(number, k)
            assert known is not None
            if known.member != number:
                assert abs(known.loss - loss) < 0.02 * np.ptp(visits.losses)
                assert [w.width for w in known.widths] == [w.width for w in visits.effective_widths[k]]
