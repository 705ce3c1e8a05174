"""The cross-entropy: closed forms, SciPy's softmax, its Hessian in the logits, its weights, its lower bound."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from saddlescope.flows import Landscape, cross_entropy
from saddlescope.flows.losses.cross_entropy import sample_cross_entropy
from saddlescope.flows.losses.declaration import convex_in_output, lower_bound_of


class Table(eqx.Module):
    """The logits themselves: input k picks row k."""

    logits: jax.Array

    def __call__(self, k):
        return self.logits[k]


def table(shape, size=2.0, seed=0):
    generator = np.random.default_rng(seed)
    logits = size * generator.standard_normal(shape)
    y = generator.dirichlet(np.ones(shape[-1]), shape[:-1])
    return Table(jnp.asarray(logits)), (np.arange(shape[0]), y)


def test_it_is_that_of_the_softmax():
    model, (x, y) = table((6, 4))
    expected = -np.mean(np.sum(y * scipy.special.log_softmax(model.logits, axis=1), axis=1))
    assert float(cross_entropy(model, (x, y))) == pytest.approx(expected, rel=1e-14)


def test_labels_are_one_hot_distributions():
    model, (x, _) = table((6, 4))
    labels = np.array([0, 3, 1, 1, 2, 0])
    one_hot = np.eye(4)[labels]
    assert float(cross_entropy(model, (x, labels))) == pytest.approx(float(cross_entropy(model, (x, one_hot))))
    uniform = Table(jnp.zeros((6, 4)))
    assert float(cross_entropy(uniform, (x, labels))) == pytest.approx(np.log(4), rel=1e-15)


def test_weights_count_samples_and_mask_them():
    model, (x, y) = table((5, 3))
    counts = np.array([1, 0, 3, 2, 0])
    repeated = np.repeat(x, counts), np.repeat(y, counts, axis=0)
    weighted = cross_entropy(model, (x, y, 1.0 * counts))
    assert float(weighted) == pytest.approx(float(cross_entropy(model, repeated)), rel=1e-14)
    masked = jax.grad(lambda logits: cross_entropy(Table(logits), (x, y, 1.0 * counts)))(model.logits)
    np.testing.assert_array_equal(np.asarray(masked)[[1, 4]], 0.0)


def test_weights_mask_tokens():
    """Answers at every token, of which only the last is asked for."""
    model, (x, y) = table((5, 2, 3))
    weights = np.tile([0.0, 1.0], (5, 1))
    last = Table(model.logits[:, 1])
    assert float(cross_entropy(model, (x, y, weights))) == pytest.approx(float(cross_entropy(last, (x, y[:, 1]))))


def test_gradient_and_hessian_in_the_logits():
    """p − y and diag(p) − ppᵀ."""
    model, (x, y) = table((1, 5))
    landscape = Landscape(model, cross_entropy, (x, y))
    p = scipy.special.softmax(np.asarray(model.logits[0]))
    np.testing.assert_allclose(landscape.gradient(landscape.theta), p - y[0], atol=1e-15)
    np.testing.assert_allclose(landscape.hessian(landscape.theta), np.diag(p) - np.outer(p, p), atol=1e-15)


@pytest.mark.parametrize("gap", [30.0, 60.0, 600.0])
def test_small_losses_keep_their_digits(gap):
    """ln(1 + 2 e^−g) where the right label leads by g, with its derivative."""
    value, slope = jax.value_and_grad(lambda g: sample_cross_entropy(jnp.array([g, 0.0, 0.0]), jnp.eye(3)[0]))(gap)
    assert float(value) == pytest.approx(2 * np.exp(-gap), rel=1e-12)
    assert float(slope) == pytest.approx(-2 * np.exp(-gap), rel=1e-12)


def test_ties_of_the_largest_logit_change_nothing():
    gradient = jax.grad(lambda f: sample_cross_entropy(f, jnp.array([0.2, 0.3, 0.5])))(jnp.ones(3))
    np.testing.assert_allclose(gradient, 1 / 3 - np.array([0.2, 0.3, 0.5]), atol=1e-15)


def test_the_lower_bound_is_the_entropy_of_the_targets():
    model, data = table((6, 4))
    bound = lower_bound_of(cross_entropy, data)
    best = Table(jnp.log(data[1]))
    assert bound <= float(cross_entropy(best, data)) and bound == pytest.approx(float(cross_entropy(best, data)))
    assert lower_bound_of(cross_entropy, (data[0], np.zeros(6, int))) == 0.0
    weighted = (*data, np.arange(6.0))
    assert lower_bound_of(cross_entropy, weighted) == pytest.approx(float(cross_entropy(best, weighted)))
    assert convex_in_output(cross_entropy)


def test_what_does_not_fit_is_refused():
    model, (x, y) = table((6, 4))
    with pytest.raises(ValueError, match="the distributions have shape"):
        cross_entropy(model, (x, y[:, :3]))
    with pytest.raises(ValueError, match="the labels have shape"):
        cross_entropy(model, (x, np.zeros((6, 4), int)))
    with pytest.raises(ValueError, match="weights must have shape"):
        cross_entropy(model, (x, y, np.ones((6, 1))))
