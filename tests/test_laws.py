"""Laws that hold for every architecture: energy, monotone loss, conservation, invariant manifolds, embedding."""

import warnings

import equinox as eqx
import jax
import numpy as np
import pytest
from architectures import NEW, each_layer, names, problem
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import conserved_drift, effective_width, reduce
from saddlescope.flows import Result, flatten, half_squared_error, mean_squared_error, simulate, unflatten
from saddlescope.models import incoming, layers_of, map_units, scaled, unit_vectors, units_of


# Of weights of size one the higher orders make stiff flows.
@pytest.mark.parametrize("name", names(costly={"quadratic-linear", "conv-dense"}))
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 0))
def test_energy_loss_and_conservation(name, seed, exponent):
    model, data = problem(name, seed)
    model = smaller(model, 10**exponent)
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


def smaller(model, factor):
    """Small units; a model without units is small as a whole."""
    if layers_of(model):
        return scaled(model, factor)
    return jax.tree.map(lambda leaf: factor * leaf if eqx.is_inexact_array(leaf) else leaf, model)


def euler(model, loss, data, t1, steps):
    """The loop that researchers write."""
    gradient = jax.grad(lambda theta: loss(unflatten(model, theta), data))
    theta = jax.lax.fori_loop(0, steps, lambda _, p: p - t1 / steps * gradient(p), flatten(model))
    return theta


@pytest.mark.parametrize("name", names(costly=NEW - {"deep-linear", "softmax-attention"}))
def test_agrees_with_a_tiny_euler_loop(name):
    """Euler's error is first order: halving the step and extrapolating leaves an error of the second order."""
    model, data = problem(name, 3)
    model = smaller(model, 0.3)
    t1 = 0.5
    exact = simulate(model, half_squared_error, data, t1=t1).ys[-1]
    coarse, fine = (np.asarray(eqx.filter_jit(euler)(model, half_squared_error, data, t1, n)) for n in (4000, 8000))
    step_error = np.max(np.abs(fine - exact))
    assert 0 < step_error < 1e-4
    assert step_error < np.max(np.abs(coarse - exact))
    # A ReLU's kinks, crossed between Euler steps, leave first-order terms that do not halve exactly.
    if "relu" not in name:
        assert np.max(np.abs(2 * fine - coarse - exact)) < 0.002 * step_error + 1e-9


@pytest.mark.parametrize(("name", "layer"), each_layer())
def test_reduction_and_embedding_keep_the_map(name, layer):
    """On an invariant manifold reduce and embed are inverse; the map is the same and the gradient that of the flow."""
    model, data = problem(name, 4)
    wide = map_units(model, *2 * [manifold(model, layer)], layer)
    embedding = reduce(wide, effective_width(wide, layer=layer))
    assert incoming(embedding.narrow, layer).shape[0] == 2
    back = embedding.wide()
    for other in (embedding.narrow, back):
        np.testing.assert_allclose(jax.vmap(other)(data[0]), jax.vmap(wide)(data[0]), atol=1e-12)
    np.testing.assert_allclose(unit_vectors(back, layer), unit_vectors(wide, layer), atol=1e-12)


def manifold(model, layer=0):
    """P such that units PU, PV have effective width two, by the most general reduction that the law allows."""
    law, width = units_of(model, layer).law, incoming(model, layer).shape[0]
    unit = np.arange(width)
    if law.embedding == "iv":
        return np.asarray(jax.random.normal(jax.random.key(0), (width, 2))) @ np.eye(2, width)
    if law.embedding == "iii":
        shares = np.where(unit < 2, 1.0, unit - 1.5)
        return shares[:, None] * np.eye(width)[unit % 2]
    # The first unit, the second, the first again, and zero units, or further copies where there is no zero.
    copies = np.eye(width)[np.where(unit == 1, 1, 0)]
    return copies * (unit < 3)[:, None] if law.zero else copies


@pytest.mark.parametrize(("name", "layer"), each_layer())
def test_flow_stays_on_its_invariant_manifold(name, layer):
    """Theorem 3: the relations between units are kept, those of types i and ii bit for bit."""
    model, data = problem(name, 5)
    p = manifold(model, layer)
    start = map_units(scaled(model, 0.5), p, p, layer)
    flow = simulate(start, mean_squared_error, data, t1=0.2)
    theta = np.asarray(unit_vectors(flow.final_model, layer))
    embedding = units_of(model, layer).law.embedding
    if embedding == "iv":
        assert np.linalg.svd(theta, compute_uv=False)[2] < 1e-13
    elif embedding == "iii":
        np.testing.assert_allclose(theta, p[:, :2] @ theta[:2], atol=1e-13)
    else:
        np.testing.assert_array_equal(theta[0], theta[2])
        np.testing.assert_array_equal(theta, p[:, :2] @ theta[:2])
    assert not np.allclose(theta, np.asarray(unit_vectors(start, layer)), atol=1e-3)


@pytest.mark.parametrize(("name", "layer"), each_layer())
def test_wide_gradient_at_embedded_points(name, layer):
    """Theorem 1: ∇_U L = P_v ∇_U' L and ∇_V L = P_u ∇_V' L, so a zero of one gradient is a zero of the other."""
    model, data = problem(name, 6)
    p = manifold(model, layer)
    embedding = reduce(map_units(model, p, p, layer), layer=layer)
    gradient = eqx.filter_jit(eqx.filter_grad(half_squared_error))
    narrow = gradient(embedding.narrow, data)
    wide = gradient(embedding.wide(), data)
    expected = map_units(narrow, embedding.outgoing, embedding.incoming, layer)
    kept = ~embedding.dormant
    found, rows = np.asarray(unit_vectors(wide, layer)), np.asarray(unit_vectors(expected, layer))
    np.testing.assert_allclose(found[kept], rows[kept], atol=1e-12)
    np.testing.assert_allclose(incoming(wide, layer)[~kept], 0.0, atol=1e-14)
