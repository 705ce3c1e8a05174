"""Index, nullity and eigenspaces of quadratic landscapes, whose eigenvalues are their coefficients."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import spectrum
from saddlescope.analysis.curvature.scales import Scales
from saddlescope.analysis.curvature.spectrum import Spectrum
from saddlescope.flows import Landscape

from vector import Vector


def spectrum_of(values, **options):
    """The spectrum of ½ Σ λᵢ xᵢ²."""
    landscape = Landscape(Vector(jnp.zeros(6)), lambda model, data: data @ model.x**2 / 2, np.asarray(values))
    return spectrum(landscape, **options)


@pytest.mark.parametrize("largest", [1.0, 1e6])
def test_what_counts_as_zero_is_the_square_root_of_rounding(largest):
    """Beside λ = 1 the threshold is √ε = 1.5e-8: from 1e-7 on a sign counts, up to 1e-9 none does."""
    found = spectrum_of(largest * np.array([1.0, -0.5, 1e-7, -1e-7, 1e-9, -1e-9]))
    assert (found.index, found.nullity, found.positive) == (2, 2, 2)
    assert found.zero_threshold == pytest.approx(largest * 2.0**-26)
    assert (found.largest_zero, found.smallest_nonzero) == pytest.approx((1e-9 * largest, 1e-7 * largest))
    assert found.null_space.shape == (6, 2)
    # The two zero eigenvalues are those of the last two coordinates.
    np.testing.assert_allclose(np.abs(found.null_space[4:]).sum(axis=0), 1.0, atol=1e-12)


def test_a_threshold_may_be_given():
    values = [1.0, -0.5, 1e-3, -1e-3, 0.0, 2.0]
    assert spectrum_of(values, zero_threshold=1e-2).index == 1
    assert spectrum_of(values, zero_threshold=1e-4).index == 2


def by_hand(values, threshold=1e-8):
    """A spectrum with given eigenvalues and random eigenvectors."""
    size = len(values)
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    return Spectrum(eigenvalues=np.asarray(values), eigenvectors=vectors, zero_threshold=threshold)


def test_eigenspaces_hold_all_members_and_no_neighbours():
    """One eigenvalue to a millionth of the lowest: 3e-6 apart are two; only negative eigenvalues count."""
    found = by_hand([-2.0, -2.0 + 1e-6, -2.0 + 2e-6, -2.0 + 1e-5, -1e-3, -1e-9, 3.0])
    assert [space.tolist() for space in found.eigenspaces()] == [[0, 1, 2], [3], [4]]
    assert by_hand([-1e-9, 0.0, 1.0]).eigenspaces() == ()
    assert by_hand([]).eigenspaces() == ()


def test_pseudo_inverse_ignores_the_null_space():
    found = by_hand([-2.0, -1e-9, 1e-10, 0.5, 4.0])
    matrix = (found.eigenvectors * np.array([-2.0, 0.0, 0.0, 0.5, 4.0])) @ found.eigenvectors.T
    inverse, gradient = found.pseudo_inverse(), np.arange(1.0, 6.0)
    np.testing.assert_allclose(inverse(gradient), np.linalg.pinv(matrix, rcond=1e-6) @ gradient, atol=1e-12)
    assert not np.any(inverse(found.null_space[:, 0]) > 1e-14)


def test_spectra_speak():
    found = by_hand([-2.0, -2.0, -0.5, 1e-10, 3.0])
    text = str(found)
    assert text.splitlines()[0] == "Hessian spectrum of 5 parameters: index 3, nullity 1, 1 positive"
    assert "λ from -2 to 3" in text and "largest |λ| below it 1e-10, smallest above it 0.5" in text
    assert "unstable: -2 (× 2), -0.5 (× 1)" in text
    page = found._repr_html_()
    assert page.startswith("<table>") and "index 3, nullity 1" in page and page.count("<tr>") == 3
    assert "unstable" not in str(by_hand([0.0, 1.0]))
    assert str(by_hand([])) == "Hessian spectrum of 0 parameters: index 0, nullity 0, 0 positive"


def test_scales_speak():
    assert str(Scales(loss=2.0)) == "characteristic scales: loss 2, gradient 1, curvature unknown, weights 1"
    assert "curvature 30," in str(Scales(curvature=30.0))
