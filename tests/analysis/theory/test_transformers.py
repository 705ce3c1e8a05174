"""Formulas of transformers against their Hessian at zero weights, a flow that leaves it, and entropies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import theory
from saddlescope.experiments import Classification, in_context_classification
from saddlescope.experiments.setups.circuit import rule_losses
from saddlescope.flows import Landscape, cross_entropy, mean_squared_error
from saddlescope.models import AttentionOnly, Dense, TwoLayer, relu

from formula_cases import reason

TASK = Classification(items=2, labels=3)
SMALL = 1e-3


def landscape(task=TASK, noise=0.0, scale=SMALL, loss=cross_entropy, **settings):
    settings = {"heads": 1, "rank": 2, "disentangled": True, **settings}
    model = AttentionOnly(width=task.width, outputs=task.labels, scale=scale, key=jax.random.key(0), **settings)
    return Landscape(model, loss, in_context_classification(task, noise=noise))


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("disentangled", [True, False])
@pytest.mark.fast_for("True-0.3")
def test_index_nullity_and_rates_of_zero_weights_are_those_of_the_hessian(noise, disentangled):
    problem = landscape(noise=noise, disentangled=disentangled)
    found = theory.predictions(problem).named("attention-only origin")
    values = np.linalg.eigvalsh(problem.hessian(0 * problem.theta))
    assert found["index"] == np.sum(values < -1e-12) and found["nullity"] == np.sum(np.abs(values) <= 1e-12)
    np.testing.assert_allclose(-values[0], found["rates"][0], rtol=1e-12)
    np.testing.assert_allclose(found["rates"], theory.copying_rate(3, 2, noise), rtol=1e-12)


@pytest.mark.parametrize(
    "task", [Classification(items=4, labels=5), Classification(items=3, labels=4, pairs=3)], ids=str
)
def test_the_rate_by_symmetry_is_that_of_the_sample(task):
    rates = theory.predictions(landscape(task)).named("attention-only origin")["rates"]
    assert len(rates) == task.labels - 1
    np.testing.assert_allclose(rates, theory.copying_rate(task.labels, task.pairs), rtol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_levels_are_the_losses_of_the_rules(noise):
    found = theory.predictions(landscape(noise=noise)).named("in-context classification levels")["levels"]
    data = in_context_classification(TASK, noise=noise)
    np.testing.assert_allclose(found, rule_losses(data), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found, theory.classification_levels(3, 2, noise), rtol=1e-12, atol=1e-15)
    if noise == 0:
        np.testing.assert_allclose(found, [np.log(3), np.log(2), 0], atol=1e-15)


def test_where_they_do_not_apply():
    def why(problem, name="in-context classification levels"):
        return reason(theory.predictions(problem).named(name))

    assert "not small" in why(landscape(scale=1.0))
    assert "not the cross-entropy" in why(landscape(loss=mean_squared_error), "attention-only origin")
    other = TwoLayer(Dense(relu, inputs=2), width=2, scale=SMALL, key=jax.random.key(0))
    assert "not an attention-only transformer" in why(
        Landscape(other, mean_squared_error, (jnp.ones((3, 2)), jnp.ones((3, 1))))
    )
    x, y = in_context_classification(TASK)
    model = landscape().model
    assert "pairs and a query" in why(Landscape(model, cross_entropy, (x[:, 1:], y)))
    assert "label of its own" in why(Landscape(model, cross_entropy, (jnp.roll(x, 1, axis=1), y)))
    assert "one label of the context" in why(Landscape(model, cross_entropy, (x, 1 - y)))
