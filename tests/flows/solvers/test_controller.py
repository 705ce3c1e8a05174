"""The resumable controller is the wrapped one, except after a step that was cut short."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows.solvers.controller import ResumableController

WRAPPED = dfx.PIDController(rtol=1e-3, atol=1e-6)
CONTROLLER = ResumableController(WRAPPED)


@jax.jit
def after(length, error, proposed):
    """What both controllers say after a step from 0 of a length, when another length had been proposed."""
    y = jnp.ones(2)
    _, state = WRAPPED.init(dfx.ODETerm(lambda t, y, args: y), 0.0, 9.0, y, proposed, None, None, 5)
    _, ours = CONTROLLER.init(dfx.ODETerm(lambda t, y, args: y), 0.0, 9.0, y, proposed, None, None, 5)
    error = error * (1e-6 + 1e-3) * y
    expected = WRAPPED.adapt_step_size(0.0, length, y, y, None, error, 5, state)
    found = CONTROLLER.adapt_step_size(0.0, length, y, y, None, error, 5, ours)
    return expected[:4], found[:4], found[4][1]


@pytest.mark.parametrize("error", [1e-9, 0.5, 0.99, 3.0])
def test_steps_as_proposed_are_followed_by_those_of_the_wrapped_controller(error):
    expected, found, proposed = after(0.2, error, 0.2)
    np.testing.assert_array_equal(found, expected)
    assert proposed == expected[2] - expected[1]


def test_a_step_cut_short_does_not_shorten_the_next():
    """It may make it longer, where its error allows to, and a rejected one is cut as ever."""
    for error in (0.5, 0.99):
        _, (keep, start, end, _), proposed = after(1e-3, error, 0.2)
        assert keep
        assert start == 1e-3
        assert end - start == pytest.approx(0.2, rel=1e-12)
        assert proposed == 0.2
    _, (_, start, end, _), _ = after(0.1, 1e-9, 0.2)
    assert end - start == pytest.approx(1.0)
    _, (keep, start, end, _), proposed = after(1e-3, 3.0, 0.2)
    assert not keep
    assert proposed == end - start < 1e-3


def test_its_tolerances_are_the_wrapped_controllers():
    assert (CONTROLLER.rtol, CONTROLLER.atol, CONTROLLER.norm) == (WRAPPED.rtol, WRAPPED.atol, WRAPPED.norm)
    assert CONTROLLER.wrap(-1).controller == WRAPPED
