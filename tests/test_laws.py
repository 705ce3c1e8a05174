"""Laws that hold for every architecture: energy, monotone loss, conservation, invariant manifolds, embedding."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import conserved_drift, effective_width, reduce
from saddlescope.flows import flatten, half_squared_error, mean_squared_error, simulate, unflatten
from saddlescope.models import incoming, outgoing, scaled, unit_vectors, units_of, with_units

sys.path.append(str(Path(__file__).parent))
from architectures import MODELS, problem

NAMES = tuple(MODELS)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 0))
def test_energy_loss_and_conservation(name, seed, exponent):
    model, data = problem(name, seed)
    flow = simulate(scaled(model, 10**exponent), mean_squared_error, data, t1=1.5)
    assert flow.energy_error < 1e-8
    rounding = 1e-14 * flow.losses[0]
    assert np.all(np.diff(flow.losses) <= rounding)
    drift = conserved_drift(flow)
    assert drift is None or drift <= 1e-8


def euler(model, loss, data, t1, steps):
    """The loop that researchers write."""
    gradient = jax.grad(lambda theta: loss(unflatten(model, theta), data))
    theta = jax.lax.fori_loop(0, steps, lambda _, p: p - t1 / steps * gradient(p), flatten(model))
    return np.asarray(theta)


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_a_tiny_euler_loop(name):
    """Euler's error is first order: halving the step and extrapolating leaves an error of the second order."""
    model, data = problem(name, 3)
    model = scaled(model, 0.3)
    t1 = 0.5
    exact = simulate(model, half_squared_error, data, t1=t1).ys[-1]
    coarse, fine = (jax.jit(euler, static_argnums=(1, 3, 4))(model, half_squared_error, data, t1, n) for n in (4000, 8000))
    step_error = np.max(np.abs(fine - exact))
    assert 0 < step_error < 1e-3
    # A ReLU's kinks, crossed between Euler steps, leave first-order terms that do not halve exactly.
    tolerance = 0.05 if "relu" in name else 0.002
    assert np.max(np.abs(2 * fine - coarse - exact)) < tolerance * step_error + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_reduction_and_embedding_keep_the_map(name):
    """On an invariant manifold reduce and embed are inverse; the map is the same and the gradient that of the flow."""
    model, data = problem(name, 4)
    wide = on_manifold(model)
    reduction = reduce(wide, effective_width(wide))
    assert incoming(reduction.narrow).shape[0] == 2
    back = reduction.embed()
    for other in (reduction.narrow, back):
        np.testing.assert_allclose(jax.vmap(other)(data[0]), jax.vmap(wide)(data[0]), atol=1e-12)
    np.testing.assert_allclose(unit_vectors(back), unit_vectors(wide), atol=1e-12)


def on_manifold(model):
    """A configuration of effective width two that uses the most general reduction the law allows."""
    law = units_of(model).law
    u, v = incoming(model), outgoing(model)
    if law.embedding == "iv":
        mix = jax.random.normal(jax.random.key(0), (u.shape[0], 2))
        return with_units(model, mix @ u[:2], mix @ v[:2])
    if law.embedding == "iii":
        shares = jnp.array([1.0, 1.0, *(0.5 + jnp.arange(u.shape[0] - 2))])[:, None]
        index = jnp.arange(u.shape[0]) % 2
        return with_units(model, shares * u[index], shares * v[index])
    copies = jnp.array([0, 1, 0, *((u.shape[0] - 3) * [0])])
    keep = (jnp.arange(u.shape[0]) < 3)[:, None]
    return with_units(model, keep * u[copies], keep * v[copies])


@pytest.mark.parametrize("name", NAMES)
def test_flow_stays_on_its_invariant_manifold(name):
    """Theorem 3: the relations between units are kept."""
    model, data = problem(name, 5)
    flow = simulate(on_manifold(scaled(model, 0.5)), mean_squared_error, data, t1=1.0)
    end = effective_width(flow.final_model)
    assert end.width == 2
    assert end.scatter < 1e-12
    if units_of(model).law.embedding == "iv":
        assert end.sizes[2] < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_embedded_critical_points_are_critical(name):
    """Theorem 1: a zero of the narrow gradient is one of the wide gradient."""
    from saddlescope.analysis import critical_point

    model, data = problem(name, 6)
    wide = on_manifold(scaled(model, 0.5))
    point = critical_point(wide, half_squared_error, data)
    narrow_gradient = jax.grad(lambda theta: half_squared_error(unflatten(point.reduction.narrow, theta), data))
    norm = float(jnp.max(jnp.abs(narrow_gradient(flatten(point.reduction.narrow)))))
    assert norm < 1e-9
    largest_share = 1 + np.max(np.abs(point.reduction.incoming)) * incoming(wide).shape[0]
    assert point.gradient_norm <= largest_share * norm + 1e-13
