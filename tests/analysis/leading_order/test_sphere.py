"""Minima on the unit sphere: of quadratic forms, whose minima are eigenvectors, and of functions with kinks."""

import numpy as np
import pytest
from saddlescope.analysis.leading_order.sphere import (
    minima_on_sphere,
    minimum_on_sphere,
    normal_vectors,
    polished_on_sphere,
)

VALUES = np.array([-1.0, 0.5, 2.0, 3.0])
BASIS = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
MATRIX = (BASIS * VALUES) @ BASIS.T


def quadratic(d):
    return float(d @ MATRIX @ d), 2 * MATRIX @ d


def test_the_minimum_of_a_quadratic_form_is_its_lowest_eigenvalue():
    value, direction = minimum_on_sphere(quadratic, 5 * normal_vectors(3, 4), gradient_tolerance=1e-9)
    assert value == pytest.approx(-1.0, abs=1e-12)
    assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-14)
    assert abs(direction @ BASIS[:, 0]) == pytest.approx(1.0, abs=1e-12)


def test_each_start_has_its_own_minimum():
    """L = −Σ dᵢ⁴ has its minima on the axes: from near one of them to that one."""
    starts = np.eye(3) + 0.2
    found = minima_on_sphere(lambda d: (float(-np.sum(d**4)), -4 * d**3), starts, gradient_tolerance=1e-9)
    assert [value for value, _ in found] == pytest.approx([-1.0] * 3, abs=1e-12)
    np.testing.assert_allclose([direction for _, direction in found], np.eye(3), atol=1e-8)


def test_kinks_are_reached_by_a_simplex_search():
    """max |dᵢ| is least where all are equal."""
    function = lambda d: float(np.max(np.abs(d)))  # noqa: E731
    found = polished_on_sphere(function, np.array([0.6, 0.55, 0.58]), scale=1.0)
    assert function(found) == pytest.approx(1 / np.sqrt(3), rel=1e-8)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-14)
