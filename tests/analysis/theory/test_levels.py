"""Closed forms of plateau losses against independent computations, without a flow."""

import jax
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.experiments.data.cyclic_shifts import fourier_template


def test_lemma6_is_the_best_fit_of_each_rank():
    """Reduced-rank regression by SVD of the fitted values."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((60, 4)) @ random.standard_normal((4, 4)), random.standard_normal((60, 3))
    y += x[:, :3]
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    left, sizes, right = np.linalg.svd(fitted, full_matrices=False)
    levels = theory.lemma6_levels(x, y)
    for r, level in enumerate(levels):
        best = (left[:, :r] * sizes[:r]) @ right[:r]
        assert level == pytest.approx(np.sum((y - best) ** 2) / (2 * 60), rel=1e-10)


def test_windowed_levels_with_uncoupled_features():
    """With ⟨X̃ X̃⟩ = diag(1, 1, 2, 1) and the paper's target the best rank-one fit leaves exactly 0.4."""
    x = np.diag(2 * np.sqrt([1.0, 1.0, 2.0, 1.0]))
    y = x @ np.array([1, 1, -1, 1]) / np.sqrt(5)
    levels = theory.windowed_levels(x.reshape(4, 2, 2), y)
    np.testing.assert_allclose(levels, [1.0, 0.4, 0.0], atol=1e-12)


def test_windowed_levels_with_white_features_are_singular_values():
    random = np.random.default_rng(1)
    target = random.standard_normal((3, 2))
    x = np.sqrt(6) * np.eye(6)
    sizes = np.linalg.svd(target, compute_uv=False)
    levels = theory.windowed_levels(x.reshape(6, 3, 2), x @ target.ravel())
    np.testing.assert_allclose(levels, [np.sum(sizes[r:] ** 2) for r in range(3)], atol=1e-10)


def test_linear_attention_levels():
    """Against the least-squares problem in the Gaussian moments, ŷ = βᵀUx_q, one eigendirection at a time."""
    values, n = np.array([0.4, 0.3, 0.2, 0.1]), 31
    levels = theory.linear_attention_levels(tuple(values), n)
    # E[ββᵀ] for β = (1/N)Σ yₙxₙ; a diagonal U with entries u_d costs Σ λ_d − 2u_dλ_d² + u_d²B_dλ_d.
    second = (1 + 1 / n) * values**2 + values.sum() * values / n
    for m, level in enumerate(levels):
        u = np.where(np.arange(4) < m, values / second, 0.0)
        assert level == pytest.approx(np.sum(values - 2 * u * values**2 + u**2 * second * values), rel=1e-12)
    np.testing.assert_allclose(levels, [1, 0.6406, 0.3774, 0.2098, 0.1360], atol=5e-5)


@pytest.mark.parametrize("inputs", [1, 2, 3, 5])
def test_isotropic_quadratic_levels(inputs):
    """Against a scan over the eigenvalue a of the best A = aP_m: 2‖A − cI‖² + tr(A − cI)²."""
    c2 = 1 / (inputs * (inputs + 2))  # ⟨(c‖x‖²)²⟩ = 1
    a = np.linspace(0, 5, 500_001) * np.sqrt(c2)
    for m, level in enumerate(theory.isotropic_quadratic_levels(inputs)):
        b = a - np.sqrt(c2)
        rest = (inputs - m) * np.sqrt(c2)
        scan = 2 * (m * b**2 + (inputs - m) * c2) + (m * b - rest) ** 2
        assert level == pytest.approx(scan.min() if m else 1.0, abs=1e-9)


def test_orthogonal_relu_levels():
    x, y = np.array([[1, 0.5], [-1, 2]]), np.array([1.0, -1.0])
    np.testing.assert_allclose(theory.orthogonal_relu_levels(x, y), [1, 0.5, 0])
    x = np.sqrt(2) * np.eye(4)
    y = np.array([1, 0.5, -0.8, -0.4])
    total = np.mean(y**2)
    expected = [total, (0.64 + 0.16) / 4, 0]
    np.testing.assert_allclose(theory.orthogonal_relu_levels(x, y), expected, atol=1e-15)
    # Orthogonal to rounding, and not quite.
    np.testing.assert_allclose(theory.orthogonal_relu_levels(x + 1e-14, y), expected, atol=1e-13)
    with pytest.raises(ValueError, match="not orthogonal"):
        theory.orthogonal_relu_levels(x + 1e-10, y)


def test_attention_levels_agree_with_each_other():
    values, n = (0.4, 0.3, 0.2, 0.1), 31
    levels = theory.linear_attention_levels(values, n)
    assert theory.linear_attention_levels(values, n, rank=2) == (levels[0], levels[2], levels[4])
    assert theory.linear_attention_levels(values, n, rank=3) == (levels[0], levels[3], levels[4])
    assert theory.merged_attention_levels(values, n) == (levels[0], levels[4])
    assert theory.attention_fixed_point_loss(values, n, (0, 1)) == pytest.approx(levels[2])
    assert theory.attention_fixed_point_loss(values, n, (1,)) > levels[1]


def test_modular_addition_levels_are_residuals_of_frequencies():
    x = fourier_template(20, {1: 10.0, 3: 5.0, 5: 2.5}, key=jax.random.key(0))
    levels = theory.modular_addition_levels(x)
    np.testing.assert_allclose(levels, [0.65625, 0.15625, 0.03125, 0.0], atol=1e-12)
    assert levels[0] == pytest.approx(np.mean(x**2), rel=1e-12)
    even = fourier_template(6, {3: 2.0, 1: 1.0}, key=jax.random.key(0))
    assert theory.modular_addition_levels(even)[0] == pytest.approx(np.mean(even**2), rel=1e-12)
