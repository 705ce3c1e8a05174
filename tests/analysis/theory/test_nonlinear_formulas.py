"""Formulas of attention, quadratic and ReLU networks: what applies, what does not and why, and values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.analysis.theory.formulas.setting import unit_form
from saddlescope.experiments import gaussian_regression, orthogonal_points
from saddlescope.flows import (
    Landscape,
    half_squared_error,
    in_context_population,
    mean_squared_error,
    quadratic_population,
    statistics_loss,
)
from saddlescope.models import Activation, Dense, LinearAttention, UnitLaw, quadratic, relu, tanh
from saddlescope.models.units import with_units

from architectures import problem
from formula_cases import reason, small


@pytest.mark.slow
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


@pytest.mark.parametrize(("share", "applies"), [(1e-9, True), (1e-11, False), (-1e-9, False)])
def test_eigenvalues_of_both_signs_are_more_than_rounding(share, applies):
    """The lowest eigenvalue of Σ_yZ, linear in the target's last coefficient, is put at −share times the largest."""
    network = small(Dense(quadratic, inputs=3, outputs=1))

    def landscape(last):
        population = quadratic_population(np.eye(3), np.diag([1.0, 0.5, last]))
        return Landscape(network, statistics_loss, population)

    at = {last: np.linalg.eigvalsh(unit_form(landscape(last))) for last in (0.0, -1.0)}
    slope = at[0.0][0] - at[-1.0][0]
    last = -(at[0.0][0] + share * at[0.0][-1]) / slope
    found = theory.predictions(landscape(last)).named("Proposition 5")
    assert found.applicable == applies


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
    almost = orthogonal_points([1, 1], [1, -1 - 1e-6])
    found = theory.predictions(Landscape(small(Dense(relu, inputs=2, outputs=1)), mean_squared_error, almost))
    np.testing.assert_allclose(found.named("orthogonal ReLU levels")["rates"], [1 + 1e-6, 1], rtol=1e-9)
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
    # Odd to rounding, and not quite.
    network = small(Dense(leaky, inputs=2, outputs=1))
    for change, odd in ((1e-13, True), (1e-9, False)):
        changed = data[0], data[1].at[-1].add(change * jnp.max(jnp.abs(data[1])))
        found = theory.predictions(Landscape(network, half_squared_error, changed)).named("slowed linear network")
        assert found.applicable == odd
    smooth = theory.predictions(Landscape(small(Dense(tanh, inputs=2, outputs=1)), half_squared_error, data))
    assert "not leaky ReLU" in reason(smooth.named("slowed linear network"))
