"""Numerical ranks on both sides of their tolerances."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.numerical_rank import DERIVATIVE_TOLERANCE, MAP_TOLERANCE, numerical_rank
from saddlescope.analysis.symmetries.symmetry import generators


@pytest.mark.parametrize(
    ("values", "tolerance", "rank"),
    [
        ([3.0, 2.0, 1.0], DERIVATIVE_TOLERANCE, 3),
        ([1e3, 1e-5, 1e-7], DERIVATIVE_TOLERANCE, 2),
        ([1e-20, 1e-33], MAP_TOLERANCE, 1),
        ([1.0, 1e-11], MAP_TOLERANCE, 2),
        ([0.0, 0.0], DERIVATIVE_TOLERANCE, 0),
        ([], DERIVATIVE_TOLERANCE, 0),
    ],
)
def test_values_count_above_a_share_of_the_largest(values, tolerance, rank):
    assert numerical_rank(np.array(values), tolerance) == rank


def test_the_share_may_be_of_something_else():
    assert numerical_rank(np.array([1e-3, 1e-7]), 1e-6, scale=1.0) == 1
    assert numerical_rank(np.array([0.0]), 1e-6, scale=0.0) == 0


@pytest.mark.parametrize(("broken", "count"), [(0.0, 1), (1e-12, 1), (1e-7, 0), (1.0, 0)])
def test_a_symmetry_broken_by_more_than_rounding_is_none(broken, count):
    """(ab, ε a) has the rescaling of a and b for ε = 0 alone."""
    found = generators(lambda theta: jnp.array([theta[0] * theta[1], broken * theta[0]]), 2)
    assert len(found) == count
    if count:
        np.testing.assert_allclose(np.abs(found[0]), np.array([[1, 0, 0], [0, 1, 0]]) / np.sqrt(2), atol=1e-9)
