"""Laws that hold for every architecture: energy, monotone loss, conservation, invariant manifolds, embedding."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import MODELS, problem
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import conserved_drift, effective_width, reduce
from saddlescope.flows import Result, flatten, half_squared_error, mean_squared_error, simulate, unflatten
from saddlescope.models import incoming, outgoing, scaled, unit_vectors, units_of, with_units

NAMES = tuple(MODELS)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 0))
def test_energy_loss_and_conservation(name, seed, exponent):
    model, data = problem(name, seed)
    model = scaled(model, 10**exponent)
    if "relu" in name:
        # Random data make ReLU flows slide along kinks sooner or later; the laws hold until then.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flow = simulate(model, mean_squared_error, data, t1=0.2)
        assert flow.result in (Result.reached_t1, Result.sliding)
    else:
        flow = simulate(model, mean_squared_error, data, t1=1.5)
    # At a kink the energy's integrand jumps; there are at most a few hundred steps of tolerance 1e-10 across one.
    assert flow.energy_error < (1e-6 if "relu" in name else 1e-8)
    rounding = 1e-14 * flow.losses[0]
    assert np.all(np.diff(flow.losses) <= rounding)
    drift = conserved_drift(flow)
    assert drift is None or drift <= 1e-8


def euler(model, loss, data, t1, steps):
    """The loop that researchers write."""
    gradient = jax.grad(lambda theta: loss(unflatten(model, theta), data))
    theta = jax.lax.fori_loop(0, steps, lambda _, p: p - t1 / steps * gradient(p), flatten(model))
    return theta


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_a_tiny_euler_loop(name):
    """Euler's error is first order: halving the step and extrapolating leaves an error of the second order."""
    model, data = problem(name, 3)
    model = scaled(model, 0.3)
    t1 = 0.5
    exact = simulate(model, half_squared_error, data, t1=t1).ys[-1]
    coarse, fine = (np.asarray(eqx.filter_jit(euler)(model, half_squared_error, data, t1, n)) for n in (4000, 8000))
    step_error = np.max(np.abs(fine - exact))
    assert 0 < step_error < 1e-4
    assert step_error < np.max(np.abs(coarse - exact))
    # A ReLU's kinks, crossed between Euler steps, leave first-order terms that do not halve exactly.
    if "relu" not in name:
        assert np.max(np.abs(2 * fine - coarse - exact)) < 0.002 * step_error + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_reduction_and_embedding_keep_the_map(name):
    """On an invariant manifold reduce and embed are inverse; the map is the same and the gradient that of the flow."""
    model, data = problem(name, 4)
    wide = on_manifold(model)
    embedding = reduce(wide, effective_width(wide))
    assert incoming(embedding.narrow).shape[0] == 2
    back = embedding.wide()
    for other in (embedding.narrow, back):
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
    """Theorem 3: the relations between units are kept, those of types i and ii bit for bit."""
    model, data = problem(name, 5)
    start = on_manifold(scaled(model, 0.5))
    flow = simulate(start, mean_squared_error, data, t1=0.2)
    theta = np.asarray(unit_vectors(flow.final_model))
    embedding = units_of(model).law.embedding
    if embedding == "iv":
        assert np.linalg.svd(theta, compute_uv=False)[2] < 1e-13
    elif embedding == "iii":
        shares = np.array([1.0, 1.0, *(0.5 + np.arange(len(theta) - 2))])
        np.testing.assert_allclose(theta, shares[:, None] * theta[np.arange(len(theta)) % 2], atol=1e-13)
    else:
        np.testing.assert_array_equal(theta[0], theta[2])
        np.testing.assert_array_equal(theta[3:], 0.0)
    assert not np.allclose(theta, np.asarray(unit_vectors(start)), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_wide_gradient_at_embedded_points(name):
    """Theorem 1: ∇_U L = P_v ∇_U' L and ∇_V L = P_u ∇_V' L, so a zero of one gradient is a zero of the other."""
    model, data = problem(name, 6)
    embedding = reduce(on_manifold(model))
    gradient = eqx.filter_grad(half_squared_error)
    narrow = gradient(embedding.narrow, data)
    wide = gradient(embedding.wide(), data)
    kept = np.any(embedding.incoming != 0, axis=1)
    expected_u, expected_v = embedding.outgoing @ incoming(narrow), embedding.incoming @ outgoing(narrow)
    np.testing.assert_allclose(incoming(wide)[kept], expected_u[kept], atol=1e-12)
    np.testing.assert_allclose(outgoing(wide)[kept], expected_v[kept], atol=1e-12)
    np.testing.assert_allclose(incoming(wide)[~kept], 0.0, atol=1e-14)
