"""The explicit pair on the host: its order, its tolerance, and fields that end it."""

import itertools

import diffrax as dfx
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows.solvers.explicit import explicit_steps

RATES = np.array([-1.0, 0.5])


def growth(t, y):
    return RATES * y + np.cos(t) - RATES * np.sin(t)


def exact(t, y0):
    """Of y' = λ y + cos t − λ sin t."""
    return y0 * np.exp(RATES * t) + np.sin(t)


def first_step(length):
    y0 = np.array([1.0, -2.0])
    step = next(explicit_steps(growth, y0, scale=np.ones(2), rtol=1.0, first=length))
    assert step.length == length
    errors = [step.at(share) - exact(share * length, y0) for share in (0.3, 0.7, 1.0)]
    return step, np.linalg.norm(errors, axis=1)


def test_fifth_order_and_within_a_step_fourth():
    """A step half as long has an error 2⁶ times as small at its end, and 2⁵ times within."""
    (step, errors), (_, smaller) = first_step(0.1), first_step(0.05)
    assert np.log2(errors / smaller) == pytest.approx([5, 5, 6], abs=0.15)
    assert np.allclose(step.at(1.0), step.end, rtol=1e-14, atol=0)
    assert np.allclose(step.end_velocity, growth(0.1, step.end), rtol=1e-14)


@pytest.mark.parametrize(("share", "accepted"), [(0.9, True), (1.1, False)])
def test_a_step_is_accepted_up_to_the_tolerance(share, accepted):
    """Its error as Diffrax has it of the same pair: the root mean square in units of the tolerance is at most one."""
    y0, scale, length = np.array([1.0, -2.0]), np.array([0.5, 3.0]), 0.1
    field = dfx.ODETerm(lambda t, y, args: RATES * y + jnp.cos(t) - RATES * jnp.sin(t))
    solver = dfx.Dopri5()
    state = solver.init(field, 0.0, length, jnp.asarray(y0), None)
    end, error, *_ = solver.step(field, 0.0, length, jnp.asarray(y0), None, state, False)
    rtol = np.sqrt(np.mean((error / (scale + np.maximum(np.abs(y0), np.abs(end)))) ** 2)) / share
    step = next(explicit_steps(growth, y0, scale=scale, rtol=float(rtol), first=length))
    assert (step.length == length) == accepted


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_errors_follow_the_tolerance_whatever_the_units(unit):
    """Over twenty e-folds; time in units of `unit`, and the state in others."""
    y0 = np.array([3e-9 / unit, 2e-9 / unit])
    field = lambda t, y: y / unit  # noqa: E731
    steps = explicit_steps(field, y0, scale=np.abs(y0), rtol=1e-6, first=1e-3 * unit)
    last = next(step for step in steps if step.t + step.length > 20 * unit)
    growth = np.exp((last.t + last.length) / unit)
    assert np.allclose(last.end / y0, growth, rtol=1e-4) and not np.allclose(last.end / y0, growth, rtol=1e-9)


def test_steps_end_where_the_field_does():
    """y' = y² from 1 is infinite at t = 1; a field without numbers takes no step."""
    steps = explicit_steps(lambda t, y: y**2, np.ones(1), scale=np.ones(1), rtol=1e-8, first=0.1)
    ends = [step.t + step.length for step in itertools.islice(steps, 10_000)]
    assert len(ends) < 10_000 and ends[-1] == pytest.approx(1.0, abs=1e-6)
    assert not list(explicit_steps(lambda t, y: y * np.nan, np.ones(1), scale=np.ones(1), rtol=1e-8, first=0.1))
