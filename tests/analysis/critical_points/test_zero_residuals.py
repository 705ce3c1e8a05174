"""Zeros of squared errors beside degenerate minima, located by Gauss–Newton steps on the residuals."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import classify, critical_point
from saddlescope.analysis.critical_points.zero_residuals import zero_residuals
from saddlescope.flows import Landscape, half_squared_error

INPUTS = np.array([1.0, 2.0, 3.0])


class Square(eqx.Module):
    """f(x) = p x + q² x²: fits y = 2x where p = 2 and q = 0, at which the loss is quartic in q."""

    p: Array
    q: Array

    def __call__(self, x):
        return self.p * x + self.q**2 * x**2


def landscape(p, q, targets=2 * INPUTS):
    return Landscape(Square(jnp.asarray(p), jnp.asarray(q)), half_squared_error, (INPUTS, targets))


def valley(q):
    """The p at which the gradient in p vanishes for given q."""
    return 2 - q**2 * np.sum(INPUTS**3) / np.sum(INPUTS**2)


@pytest.mark.parametrize("q", [1e-3, -1e-4, 1e-5])
def test_the_degenerate_zero_is_reached(q):
    """From points of the valley whose loss is of size q⁴."""
    beside = landscape(valley(q), q)
    found = zero_residuals(beside, beside.theta)
    assert abs(found[0] - 2) < 1e-14 and abs(found[1]) < 1e-3 * abs(q)
    assert float(beside.value(found)) < 1e-30


def test_a_small_loss_that_has_no_zero_nearby_is_left_alone():
    """With targets 2x − c the smallest residuals are not zero."""
    beside = landscape(valley(1e-4), 1e-4, 2 * INPUTS - 1e-7)
    np.testing.assert_array_equal(zero_residuals(beside, beside.theta), beside.theta)


def test_zeros_are_not_sought_from_afar():
    far = landscape(1.0, 0.5)
    np.testing.assert_array_equal(zero_residuals(far, far.theta), far.theta)


@pytest.mark.parametrize("q", [0.1, 1e-2, 1e-3])
def test_the_end_of_a_slow_flow_is_a_minimum(q):
    """Beside it the gradient is zero to rounding where the loss is not yet: neither a saddle nor undetermined."""
    kind = classify(critical_point(landscape(valley(q), q)))
    assert kind.name == "minimum" and "attains its lower bound" in kind.evidence and kind.nullity == 1
