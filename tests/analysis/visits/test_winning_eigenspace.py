"""A flow that leaves along a degenerate eigenspace, in closed form: all of its directions count."""

import dataclasses

import numpy as np
import pytest
from saddlescope.analysis import itinerary
from saddlescope.analysis.curvature.lowest import negative_eigenvalues
from saddlescope.analysis.visits.escape import escape

from exact_flows import leaving, recorded
from separable import well


def test_all_directions_of_the_winning_eigenspace_count():
    """Three equal wells: λ = −1 three times, and the flow leaves with equal shares in two or all three of them."""
    ts = np.linspace(0, 20, 2001)
    y = leaving(ts, 1e-3, 1.0)
    for shares in ([1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]):
        flow = recorded(ts, y[:, None] * np.array(shares), *3 * (well(1.0),))
        visit = itinerary(flow)[0]
        assert visit.kind.index == 3
        assert [space.tolist() for space in visit.kind.spectrum.eigenspaces()] == [[0, 1, 2]]
        assert visit.escape.overlap == pytest.approx(1.0, abs=1e-10)
        assert visit.escape.rate_predicted == pytest.approx(1.0, rel=1e-8)
        # r is the distance from the saddle: time from r at arrival until the loss has fallen by a tenth of the drop.
        drop = visit.critical_point.loss - 0.25 * shares.count(0.0)
        expected = np.log(np.sqrt(2 * 0.1 * drop) / (1e-3 * np.sqrt(sum(shares))))
        assert visit.escape.dwell_predicted == pytest.approx(expected, rel=1e-3)


def test_eigenvectors_from_products_serve_as_those_of_a_spectrum():
    """Of networks too large for a Hessian only the negative eigenvalues are known: rate and overlap are the same."""
    ts = np.linspace(0, 20, 2001)
    flow = recorded(ts, leaving(ts, 1e-3, 1.0)[:, None] * np.array([1.0, 1.0, 1.0]), *3 * (well(1.0),))
    visit = itinerary(flow)[0]
    point, kind = visit.critical_point, visit.kind
    found = negative_eigenvalues(lambda v: point.landscape.hessian_product(point.theta, v), point.theta.size)
    by_products = dataclasses.replace(kind, spectrum=None, negative=found)
    other = escape(flow, visit.passage, point, by_products, point.loss)
    assert other.rate_predicted == pytest.approx(visit.escape.rate_predicted, rel=1e-10)
    assert other.rate_measured == pytest.approx(visit.escape.rate_measured, rel=1e-10)
    assert other.overlap == pytest.approx(visit.escape.overlap, abs=1e-10) and other.overlap > 0.99
