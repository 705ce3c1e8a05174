"""The theory that figures are held against, each computed a second way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.experiments.reproductions.figure_4_softmax import mean_token, uncentred_context
from saddlescope.experiments.reproductions.figure_5 import PLANS, SPLIT_TARGET
from saddlescope.experiments.reproductions.plateau_times import seed_key
from saddlescope.experiments.reproductions.staircase import at_levels, cosine, growth_rate, staircase
from saddlescope.experiments.setups.figure_1 import CONVOLUTION_TARGET
from saddlescope.flows import linear_population, mean_squared_error, statistics_loss
from saddlescope.models import Dense, SoftmaxAttention, TwoLayer, linear, quadratic
from scipy.optimize import minimize


def test_moments_near_levels_are_the_visits_and_a_level_that_is_not_reached_shows():
    """Two modes of a linear network: the slowest moments near ½ Σ s_k² are what visits finds."""
    data = linear_population(np.eye(2), np.diag([2.0, 1.0]), weight=0.5)
    stairs = staircase(
        TwoLayer(Dense(linear, inputs=2, outputs=2), width=6, scale=1e-6, key=seed_key(0)), statistics_loss, data, 40.0
    )
    found = at_levels(stairs.flow, (1.0, 0.2, 0.0))
    assert found.widths == stairs.widths == (0, 1, 2)
    np.testing.assert_allclose(found.fractions, (1.0, 0.2, 0.0), atol=1e-4)
    assert np.all(found.slowest < 1e-2) and abs(found.indices[1] - stairs.indices[1]) <= 1
    # In the middle of the first drop nothing is slow.
    passed = at_levels(stairs.flow, (1.0, 0.6, 0.2))
    assert passed.slowest[1] > 0.2 and not np.any(np.isnan(passed.fractions))
    assert stairs.time_to(0.6) == pytest.approx(stairs.flow.ts[passed.indices[1]], abs=0.2)
    assert np.isnan(stairs.time_to(-1.0))


def test_a_rate_and_a_direction():
    ts = np.linspace(0, 10, 101)
    sizes = np.minimum(1e-4 * np.exp(0.7 * ts), 1e-2)
    assert growth_rate(ts, sizes, 2e-4, 9e-3) == pytest.approx(0.7, rel=1e-9)
    assert cosine(np.outer([1.0, -2.0, 3.0], [3.0, 4.0]), np.array([0.0, 2.0])) == pytest.approx(0.8)


def test_softmax_attention_before_it_attends():
    """The closed form's field is the gradient where keys and queries vanish; M is its derivative by a key and query."""
    heads, data = 3, uncentred_context(40, key=jax.random.key(5))
    theory = mean_token(*data)
    model = TwoLayer(SoftmaxAttention(inputs=2), width=heads, scale=0.0, key=jax.random.key(0))

    def with_values(values):
        return eqx.tree_at(lambda m: m.parameters[2], model, jnp.tile(values[:, None] / heads, (heads, 1, 1)))

    # At V* the mean token explains all it can: loss and gradient.
    best = with_values(jnp.asarray(theory.best))
    gradient = eqx.filter_jit(eqx.filter_grad(mean_squared_error))
    assert float(mean_squared_error(best, data)) == pytest.approx(theory.floor, rel=1e-12)
    assert np.max(np.abs(gradient(best, data).parameters[2])) < 1e-12
    # At the start the loss falls by Σ λ_k parts_k · 4H, as its closed form does.
    start = np.linalg.norm(np.asarray(gradient(with_values(jnp.zeros(3)), data).parameters[2])) ** 2
    step = 1e-7
    fall = (theory.losses(np.zeros(1), heads) - theory.losses(np.array([step]), heads))[0] / step
    assert fall == pytest.approx(start, rel=1e-4)
    # ∂L/∂k = −(2/H) M q to first order in q, and the other way round.
    q = jax.random.normal(jax.random.key(1), (heads, 1, 3))
    for slot, expected in ((1, -2 / heads * q @ theory.drive.T), (0, -2 / heads * q @ theory.drive)):
        tangent = eqx.tree_at(lambda m, s=slot: m.parameters[s], jax.tree.map(jnp.zeros_like, best), q)
        _, change = eqx.filter_jvp(lambda m: gradient(m, data), (best,), (tangent,))
        np.testing.assert_allclose(change.parameters[1 - slot], expected, atol=1e-12)


def test_one_kernel_explains_three_fifths():
    """Figures 5B and 5D: the target is split, and a kernel on one input of each window explains one output of it."""
    np.testing.assert_allclose(SPLIT_TARGET.sum(axis=0), CONVOLUTION_TARGET)
    variances = np.array([1.0, 1.0, 2.0, 1.0])
    shares = (SPLIT_TARGET**2 * variances).sum(axis=1)
    assert PLANS["B"].levels[1] == pytest.approx(shares[1] / shares.sum())
    # Of the four points, the one of largest utility goes first.
    x, y = PLANS["D"].data()
    points = np.asarray(jnp.sum(y**2, axis=1))
    utilities = np.linalg.norm(np.asarray(y), axis=1) * np.linalg.norm(np.asarray(x), axis=1)
    assert np.argmax(utilities) == 2
    assert PLANS["D"].levels[1] == pytest.approx(1 - points[2] / points.sum())
    assert PLANS["D"].levels[2] == pytest.approx(1 - points[[0, 2]].sum() / points.sum())


def test_one_squared_unit_explains_five_ninths():
    """Figure 5F: the best network of one quadratic unit, from every start, leaves 4/9 at the least."""
    plan = PLANS["F"]
    model = TwoLayer(Dense(quadratic, inputs=2, outputs=2), width=1, scale=1.0, key=jax.random.key(0))
    data = plan.data()
    loss = jax.jit(
        lambda p: statistics_loss(eqx.tree_at(lambda m: m.parameters, model, (p[None, :2], p[None, 2:])), data)
    )
    zero = float(loss(jnp.zeros(4)))
    lows = [
        minimize(loss, start, jac=jax.grad(loss), tol=1e-10).fun
        for start in np.asarray(jax.random.normal(jax.random.key(3), (8, 4)))
    ]
    assert min(lows) / zero == pytest.approx(plan.levels[1], abs=1e-8)
