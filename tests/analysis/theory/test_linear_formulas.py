"""Formulas of linear networks: values in the loss's units, what applies, what does not and why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.experiments import spectral_regression
from saddlescope.flows import (
    Landscape,
    gaussian_loss,
    half_squared_error,
    in_context_population,
    linear_population,
    mean_squared_error,
    statistics_loss,
)
from saddlescope.models import Convolution, Deep, Dense, DiagonalLinear, MergedAttention, erf, linear, relu, tanh

from formula_cases import SPECTRAL, STRENGTHS, VARIANCES, reason, small


@pytest.mark.parametrize("loss", [half_squared_error, mean_squared_error])
def test_linear_networks_in_both_normalisations(loss):
    """A loss of w⟨‖y − f‖²⟩ has levels 2w times and rates 2w times those of half the error."""
    found = theory.predictions(Landscape(small(Dense(linear, inputs=3, outputs=3)), loss, SPECTRAL))
    factor = 1.0 if loss is half_squared_error else 2 / 3
    modes = np.sort(STRENGTHS**2 / VARIANCES)[::-1]
    levels = [factor * modes[k:].sum() / 2 for k in range(4)]
    np.testing.assert_allclose(found.named("Lemma 6 levels")["levels"], levels, atol=1e-12)
    np.testing.assert_allclose(found.named("Theorem 4")["rates"], factor * STRENGTHS, rtol=1e-10)
    np.testing.assert_allclose(found.named("Theorem 4")["exponents"], 1 - STRENGTHS[1:] / 2.0, rtol=1e-9)
    np.testing.assert_allclose(found.named("logistic mode times")["strengths"], STRENGTHS / VARIANCES, rtol=1e-9)
    slow = theory.predictions(Landscape(small(Dense(linear, inputs=3, outputs=3)), half_squared_error, SPECTRAL))
    for name, value in (("logistic mode times", "half_times"), ("linear schedule", "times_per_log")):
        np.testing.assert_allclose(factor * found.named(name)[value], slow.named(name)[value], rtol=1e-9)
    assert {prediction.name for prediction in found.applicable} == {
        "Lemma 6 levels",
        "logistic mode times",
        "linear schedule",
        "Theorem 4",
    }
    assert "not applicable, because the activation is linear, not relu" in str(found)


def test_a_population_gives_what_its_sample_tends_to():
    x, y = SPECTRAL
    target = np.linalg.lstsq(np.asarray(x), np.asarray(y), rcond=None)[0].T
    population = linear_population(np.asarray(x.T @ x) / len(x), target, weight=0.5)
    model = small(Dense(linear, inputs=3, outputs=3))
    by_moments = theory.predictions(Landscape(model, statistics_loss, population))
    by_sample = theory.predictions(Landscape(model, half_squared_error, SPECTRAL))
    for name in ("Lemma 6 levels", "logistic mode times", "Theorem 4"):
        for key, value in by_sample.named(name).values.items():
            np.testing.assert_allclose(by_moments.named(name)[key], value, rtol=1e-8, atol=1e-12)


def test_assumptions_of_linear_formulas_are_checked():
    def formula(name, model, data, loss=half_squared_error):
        return theory.predictions(Landscape(model, loss, data)).named(name)

    model = small(Dense(linear, inputs=3, outputs=3))
    x, y = SPECTRAL
    tied = spectral_regression(np.array([1.0, 1.0, 0.5]))
    assert "grow together" in reason(formula("logistic mode times", model, tied))
    skewed = x @ jnp.array([[1.0, 0.4, 0], [0, 1, 0], [0, 0, 1]]), y
    assert "not eigenvectors of Σ_xx" in reason(formula("logistic mode times", model, skewed))
    assert "not small" in reason(
        formula("logistic mode times", small(Dense(linear, inputs=3, outputs=3), scale=1.0), SPECTRAL)
    )
    equal = spectral_regression(np.ones(3))
    assert "all singular values" in reason(formula("Theorem 4", model, equal))
    assert "uncorrelated" in reason(formula("Theorem 4", model, (x, 0 * y + 1)))
    flat = x * jnp.array([1.0, 1.0, 0.0]), y
    assert "singular" in reason(formula("Lemma 6 levels", model, flat))
    assert "not a squared error" in reason(formula("Lemma 6 levels", model, SPECTRAL, lambda m, d: m.u.sum() ** 2))
    narrow = theory.predictions(
        Landscape(small(Dense(linear, inputs=3, outputs=3), width=1), half_squared_error, SPECTRAL)
    )
    assert len(narrow.named("Lemma 6 levels")["levels"]) == 2


@pytest.mark.parametrize("activation", [tanh, erf])
def test_theorem_4_holds_for_what_enters_linearly(activation):
    """The slope of the activation at zero takes the place of one."""
    x, y = SPECTRAL
    found = theory.predictions(
        Landscape(small(Dense(activation, inputs=3, outputs=3)), half_squared_error, SPECTRAL)
    ).named("Theorem 4")
    slope = float(jax.grad(activation.function)(0.0))
    np.testing.assert_allclose(found["rates"], slope * STRENGTHS, rtol=1e-9)


def test_theorem_4_on_a_gaussian_population():
    """With an orthonormal teacher every direction of its span grows at the same rate, and others not at all."""
    teacher = small(Dense(erf, inputs=3, outputs=2), width=2, scale=1.0, seed=1)
    found = theory.predictions(Landscape(small(Dense(erf, inputs=3, outputs=2)), gaussian_loss, teacher)).named(
        "Theorem 4"
    )
    # E[erf(u·x/√2) x] = √(2/π) u / √(1 + ‖u‖²).
    gain = np.sqrt(2 / np.pi)
    mean = (
        gain
        * np.asarray(teacher.v).T
        @ (np.asarray(teacher.u) / np.sqrt(1 + np.sum(np.asarray(teacher.u) ** 2, axis=1, keepdims=True)))
    )
    np.testing.assert_allclose(found["rates"], gain * np.linalg.svd(mean, compute_uv=False), rtol=1e-6)


def test_convolution_and_attention_are_fitted_rank_by_rank():
    architecture = Convolution(linear, inputs=4, kernel=2, stride=2)
    x = np.diag(2 * np.sqrt([1.0, 1.0, 2.0, 1.0]))
    data = jnp.asarray(x), jnp.asarray(x @ np.array([[1], [1], [-1], [1]]) / np.sqrt(5))
    found = theory.predictions(Landscape(small(architecture), mean_squared_error, data))
    np.testing.assert_allclose(found.named("weighted low-rank levels")["levels"], [1, 0.4, 0], atol=1e-12)
    assert reason(found.named("Lemma 6 levels")) == "the units are Convolution, not Dense or MergedAttention"
    relu_units = theory.predictions(
        Landscape(small(Convolution(relu, inputs=4, kernel=2, stride=2)), mean_squared_error, data)
    )
    assert "not linear" in reason(relu_units.named("weighted low-rank levels"))


def test_merged_attention_is_a_linear_network_with_one_output():
    """One plateau; for Λ = I one sigmoid, which starts from what the weights have along the correlation."""
    inputs, n = 3, 10
    population = in_context_population(np.eye(inputs), n, normalised=True, weight=0.5)
    model = small(MergedAttention(inputs=inputs))
    found = theory.predictions(Landscape(model, statistics_loss, population))
    levels = np.array(theory.merged_attention_levels(inputs * (1.0,), n)) / 2
    np.testing.assert_allclose(found.named("Lemma 6 levels")["levels"], levels, rtol=1e-10)
    along = np.trace(np.asarray(model.u), axis1=1, axis2=2) / np.sqrt(inputs)
    start = np.sum((np.asarray(model.v[:, 0]) + along) ** 2) / 4
    time = float(found.named("logistic mode times")["half_times"][0])
    end = float(theory.merged_attention_strength(np.array(1e3), inputs, n, start))
    assert theory.merged_attention_strength(np.array(time), inputs, n, start) == pytest.approx(end / 2, rel=1e-9)


def test_deep_linear_networks():
    model = Deep(Dense(linear, inputs=3, outputs=3), widths=(4, 2), scale=1e-2, key=jax.random.key(0))
    found = theory.predictions(Landscape(model, half_squared_error, SPECTRAL))
    modes = np.sort(STRENGTHS**2 / VARIANCES)[::-1]
    expected = [modes[k:].sum() / 2 for k in range(3)]
    np.testing.assert_allclose(found.named("levels of deep linear networks")["levels"], expected, atol=1e-12)
    escape = found.named("escape of deep linear networks")
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(model)))
    assert escape["dwell_exponent"] == -1
    assert escape["earliest_escape"] == pytest.approx(np.sqrt(3) / (STRENGTHS[0] * norm), rel=1e-9)
    assert "not a two-layer network" in reason(found.named("Lemma 6 levels"))
    rectified = Deep(Dense(relu, inputs=3, outputs=3), widths=(4, 2), scale=1e-2, key=jax.random.key(0))
    found = theory.predictions(Landscape(rectified, half_squared_error, SPECTRAL))
    assert "not fully connected and linear" in reason(found.named("levels of deep linear networks"))


def test_diagonal_networks():
    x, y = np.array([[2.0, 1, 0], [0, 2, 1], [1, 0, 2]]), np.array([3.0, -1.5, 3])
    data, process = (jnp.asarray(x), jnp.asarray(y)[:, None]), theory.jump_process(x, y)
    for loss, factor in ((half_squared_error, 1.0), (mean_squared_error, 2.0)):
        found = theory.predictions(Landscape(DiagonalLinear(inputs=3, scale=1e-8), loss, data)).named("jump process")
        np.testing.assert_allclose(found["times"] * factor, process.times * np.log(1e8), rtol=1e-9)
        np.testing.assert_allclose(found["levels"], factor * process.losses, atol=1e-12)
        np.testing.assert_allclose(found["saddles"], process.saddles, atol=1e-9)
    cases = (
        (DiagonalLinear(inputs=3, scale=0.5), "not small"),
        (DiagonalLinear(inputs=3, layers=3, scale=1e-8), "not two"),
    )
    for model, words in (*cases, (DiagonalLinear(inputs=3, scale=1e-8, key=jax.random.key(0)), "do not start alike")):
        found = theory.predictions(Landscape(model, half_squared_error, data))
        assert words in reason(found.named("jump process"))
