"""Steps of Newton's method beside critical points, on functions where each of them is known."""

import numpy as np
import pytest
from saddlescope.analysis.critical_points import refine
from saddlescope.analysis.critical_points.refine import singular_newton
from saddlescope.flows import Landscape

from vector import Vector


def on(loss, start):
    return Landscape(Vector(np.asarray(start, float)), lambda model, data: loss(model.x, data), np.ones(2))


@pytest.mark.parametrize("relaxed", [True, False])
def test_one_step_leads_to_the_saddle_of_a_quadratic_function(relaxed, monkeypatch):
    monkeypatch.setattr(refine, "MAX_SINGULAR", 2)
    landscape = on(lambda x, data: (x[0] ** 2 - 3 * x[1] ** 2) / 2 * data[0], [0.3, 0.4])
    end, travelled = singular_newton(landscape, landscape.theta, relaxed=relaxed)
    np.testing.assert_allclose(end, 0, atol=1e-15)
    # The direction of larger curvature is relaxed, which is no part of the path.
    assert travelled == pytest.approx(0.3 if relaxed else 0.5)


def test_small_curvatures_lie_below_the_lowest_gap_of_a_decade():
    """Beside what is rounding, which is neither small nor large; without such a gap, below the widest one."""
    split = lambda values: [part.tolist() for part in refine._split(np.array(values), True)]  # noqa: E731
    assert split([3.0, -1e-3, 2.0, 1e-20, 2e-3]) == [[1, 4], [2, 0]]
    assert split([1e-5, -1e-3, 1.0]) == [[0], [1, 2]]
    assert split([1.0, 2.0, -10.0, 12.0]) == [[0, 1], [2, 3]]
    assert split([1.0]) == [[0], []]


@pytest.mark.parametrize("order", [3, 4, 6])
def test_each_step_leaves_a_share_of_the_distance_from_a_degenerate_point(order, monkeypatch):
    monkeypatch.setattr(refine, "MAX_SINGULAR", 4)
    landscape = on(lambda x, data: x[0] ** order * data[0] + x[1] ** order * data[1], [0.3, 0.4])
    end, travelled = singular_newton(landscape, landscape.theta, relaxed=False)
    left = ((order - 2) / (order - 1)) ** 3
    np.testing.assert_allclose(end, left * landscape.theta, rtol=1e-10)
    assert travelled == pytest.approx((1 - left) * 0.5)
