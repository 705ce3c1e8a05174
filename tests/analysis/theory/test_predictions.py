"""Formulas applied to all kinds of models: what applies, what does not and why, and values in the loss's units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.analysis.theory.formulas.predictions import FORMULAS
from saddlescope.experiments import gaussian_regression, orthogonal_points, spectral_regression
from saddlescope.flows import (
    Landscape,
    gaussian_loss,
    half_squared_error,
    in_context_population,
    linear_population,
    mean_squared_error,
    quadratic_population,
    statistics_loss,
)
from saddlescope.models import (
    Activation,
    Convolution,
    Deep,
    Dense,
    DiagonalLinear,
    LinearAttention,
    MergedAttention,
    TwoLayer,
    UnitLaw,
    erf,
    linear,
    quadratic,
    relu,
    tanh,
)
from saddlescope.models.units import with_units

from architectures import problem


def small(architecture, width=4, scale=1e-4, seed=0):
    return TwoLayer(architecture, width=width, scale=scale, key=jax.random.key(seed))


def reason(prediction):
    assert not prediction.applicable and not prediction.values
    with pytest.raises(ValueError, match="not applicable, because"):
        prediction["levels"]
    return prediction.reason


STRENGTHS, VARIANCES = np.array([2.0, 1.4, 0.5]), np.array([1.0, 0.8, 1.3])
SPECTRAL = spectral_regression(STRENGTHS, VARIANCES, key=jax.random.key(4))


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


def test_attention_on_a_population():
    """Levels and rates by direction, in any basis; heads of rank two skip every other level."""
    values, n = np.array([0.4, 0.3, 0.2, 0.1]), 31
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    covariance = basis @ np.diag(values) @ basis.T
    population = in_context_population(covariance, n, normalised=True, weight=0.5)
    levels = np.array(theory.linear_attention_levels(tuple(values), n)) / 2
    found = theory.predictions(Landscape(small(LinearAttention(inputs=4), scale=1e-3), statistics_loss, population))
    np.testing.assert_allclose(found.named("attention levels")["levels"], levels, rtol=1e-9)
    np.testing.assert_allclose(found.named("attention levels")["rates"], values**2, rtol=1e-8)
    fitted = found.named("weighted low-rank levels")["levels"]
    np.testing.assert_allclose(fitted, levels, rtol=1e-7)
    # Its own lower bound comes before the escape that the integral gives.
    bound = found.named("attention times")["earliest_half_times"]
    assert bound[0] < found.named("escape of quadratic units")["first"]
    assert np.all(np.diff(bound) > 0)
    eigenvalues = found.named("escape of quadratic units")["eigenvalues"]
    np.testing.assert_allclose(np.sort(np.abs(eigenvalues)), np.sort(np.tile(values**2, 2)) / 2, rtol=1e-8)
    assert found.named("Proposition 5").applicable
    pairs = theory.predictions(
        Landscape(small(LinearAttention(inputs=4, rank=2), scale=1e-3), statistics_loss, population)
    )
    np.testing.assert_allclose(pairs.named("attention levels")["levels"], levels[[0, 2, 4]], rtol=1e-9)
    assert "rank 2" in reason(pairs.named("attention times"))
    sample = theory.predictions(
        Landscape(small(LinearAttention(inputs=3)), mean_squared_error, problem("attention").data)
    )
    assert "use the population's moments" in reason(sample.named("attention levels"))


def test_the_bound_on_attention_times_is_attained_by_aligned_balanced_heads():
    """A head with v = ‖k‖ = ‖q‖ = 0.02 has norm √3 · 0.02: the bound is its exact half time, not an earlier one."""
    values, n = np.array([0.4, 0.3, 0.2, 0.1]), 31
    population = in_context_population(np.diag(values), n, normalised=True, weight=0.5)
    keys = 0.02 * jnp.eye(4)
    model = with_units(small(LinearAttention(inputs=4)), jnp.concatenate([keys, keys], axis=1), jnp.full((4, 1), 0.02))
    found = theory.predictions(Landscape(model, statistics_loss, population)).named("attention times")
    expected = theory.head_half_times(tuple(values), n, 0.02)
    np.testing.assert_allclose(found["earliest_half_times"], expected, rtol=1e-9)


def test_quadratic_units():
    isotropic = quadratic_population(np.eye(3), np.eye(3) / np.sqrt(15))
    found = theory.predictions(
        Landscape(small(Dense(quadratic, inputs=3, outputs=1), width=30), statistics_loss, isotropic)
    )
    np.testing.assert_allclose(
        found.named("isotropic quadratic levels")["levels"], theory.isotropic_quadratic_levels(3), rtol=1e-9
    )
    assert "one sign" in reason(found.named("Proposition 5"))
    assert np.any(np.isinf(found.named("escape of quadratic units")["escape_times"]))
    mixed = quadratic_population(np.eye(3), np.diag([1.0, 0.5, -2.0]))
    found = theory.predictions(Landscape(small(Dense(quadratic, inputs=3, outputs=1)), statistics_loss, mixed))
    assert found.named("Proposition 5")["runner_up_exponent"] == 1
    assert "not proportional to ‖x‖²" in reason(found.named("isotropic quadratic levels"))
    correlated = quadratic_population(np.diag([1.0, 1.0, 2.0]), np.eye(3))
    found = theory.predictions(Landscape(small(Dense(quadratic, inputs=3, outputs=1)), statistics_loss, correlated))
    assert "not those of standard normal inputs" in reason(found.named("isotropic quadratic levels"))
    two = theory.predictions(
        Landscape(small(Dense(quadratic, inputs=3, outputs=2)), mean_squared_error, problem("linear").data)
    )
    assert "2 outgoing weights" in reason(two.named("Proposition 5"))


def test_relu_networks():
    data = orthogonal_points([1.0, 2.0, 1.5], [1.0, -1.0, 0.4])
    found = theory.predictions(Landscape(small(Dense(relu, inputs=3, outputs=1)), mean_squared_error, data))
    np.testing.assert_allclose(found.named("orthogonal ReLU levels")["levels"], [2.16 / 3, 1.16 / 3, 0], atol=1e-12)
    np.testing.assert_allclose(found.named("orthogonal ReLU levels")["rates"], [4 / 3, 2 * np.hypot(1, 0.6) / 3])
    assert "not two" in reason(found.named("early alignment"))
    assert "not odd" in reason(found.named("slowed linear network"))
    tied = theory.predictions(
        Landscape(small(Dense(relu, inputs=2, outputs=1)), mean_squared_error, orthogonal_points([1, 1], [1, -1]))
    )
    assert "the same rate" in reason(tied.named("orthogonal ReLU levels"))
    oblique = jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([[1.0], [-1.0]])
    found = theory.predictions(Landscape(small(Dense(relu, inputs=2, outputs=1)), mean_squared_error, oblique))
    assert "not orthogonal" in reason(found.named("orthogonal ReLU levels"))
    assert found.named("early alignment").applicable


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_leaky_units_on_an_odd_sample_are_a_slowed_linear_network(slope):
    leaky = Activation(
        "leaky",
        lambda z: jnp.where(z > 0, z, slope * z),
        law=UnitLaw(zero=True, degree=1, field="nonnegative", smooth=False),
    )
    x, y = gaussian_regression(lambda x: x[:1] + x[1:] ** 3, 20, np.eye(2), key=jax.random.key(0))
    data = jnp.concatenate([x, -x]), jnp.concatenate([y, -y])
    found = theory.predictions(Landscape(small(Dense(leaky, inputs=2, outputs=1)), half_squared_error, data)).named(
        "slowed linear network"
    )
    assert found["slowdown"] == pytest.approx(2 / (1 + slope))
    np.testing.assert_allclose(found["levels"], theory.lemma6_levels(*map(np.asarray, data)), rtol=1e-10)
    smooth = theory.predictions(Landscape(small(Dense(tanh, inputs=2, outputs=1)), half_squared_error, data))
    assert "not leaky ReLU" in reason(smooth.named("slowed linear network"))


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


def test_every_formula_has_its_own_name_and_says_what_it_assumes():
    names = [formula.name for formula in FORMULAS]
    assert len(set(names)) == len(names)
    theorem = next(formula for formula in FORMULAS if formula.name == "Theorem 4")
    assert str(theorem).splitlines() == [
        "Theorem 4 (Zhang, Saxe & Latham (2025), Theorem 4)",
        "assumes: units that enter linearly, Gaussian small start, not all singular values of Σ_yz equal",
    ]


def test_a_prediction_says_values_or_why_there_are_none():
    found = theory.predictions(Landscape(small(Dense(linear, inputs=3, outputs=3)), half_squared_error, SPECTRAL))
    name, assumptions, values = str(found.named("Lemma 6 levels")).splitlines()
    assert name == "Lemma 6 levels (Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6)"
    assert assumptions.startswith("assumes: two-layer linear network or merged attention")
    # Half of 4 + 1.4²/0.8 + 0.5²/1.3.
    assert values.startswith("levels = [3.32115e+00 1.32115e+00 9.61538e-02 ")
    assert str(found.named("jump process")).splitlines()[2] == (
        "not applicable, because the model is a TwoLayer, not a diagonal network"
    )
    table = str(found)
    assert table.split()[:2] == ["formula", "prediction"]
    assert table.count("not applicable, because") == len(found) - len(found.applicable)


def test_foreign_models_and_unknown_names():
    foreign, data = problem("foreign")
    found = theory.predictions(Landscape(foreign, mean_squared_error, data))
    assert not len(found.applicable)
    assert "Foreign" in reason(found.named("Lemma 6 levels"))
    with pytest.raises(ValueError, match="unknown formula 'Lemma 7'; there are: Lemma 6 levels"):
        found.named("Lemma 7")
