"""Zero eigenvalues counted from products, beside the eigenvalues themselves."""

import numpy as np
import pytest
from saddlescope.analysis.curvature import nullity as module
from saddlescope.analysis.curvature.lowest import negative_eigenvalues
from saddlescope.analysis.curvature.nullity import nullity


def counted(values, by_symmetry=0, zero=1e-10):
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((len(values), len(values))))[0]
    matrix = (vectors * values) @ vectors.T

    def product(v):
        return matrix @ v

    negative = negative_eigenvalues(product, len(values), zero_threshold=zero)
    return nullity(product, len(values), negative, by_symmetry=by_symmetry)


def test_few_eigenvalues_that_are_not_zero_are_all_found():
    """Multiple ones of both signs, as at zero weights."""
    found = counted(np.concatenate([np.repeat([-0.5, 0.5], 12), [-1e-3, 1e-3], np.zeros(174)]), by_symmetry=100)
    assert found.counted == found.at_most == 174 and found.estimate == pytest.approx(174, rel=0.1)
    assert "100 by symmetry, 74 unexplained" in str(found)


def test_a_small_eigenvalue_is_not_taken_for_zero():
    """Far below what an estimate resolves."""
    assert counted(np.concatenate([[-0.5, 1.0, 1e-9], np.zeros(197)])).counted == 197


def test_of_many_eigenvalues_bounds_and_an_estimate_are_given(monkeypatch):
    monkeypatch.setattr(module, "COUNTED", 50)
    small = np.concatenate([np.full(100, 1e-3), np.full(50, 1e-4)])
    values = np.concatenate([-np.linspace(0.5, 1, 5), np.zeros(150), small, np.linspace(0.1, 1, 95)])
    found = counted(values, by_symmetry=100)
    assert found.counted is None and found.at_most == 395
    # The share of a random vector: two standard deviations of 150 squares. What is small counts from a millionth on.
    assert found.estimate == pytest.approx(150, abs=2 * np.sqrt(300))
    assert "at least 100, by symmetry" in str(found) and "unexplained: at most 295" in str(found)
