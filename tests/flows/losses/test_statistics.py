"""Exact sufficient statistics agree with the sample, and moments with an infinite one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.experiments import experiment
from saddlescope.flows import flatten, half_squared_error, load, mean_squared_error, simulate, statistics_loss
from saddlescope.flows.losses.statistics import SufficientStatistics, from_moments, sufficient_statistics
from saddlescope.models import LinearAttention, TwoLayer
from saddlescope.models.features import features_of

from architectures import MODELS, NEW, problem

DECLARED = [name for name in MODELS if features_of(problem(name).model) is not None]


def test_the_architectures_that_declare_features():
    shallow = {"linear", "quadratic", "linear-conv", "attention", "attention-rank-2", "merged-attention"}
    deep = {"deep-linear", "conv-dense", "linear-transformer", "quadratic-linear", "skip-1", "skip-2", "diagonal"}
    assert set(DECLARED) == shallow | deep


def enough(name, seed=0):
    """The problem of one architecture on more samples than it has features."""
    model, (x, y) = problem(name, seed)
    more = [problem(name, seed + 1 + k).data for k in range(5)]
    return model, jax.tree.map(lambda *parts: jnp.concatenate(parts), (x, y), *more)


# One loss for each of the further architectures: compilation is what this test costs.
LOSSES = [(name, loss) for name in DECLARED for loss in (mean_squared_error, half_squared_error)]


@pytest.mark.parametrize(
    ("name", "loss"), [case for case in LOSSES if case[0] not in NEW or case[1] is mean_squared_error]
)
@pytest.mark.fast_for(
    "attention-loss6",
    "attention-loss7",
    "attention-rank-2-loss8",
    "attention-rank-2-loss9",
    "linear-conv-loss5",
    "linear-loss1",
    "quadratic-loss3",
    "skip-2-loss16",
)
def test_loss_and_gradient_agree_with_the_sample(name, loss):
    model, data = enough(name)
    statistics = sufficient_statistics(model, loss, data)
    assert statistics is not None
    plain, gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss))(model, data)
    value, other = eqx.filter_jit(eqx.filter_value_and_grad(statistics_loss))(model, statistics)
    assert float(value) == pytest.approx(float(plain), rel=1e-12)
    scale = float(jnp.max(jnp.abs(flatten(gradient))))
    np.testing.assert_allclose(flatten(other), flatten(gradient), atol=1e-12 * scale)


@pytest.mark.parametrize("name", DECLARED)
def test_the_features_and_coefficients_make_the_map(name):
    model, (x, _) = problem(name, 9)
    features = features_of(model)
    product = jax.vmap(features.of_input)(x) @ features.coefficients(model).T
    np.testing.assert_allclose(product, jax.vmap(model)(x), atol=1e-12)


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.fast_for("linear", "quadratic")
def test_the_flow_is_the_same(name):
    model, data = enough(name)
    small = jax.tree.map(lambda a: 0.3 * a if eqx.is_inexact_array(a) else a, model)
    flows = [simulate(small, mean_squared_error, data, t1=1.0, reduce_data=use) for use in (True, False)]
    assert [flow.stats["reduced_data"] for flow in flows] == [True, False]
    assert "sufficient statistics" in str(flows[0]) and "sufficient statistics" not in str(flows[1])
    np.testing.assert_allclose(flows[0].thetas[-1], flows[1].thetas[-1], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(flows[0].losses[-1], flows[1].losses[-1], rtol=1e-10)


def test_dependent_features_are_no_trouble():
    """Overlapping windows repeat inputs; the factor is singular and the loss still exact."""
    model, data = enough("linear-conv")
    statistics = sufficient_statistics(model, mean_squared_error, data)
    assert np.linalg.matrix_rank(statistics.factor) < statistics.factor.shape[1]


@pytest.mark.slow
def test_nothing_cancels_near_convergence():
    """At an exact fit the loss is the square of rounding, not rounding."""
    setup = experiment("quadratic").setup(0)
    flow = simulate(setup.model, setup.loss, setup.data, t1=150.0)
    assert flow.stats["reduced_data"]
    assert isinstance(flow.data, SufficientStatistics)
    assert flow.losses[-1] < 1e-15
    assert float(flow.data.constant) < 1e-28


def test_save_and_load_with_statistics(tmp_path):
    model, data = enough("linear")
    flow = simulate(model, mean_squared_error, data, t1=1.0)
    flow.save(tmp_path / "flow.npz")
    back = load(tmp_path / "flow.npz", model, mean_squared_error, data)
    assert back.evaluate(0.37) == pytest.approx(flow.evaluate(0.37), abs=0)


def test_population_of_linear_attention():
    """Moments in closed form give the paper's plateaus to many digits: in-context regression with Λ = I/2, N = 31."""
    eigenvalues, n = np.array([0.5, 0.5]), 31
    # Z = β ⊗ x_q with β = Σ yₙxₙ: E[ββᵀ] = N²[(1 + 1/N)Λ² + tr Λ Λ/N], E[y_q Z] = N vec(Λ²).
    context = n**2 * ((1 + 1 / n) * eigenvalues**2 + eigenvalues.sum() * eigenvalues / n)
    second = np.kron(np.diag(context), np.diag(eigenvalues))
    cross = n * np.diag(eigenvalues**2).reshape(1, -1)
    population = from_moments(second, cross, eigenvalues.sum())
    levels = theory.linear_attention_levels(tuple(eigenvalues), n)
    assert float(population.constant) == pytest.approx(levels[-1], rel=1e-12)
    model = TwoLayer(LinearAttention(inputs=2), width=4, scale=0.05, key=jax.random.key(1))
    flow = simulate(model, statistics_loss, population, t1=200.0)
    assert flow.losses[0] == pytest.approx(levels[0], abs=1e-2)
    assert flow.losses[-1] == pytest.approx(levels[-1], rel=1e-10)


def test_moments_that_are_none_raise():
    with pytest.raises(ValueError, match="positive semidefinite"):
        from_moments(np.diag([1.0, -1.0]), np.zeros((1, 2)), 1.0)
    with pytest.raises(ValueError, match="declares no features"):
        model, _ = problem("relu")
        statistics_loss(model, from_moments(np.eye(2), np.zeros((2, 2)), 1.0))
