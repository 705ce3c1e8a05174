"""Laws that hold for every architecture: energy, monotone loss, conservation, invariant manifolds, reduction.

All flows of an architecture are of one shape, by one method, on one loss, so that they are compiled once. Theorem 1,
the gradient at embedded points, is in test_embedding.
"""

import warnings

import diffrax as dfx
import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saddlescope.analysis import effective_width, reduce
from saddlescope.analysis.symmetries.conservation import conserved_drift
from saddlescope.flows import Landscape, Result, mean_squared_error, simulate
from saddlescope.models import incoming, scaled
from saddlescope.models.units import layer_of, layers_of, map_units, unit_vectors

from architectures import NEW, each_layer, names, normal, outputs, problem


# Of weights of size one the higher orders make stiff flows.
@pytest.mark.parametrize("name", names(costly=NEW - {"deep-relu", "softmax-attention", "skip-1"}))
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-3, 0))
@pytest.mark.fast_for("foreign", "quadratic", "relu", "sine", "tanh")
def test_energy_loss_and_conservation(name, seed, exponent):
    model, data = problem(name, seed)
    model = smaller(model, 10**exponent)
    if "relu" in name:
        # Random data make ReLU flows slide along kinks sooner or later, of which some creep; the laws hold until then.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flow = simulate(model, mean_squared_error, data, t1=0.2, max_steps=5000)
        assert flow.result in (Result.reached_t1, Result.sliding, Result.max_steps)
    else:
        flow = explicit(model, data, 1.5)
    # At a kink the energy's integrand jumps, and each crossing leaves an error of up to some fifty tolerances of 1e-10.
    assert flow.energy_error < (1e-8 * len(flow.ts) if "relu" in name else 1e-8)
    rounding = 1e-14 * flow.losses[0]
    assert np.all(np.diff(flow.losses) <= rounding)
    drift = conserved_drift(flow)
    assert drift is None or drift <= 1e-8


def explicit(model, data, t1):
    return simulate(model, mean_squared_error, data, t1=t1, solver=dfx.Tsit5())


def smaller(model, factor):
    """Small units; a model without units is small as a whole."""
    if layers_of(model):
        return scaled(model, factor)
    return jax.tree.map(lambda leaf: factor * leaf if eqx.is_inexact_array(leaf) else leaf, model)


@eqx.filter_jit
def euler(landscape, theta, step, count):
    """The loop that researchers write."""
    return jax.lax.fori_loop(0, count, lambda _, p: p - step * landscape.gradient(p), theta)


@pytest.mark.parametrize("name", names(costly=NEW - {"deep-linear", "softmax-attention"}))
@pytest.mark.fast_for("foreign", "linear", "linear-conv", "quadratic", "tanh")
def test_agrees_with_a_tiny_euler_loop(name):
    """Euler's error is first order: halving the step and extrapolating leaves an error of the second order."""
    model, data = problem(name, 3)
    model = smaller(model, 0.3)
    with warnings.catch_warnings():
        # A ReLU flow on random data may slide along a kink before the end.
        warnings.simplefilter("error" if "relu" not in name else "ignore")
        flow = explicit(model, data, 0.5)
    t1, exact = flow.ts[-1], flow.thetas[-1]
    landscape = Landscape(model, mean_squared_error, data)
    coarse, fine = (np.asarray(euler(landscape, landscape.theta, np.array(t1 / n), np.array(n))) for n in (4000, 8000))
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
        np.testing.assert_allclose(outputs(other, data[0]), outputs(wide, data[0]), atol=1e-12)
    np.testing.assert_allclose(unit_vectors(back, layer), unit_vectors(wide, layer), atol=1e-12)


def manifold(model, layer=0):
    """P such that units PU, PV have effective width two, by the most general reduction that the law allows."""
    law, width = layer_of(model, layer).law, incoming(model, layer).shape[0]
    unit = np.arange(width)
    if law.embedding == "iv":
        return np.asarray(normal(0, width, 2)) @ np.eye(2, width)
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
    flow = explicit(start, data, 0.2)
    theta = np.asarray(unit_vectors(flow.final_model, layer))
    embedding = layer_of(model, layer).law.embedding
    if embedding == "iv":
        assert np.linalg.svd(theta, compute_uv=False)[2] < 1e-13
    elif embedding == "iii":
        np.testing.assert_allclose(theta, p[:, :2] @ theta[:2], atol=1e-13)
    else:
        np.testing.assert_array_equal(theta[0], theta[2])
        np.testing.assert_array_equal(theta, p[:, :2] @ theta[:2])
    assert not np.allclose(theta, np.asarray(unit_vectors(start, layer)), atol=1e-3)
