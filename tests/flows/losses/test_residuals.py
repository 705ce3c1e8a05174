"""Losses that are sums of squares, in many words, and losses that are none."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point
from saddlescope.flows import Landscape, cross_entropy, half_squared_error
from saddlescope.flows.compilation.traced import evaluate
from saddlescope.flows.losses.residuals import residuals_of

from architectures import normal


class Model(eqx.Module):
    """A linear map."""

    w: jax.Array

    def __call__(self, x):
        return self.w @ x


def error(model, data):
    x, y, _ = data
    return jax.vmap(model)(x) - y


SQUARES = {
    "mean": lambda model, data: jnp.mean(error(model, data) ** 2),
    "half": lambda model, data: 0.5 * jnp.mean(jnp.sum(jnp.square(error(model, data)), axis=-1)),
    "product": lambda model, data: (lambda r: r @ r)(jnp.ravel(error(model, data))) / 7,
    "same": lambda model, data: (lambda e: jnp.sum(e * e, axis=0).sum())(error(model, data)),
    "weighted": lambda model, data: jnp.mean(data[2][:, None] * error(model, data) ** 2),
    "decayed": lambda model, data: jnp.mean(error(model, data) ** 2) + 1e-2 * jnp.sum(model.w**2),
    "inner": lambda model, data: jnp.sum(jax.vmap(lambda x, y: jnp.mean((model(x) - y) ** 2))(*data[:2])),
    "library": lambda model, data: half_squared_error(model, data[:2]),
}
OTHERS = {
    "absolute": lambda model, data: jnp.mean(jnp.abs(error(model, data))),
    "difference": lambda model, data: jnp.mean(error(model, data) ** 2) - jnp.sum(model.w**2),
    "with a constant": lambda model, data: jnp.mean(error(model, data) ** 2) + 1.0,
    "root": lambda model, data: jnp.sqrt(jnp.mean(error(model, data) ** 2)),
    "largest": lambda model, data: jnp.max(error(model, data) ** 2),
    "cross-entropy": lambda model, data: cross_entropy(model, (data[0], jax.nn.softmax(data[1]))),
}


def landscape(loss):
    x, y, model = normal(1, 9, 3), normal(2, 9, 2), Model(normal(3, 2, 3))
    return Landscape(model, loss, (x, y, jnp.abs(normal(4, 9))))


@pytest.mark.parametrize("name", SQUARES)
def test_the_loss_is_the_sum_of_the_squares_that_are_found(name):
    told = landscape(SQUARES[name])
    found = residuals_of(told.program, told.theta, told.data)
    assert found is not None
    residuals = np.asarray(evaluate(found, told.theta, told.data))
    assert residuals @ residuals == pytest.approx(float(told.value(told.theta)), rel=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_other_losses_have_none(name):
    told = landscape(OTHERS[name])
    assert residuals_of(told.program, told.theta, told.data) is None


class Factor(eqx.Module):
    """A factor of a symmetric matrix."""

    a: jax.Array


def test_a_degenerate_zero_of_a_loss_of_ones_own_is_a_minimum():
    """A Aᵀ of rank two by four columns: where two of them vanish the loss rises at fourth order only."""
    target = np.diag([2.0, 1.0, 0.0])
    model = Factor(jnp.asarray(np.diag([2.0**0.5, 1.0, 0.0]) @ np.eye(3, 4) + 1e-3 * np.asarray(normal(5, 3, 4))))
    point = critical_point(Landscape(model, lambda model, data: jnp.sum((model.a @ model.a.T - data) ** 2) / 4, target))
    assert point.converged and point.loss < 1e-30
    assert classify(point).name == "minimum"
