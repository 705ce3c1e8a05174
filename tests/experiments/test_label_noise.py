"""Label noise is per output: of every output by itself, with the same variance, in samples and in populations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.experiments import gaussian_regression
from saddlescope.flows import linear_population

COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.5]])


def test_noise_of_a_sample_is_independent_between_outputs():
    """ξᵀξ/P = σ² I to a few standard errors, σ² √(2/P) on the diagonal, and ξ independent of x."""
    weights = jnp.array([[1.0, 0.0], [0.5, -1.0], [0.0, 0.0]])
    x, y = gaussian_regression(lambda z: weights @ z, 40_000, COVARIANCE, noise=0.25, key=jax.random.key(0))
    noise = np.asarray(y - x @ weights.T)
    np.testing.assert_allclose(noise.T @ noise / len(noise), 0.25 * np.eye(3), atol=0.25 * 5 * (2 / 40_000) ** 0.5)
    np.testing.assert_allclose(noise.T @ np.asarray(x) / len(noise), 0.0, atol=5 * 0.5 / 200)


@pytest.mark.parametrize("outputs", [1, 3])
def test_noise_of_a_population_is_that_of_every_output(outputs):
    """What no model can explain: w σ² for each output; the sample's residual at the least squares solution."""
    weights = np.random.default_rng(0).standard_normal((outputs, 2))
    population = linear_population(COVARIANCE, weights, noise=0.3, weight=0.5)
    clean = linear_population(COVARIANCE, weights, weight=0.5)
    assert float(population.constant) == pytest.approx(float(clean.constant) + 0.5 * 0.3 * outputs)
