"""Squared errors are values: they know their weight, and compare by it."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import SquaredError, half_squared_error, mean_squared_error
from saddlescope.flows.losses.statistics import sufficient_statistics
from saddlescope.models import Dense, TwoLayer, linear

X, Y = np.random.default_rng(0).standard_normal((2, 9, 3))


def double(x):
    return 2 * x


@pytest.mark.parametrize("loss", [mean_squared_error, half_squared_error])
@pytest.mark.parametrize("y", [Y, Y.reshape(9, 3, 1)])
def test_the_weight_is_that_of_a_squared_residual(loss, y):
    total = np.sum((2 * X.reshape(y.shape) - y) ** 2)
    np.testing.assert_allclose(loss(double, (X.reshape(y.shape), y)), loss.weight(y) * total, rtol=1e-14)
    assert loss.weight(y) == 1 / loss.divisor(y)


def test_the_normalisations():
    assert mean_squared_error.divisor(Y) == 27 and half_squared_error.divisor(Y) == 18
    with pytest.raises(ValueError, match="but the targets have shape"):
        mean_squared_error(double, (X, Y[:, :2]))


def test_losses_compare_by_value():
    twin = copy.deepcopy(half_squared_error)
    assert twin == half_squared_error and hash(twin) == hash(half_squared_error)
    assert mean_squared_error != half_squared_error and mean_squared_error != double
    assert str(twin) == "half squared error" and isinstance(twin, SquaredError)


@pytest.mark.parametrize("loss", [mean_squared_error, half_squared_error])
def test_copies_and_users_own_squared_errors_have_statistics(loss):
    """They decide by type, not by identity."""
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=2, scale=1.0, key=jax.random.key(0))
    statistics = sufficient_statistics(model, copy.deepcopy(loss), (jnp.asarray(X), jnp.asarray(Y)))
    assert statistics is not None
    own = SquaredError(name="own", halved=True, averages_outputs=True)
    ratio = own.weight(Y) / loss.weight(Y)
    theirs = sufficient_statistics(model, own, (jnp.asarray(X), jnp.asarray(Y)))
    np.testing.assert_allclose(theirs.constant, ratio * statistics.constant, rtol=1e-12)
    # The least squares error of a linear map.
    least = np.linalg.lstsq(X, Y, rcond=None)[1].sum()
    np.testing.assert_allclose(statistics.constant, loss.weight(Y) * least, rtol=1e-10)
    assert str(statistics).splitlines()[0] == "sufficient statistics of 3 features of rank 3 and 3 outputs"
    assert f"{float(statistics.constant):.6g}" in str(statistics)
