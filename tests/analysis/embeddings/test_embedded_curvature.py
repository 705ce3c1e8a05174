"""Hessians of embedded points against the narrow network's: Fukumizu & Amari (2000), Zhang et al. (2022)."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import added_unit_form, spectrum
from saddlescope.analysis.critical_points.descent import descend_to_critical_point
from saddlescope.analysis.critical_points.refine import solve_gradient
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, incoming, outgoing, tanh
from saddlescope.models.initialisation import normal_array, split_key
from saddlescope.models.units import with_units

from architectures import normal


def problem(seed, outputs, width=2):
    keys = split_key(jax.random.key(seed), 3)
    model = TwoLayer(Dense(tanh, inputs=3, outputs=outputs), width=width, scale=1.0, key=keys[0])
    return model, (np.asarray(normal_array(keys[1], (30, 3))), np.asarray(normal_array(keys[2], (30, outputs))))


def with_zero_units(model, count):
    u, v = incoming(model), outgoing(model)
    return with_units(model, *(np.vstack([rows, np.zeros((count, rows.shape[1]))]) for rows in (u, v)))


def outputs_of(model, x):
    return np.tanh(x @ incoming(model).T) @ outgoing(model)


@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_zero_unit_adds_the_spectrum_of_its_own_block(outputs, seed):
    """Anywhere, not only at critical points: ± the singular values of M₀ = −⟨e xᵀ⟩, the rest zero."""
    model, data = problem(seed, outputs)
    x, y = data
    sizes = np.linalg.svd((outputs_of(model, x) - y).T @ x / len(x), compute_uv=False)
    block = np.concatenate([sizes, -sizes, np.zeros(3 + outputs - 2 * len(sizes))])
    landscape = Landscape(model, half_squared_error, data)
    narrow = spectrum(landscape).eigenvalues
    wide = spectrum(Landscape(with_zero_units(model, 2), half_squared_error, data)).eigenvalues
    np.testing.assert_allclose(wide, np.sort(np.concatenate([narrow, block, block])), atol=1e-12)
    # The same number by another way: the form of an added unit.
    assert added_unit_form(landscape).strength == pytest.approx(sizes[0], rel=1e-10)


def inertia(eigenvalues, threshold=1e-7):
    return np.array(
        [np.sum(eigenvalues > threshold), np.sum(eigenvalues < -threshold), np.sum(np.abs(eigenvalues) <= threshold)]
    )


@pytest.mark.parametrize("share", [0.3, 1.7, -0.5])
@pytest.mark.parametrize("seed", [1, 2, 3])  # with seed 0 the best fit has infinite weights
def test_a_split_unit_adds_the_inertia_of_its_residual_block(share, seed):
    """One output, one unit split λ : 1 − λ: inertia of λ(1 − λ)G and one zero, G = ⟨v e φ''(w·x) xxᵀ⟩."""
    model, (x, noise) = problem(seed, 1)
    # A teacher of three units and noise: two units fit it as well as they can, at finite weights.
    y = np.tanh(x @ np.asarray(normal(seed + 100, 3, 3))).sum(axis=1, keepdims=True) + 0.3 * noise
    data = x, y
    landscape = Landscape(model, half_squared_error, data)
    theta = solve_gradient(landscape, descend_to_critical_point(landscape, landscape.theta))
    assert np.max(np.abs(landscape.gradient(theta))) < 1e-12
    model = landscape.at(theta)
    u, v = incoming(model), outgoing(model)
    error = (outputs_of(model, x) - y)[:, 0]
    activation = np.tanh(x @ u[0])
    second = -2 * activation * (1 - activation**2)
    g = np.einsum("p,pi,pj->ij", v[0, 0] * error * second, x, x) / len(x)
    split = with_units(model, np.vstack([u, u[:1]]), np.vstack([share * v[:1], v[1:], (1 - share) * v[:1]]))
    narrow = spectrum(landscape, theta).eigenvalues
    wide = spectrum(Landscape(split, half_squared_error, data)).eigenvalues
    expected = inertia(narrow) + inertia(share * (1 - share) * np.linalg.eigvalsh(g)) + np.array([0, 0, 1])
    np.testing.assert_array_equal(inertia(wide), expected)
