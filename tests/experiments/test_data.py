"""Data generators and population moments: against each other, closed Gaussian integrals, and their own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import theory
from saddlescope.experiments import (
    digits,
    gaussian_regression,
    in_context_regression,
    modular_addition,
    orthogonal_points,
    power_law,
    spectral_regression,
)
from saddlescope.experiments.data.cyclic_shifts import fourier_template
from saddlescope.experiments.data.images import image_pair
from saddlescope.experiments.data.synthetic import seed_keys
from saddlescope.flows import (
    gaussian_loss,
    half_squared_error,
    in_context_population,
    linear_population,
    mean_squared_error,
    quadratic_population,
    statistics_loss,
)
from saddlescope.flows.losses.statistics import sufficient_statistics
from saddlescope.models import Dense, LinearAttention, TwoLayer, linear, quadratic

COVARIANCE = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]])


def network(architecture, width, seed):
    return TwoLayer(architecture, width=width, scale=1.0, key=jax.random.key(seed))


@pytest.mark.parametrize("activation", [linear, quadratic], ids=lambda a: a.name)
def test_population_moments_agree_with_the_gaussian_kernels(activation):
    """Two closed forms of one average: Isserlis' moments, and the kernel of the activation."""
    student, teacher = (
        network(Dense(activation, inputs=3, outputs=2), width, seed) for width, seed in ((4, 0), (2, 1))
    )
    if activation is linear:
        population = linear_population(np.eye(3), teacher.v.T @ teacher.u, weight=0.5)
    else:
        target = jnp.einsum("ho,hi,hj->oij", teacher.v, teacher.u, teacher.u)
        population = quadratic_population(np.eye(3), target, weight=0.5)
    expected = float(gaussian_loss(student, teacher))
    assert float(statistics_loss(student, population)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("activation", [linear, quadratic], ids=lambda a: a.name)
def test_population_moments_of_any_covariance_change_variables(activation):
    """Inputs of covariance RᵀR are standard normal ones times R."""
    root = np.linalg.cholesky(COVARIANCE).T
    model = network(Dense(activation, inputs=3, outputs=1), 3, 2)
    if activation is linear:
        matrix = np.random.default_rng(0).standard_normal((1, 3))
        pair = linear_population(COVARIANCE, matrix, noise=0.3), linear_population(np.eye(3), matrix @ root.T)
        rest = 0.3
    else:
        matrix = np.random.default_rng(0).standard_normal((3, 3))
        pair = quadratic_population(COVARIANCE, matrix), quadratic_population(np.eye(3), root @ matrix @ root.T)
        rest = 0.0
    white = jax.tree.unflatten(jax.tree.structure(model), [model.u @ root.T, model.v])
    assert float(statistics_loss(model, pair[0])) == pytest.approx(float(statistics_loss(white, pair[1])) + rest)


@pytest.mark.parametrize("normalised", [False, True])
def test_in_context_population_is_the_limit_of_sequences(normalised):
    """Within four standard errors of the sample's loss, for a covariance with correlations and noisy labels."""
    model = network(LinearAttention(inputs=3), 2, 3)
    settings = {"noise": 0.4, "normalised": normalised}
    population = in_context_population(COVARIANCE, 5, **settings)
    (beta, x), y = in_context_regression(COVARIANCE, 5, 20_000, key=jax.random.key(0), **settings)
    errors = (y - jax.vmap(model)((beta, x)))[:, 0] ** 2
    difference = float(jnp.mean(errors)) - float(statistics_loss(model, population))
    assert abs(difference) < 4 * float(jnp.std(errors)) / len(y) ** 0.5


@given(n=st.integers(1, 60), values=st.lists(st.floats(0.05, 1), min_size=2, max_size=4))
def test_in_context_population_leaves_the_last_level(n, values):
    population = in_context_population(np.diag(values), n)
    assert float(population.constant) == pytest.approx(theory.linear_attention_levels(tuple(values), n)[-1], rel=1e-9)


@given(seed=st.integers(0, 10**6))
def test_spectral_regression_has_its_spectrum_exactly(seed):
    strengths, variances = np.array([3.0, 1.0, 0.2]), np.array([0.5, 2.0, 1.0])
    x, y = spectral_regression(strengths, variances, key=jax.random.key(seed))
    cross = np.asarray(y.T @ x) / len(x)
    np.testing.assert_allclose(np.linalg.svd(cross, compute_uv=False), strengths, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(x.T @ x / len(x)), np.sort(variances), rtol=1e-12)
    np.testing.assert_allclose(x.sum(axis=0), 0, atol=1e-12)
    levels = theory.lemma6_levels(np.asarray(x), np.asarray(y))
    modes = np.sort(strengths**2 / variances)[::-1]
    np.testing.assert_allclose(levels, [modes[k:].sum() / 2 for k in range(4)], atol=1e-12)


def test_power_law():
    np.testing.assert_allclose(power_law(3, 1.0), np.array([6, 3, 2]) / 11)
    np.testing.assert_allclose(power_law(4, 0.0, total=2.0), 0.5)


def test_gaussian_regression_has_covariance_target_and_noise():
    teacher = network(Dense(quadratic, inputs=3, outputs=2), 2, 4)
    x, y = gaussian_regression(teacher, 20_000, COVARIANCE, noise=0.25, key=jax.random.key(1))
    np.testing.assert_allclose(x.T @ x / len(x), COVARIANCE, atol=0.03)
    noise = y - jax.vmap(teacher)(x)
    assert float(jnp.mean(noise**2)) == pytest.approx(0.25, rel=0.03)


def test_orthogonal_points_are_orthogonal():
    x, y = orthogonal_points([1.0, 2.0, 0.5], [1.0, -1.0, 0.3], key=jax.random.key(2))
    np.testing.assert_allclose(x @ x.T, np.diag([1.0, 4.0, 0.25]), atol=1e-12)
    assert len(theory.orthogonal_relu_levels(np.asarray(x), np.asarray(y[:, 0]))) == 3


@pytest.mark.parametrize("p", [5, 6])
def test_modular_addition_is_addition_of_shifts(p):
    x = fourier_template(p, {1: 2.0, p // 2: 1.0}, key=jax.random.key(3))
    assert abs(x.sum()) < 1e-12
    sizes = np.abs(np.fft.rfft(x))
    np.testing.assert_allclose(sizes[[1, p // 2]], [2.0, 1.0], rtol=1e-12)
    inputs, targets = modular_addition(x)
    assert inputs.shape == (p * p, 2 * p) and targets.shape == (p * p, p)
    for a, b in ((0, 0), (1, 2), (p - 1, 3)):
        row = a * p + b
        np.testing.assert_array_equal(inputs[row], np.concatenate([np.roll(x, a), np.roll(x, b)]))
        np.testing.assert_array_equal(targets[row], np.roll(x, a + b))


def test_digits_are_told_apart():
    images, labels = digits()
    x, y = image_pair(images, labels, 3, 5)
    assert x.shape == (365, 64) and y.shape == (365, 2)
    assert np.all((x >= 0) & (x <= 1))
    np.testing.assert_array_equal(y.sum(axis=1), 1.0)
    # A linear map separates most of them; its squared error is the last level of Lemma 6.
    model = network(Dense(linear, inputs=64, outputs=2), 2, 5)
    statistics = sufficient_statistics(model, half_squared_error, (x, y))
    predicted = np.asarray(x) @ np.asarray(statistics.target).T
    assert np.mean(np.argmax(predicted, axis=1) == np.argmax(y, axis=1)) > 0.95
    assert theory.best_rank_levels(statistics)[-1] == pytest.approx(
        float(mean_squared_error(lambda z: statistics.target @ z, (x, y))), rel=1e-9
    )
    with pytest.raises(ValueError, match="no image of class 11"):
        image_pair(images, labels, 3, 11)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: in_context_population(np.ones((2, 3)), 4), "must be a symmetric matrix"),
        (lambda: in_context_population(np.eye(2), 0), "at least one example"),
        (lambda: in_context_regression(np.eye(2), 0, 3, key=jax.random.key(0)), "context must be at least 1"),
        (lambda: spectral_regression([1.0, 2.0], [1.0]), "as many as strengths"),
        (lambda: orthogonal_points([1.0], [1.0, 2.0]), "must be vectors of the same length"),
        (lambda: seed_keys(2**63), "seed must lie between"),
        (lambda: fourier_template(6, {4: 1.0}), "between 1 and 3"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
