"""Composite Gauss–Legendre quadrature against integrals in closed form."""

import numpy as np
import pytest
from saddlescope.analysis.quadrature import interval_integrals


@pytest.mark.parametrize("points", [1, 4, 20])
def test_polynomials_are_integrated_exactly_up_to_twice_the_number_of_points(points):
    edges = np.array([-0.3, 0.1, 0.2, 1.0])
    degree = 2 * points - 1
    exact = np.diff(edges ** (degree + 1)) / (degree + 1)
    np.testing.assert_allclose(interval_integrals(lambda x: x**degree, edges, points), exact, rtol=1e-13, atol=1e-17)
    if points < 20:
        exact = np.diff(edges ** (degree + 2)) / (degree + 2)
        assert np.max(np.abs(interval_integrals(lambda x: x ** (degree + 1), edges, points) - exact)) > 1e-6
