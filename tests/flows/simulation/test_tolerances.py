"""Default tolerances, and that steps are controlled by them and by nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import simulate
from saddlescope.flows.simulation.solver_state import parameter_norm
from saddlescope.flows.simulation.tolerances import default_atol, default_rtol

from vector import Vector


@pytest.mark.parametrize("theta", [np.arange(-3.0, 8.0), np.array([0.0, 0.0, 1e-8, -1.0]), np.zeros(3)])
def test_the_absolute_tolerance_follows_the_smallest_weights(theta):
    """Zeros left out; the same number for NumPy and under a transformation."""
    sizes = np.abs(theta[theta != 0])
    expected = 1e-10 * (np.quantile(sizes, 0.1) if sizes.size else 1.0)
    assert default_atol(theta, 1e-10) == pytest.approx(expected, rel=1e-14, abs=0.0)
    assert isinstance(default_atol(theta, 1e-10), float)
    traced = jax.jit(lambda theta: default_atol(theta, 1e-10))(theta)
    assert float(traced) == pytest.approx(expected, rel=1e-14, abs=0.0)


def test_the_relative_tolerance_follows_the_dtype():
    assert default_rtol(np.float64) == 1e-10
    assert default_rtol(np.float32) == pytest.approx(1.2e-4, rel=0.01)


def steps(rtol, atol):
    """The number of steps of $x' = -x$ from 1 to time 10."""
    flow = simulate(Vector(jnp.ones(1)), lambda model, data: jnp.sum(model.x**2) / 2, (), t1=10.0, rtol=rtol, atol=atol)
    return flow.stats["num_accepted_steps"]


def test_both_tolerances_control_the_steps():
    """A method of order 5 takes $10^{4/5}$ times as many steps for a $10^{-4}$ of the tolerance, whichever it is."""
    loose, absolute, relative = steps(1e-10, 1e-6), steps(1e-10, 1e-10), steps(1e-6, 1e-10)
    assert absolute > 4 * loose
    assert relative < absolute / 2


def test_the_energy_does_not_control_the_steps():
    error = jnp.array([3.0, 4.0])
    assert float(parameter_norm((error, jnp.asarray(1e6)))) == pytest.approx(np.sqrt(12.5))
