"""The ends and the density of a Hessian's spectrum from its products, against the dense one and closed forms."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import embed, embedded_spectrum, extreme_eigenpairs, spectral_density, spectrum
from saddlescope.flows import Landscape, flatten, half_squared_error
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units

from architectures import problem


def linear_saddle(strengths, learned, dormant, inputs=None, outputs=None):
    """The embedding of the saddle that has learned the first modes of a linear network, and white data."""
    inputs, outputs = inputs or len(strengths), outputs or len(strengths)
    target = np.zeros((outputs, inputs))
    target[np.arange(len(strengths)), np.arange(len(strengths))] = strengths
    x = np.sqrt(inputs) * np.eye(inputs)
    roots = np.sqrt(np.asarray(strengths[:learned]))[:, None]
    model = TwoLayer(Dense(linear, inputs=inputs, outputs=outputs), width=learned, scale=1.0, key=jax.random.key(0))
    narrow = with_units(
        model, jnp.asarray(roots * np.eye(learned, inputs)), jnp.asarray(roots * np.eye(learned, outputs))
    )
    return embed(narrow, "ii", count=dormant), (jnp.asarray(x), jnp.asarray(x @ target.T))


@pytest.fixture(scope="module")
def saddle():
    """A saddle of 130 parameters with an eigenvalue −2 of multiplicity 10."""
    embedding, data = linear_saddle([4.0, 2.0, 1.0, 0.5, 0.25], 1, 12)
    return embedding, data, spectrum(Landscape(embedding.wide(), half_squared_error, data))


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_extreme_eigenpairs_are_those_of_the_dense_hessian(saddle, end):
    embedding, data, dense = saddle
    found = extreme_eigenpairs(Landscape(embedding.wide(), half_squared_error, data), end=end, count=4)
    expected = dense.eigenvalues[:4] if end == "lowest" else dense.eigenvalues[-4:]
    assert np.all(found.converged)
    np.testing.assert_allclose(found.values, expected, atol=1e-8)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(4), atol=1e-10)
    assert str(found).startswith(
        f"4 eigenpairs, λ from {found.values[0]:.6g} to {found.values[-1]:.6g}\n  4 of 4 converged"
    )


def test_unconverged_pairs_say_so():
    model, data = problem("tanh")
    wide = embed(model, "ii", count=40).wide()
    found = extreme_eigenpairs(Landscape(wide, half_squared_error, data), count=3, max_iterations=1)
    exact = spectrum(Landscape(wide, half_squared_error, data)).eigenvalues
    assert not np.any(found.converged) and "0 of 3 converged" in str(found)
    # The bound holds all the same.
    assert np.all(np.min(np.abs(exact[:, None] - found.values), axis=0) <= found.residuals)


def test_density_counts_eigenvalues(saddle):
    embedding, data, dense = saddle
    density = spectral_density(Landscape(embedding.wide(), half_squared_error, data), probes=64)
    np.testing.assert_allclose(density.weights.sum(axis=1), 1.0, atol=1e-12)
    assert str(density).startswith("density of 130 eigenvalues from 64 random probes\n  nodes from -2 to ")
    for lower, upper in ((-np.inf, -1e-6), (-1e-6, 1e-6), (1e-6, np.inf), (-2.1, -1.9)):
        exact = np.sum((dense.eigenvalues >= lower) & (dense.eigenvalues < upper))
        count, error = density.count(lower, upper)
        assert abs(count - exact) < 4 * error + 1e-9
        assert error < 0.05 * len(dense.eigenvalues)


def test_density_has_the_exact_trace():
    """The weighted mean of the nodes is an unbiased estimate of the mean eigenvalue."""
    model, data = problem("tanh")
    exact = spectrum(Landscape(model, half_squared_error, data)).eigenvalues
    density = spectral_density(Landscape(model, half_squared_error, data), probes=4000)
    trace, error = density.trace()
    assert abs(trace - exact.sum()) < 4 * error
    assert error < 0.1 * np.abs(exact).sum()


@pytest.mark.slow
def test_index_and_nullity_at_a_hundred_thousand_parameters():
    """H = 12 500 units, 4 inputs, 4 outputs, three modes of which one is learned: oracles of two-layer linear nets."""
    began = time.perf_counter()
    strengths, dormant = [3.0, 2.0, 1.0], 12_499
    embedding, data = linear_saddle(strengths, 1, dormant, inputs=4, outputs=4)
    wide = embedding.wide()
    assert flatten(wide).size == 100_000
    landscape = Landscape(wide, half_squared_error, data)
    blocks = embedded_spectrum(landscape, embedding)
    # Index (H − r)(ρ − r) and nullity r² + (H − r)(N_v + N_u − 2(ρ − r)), Achour, Malgouyres & Gerchinovitz (2024).
    assert blocks.index == dormant * 2
    assert blocks.nullity == 1 + dormant * (8 - 2 * 2)
    density = spectral_density(landscape)
    for exact, bounds in ((blocks.index, (-np.inf, -1e-6)), (blocks.nullity, (-1e-6, 1e-6))):
        count, error = density.count(*bounds)
        assert abs(count - exact) < 4 * error
        assert error < 0.01 * exact
    lowest = extreme_eigenpairs(landscape, count=8)
    assert np.all(lowest.residuals <= 1e-8)
    np.testing.assert_allclose(lowest.values, -2.0, atol=1e-8)
    assert np.linalg.matrix_rank(lowest.vectors) == 8
    print(f"{time.perf_counter() - began:.1f} s")
    assert time.perf_counter() - began < 300


def test_bad_requests_raise():
    model, data = problem("tanh")
    with pytest.raises(ValueError, match="a fifth of the 16 parameters"):
        extreme_eigenpairs(Landscape(model, half_squared_error, data), count=4)
    with pytest.raises(ValueError, match="probes and depth"):
        spectral_density(Landscape(model, half_squared_error, data), probes=1)
