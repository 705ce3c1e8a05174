"""Imbalance of layer norms: by hand from activations, conserved where homogeneous, of third order where odd."""

import jax
import numpy as np
import pytest
from saddlescope.analysis import conservation_audit
from saddlescope.analysis.symmetries.imbalance import layer_imbalances
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Deep, Dense, gelu, quadratic, relu, sigmoid, tanh

X = np.random.default_rng(0).standard_normal((12, 3))
Y = X @ np.array([[1.0], [-0.5], [0.3]])


def network(activation, scale=0.4):
    return Deep(Dense(activation, inputs=3, outputs=1), widths=(4, 5), scale=scale, key=jax.random.key(3))


def rates_by_hand(model, activation):
    """−⟨g · (σ(z) − z σ′(z))⟩ of both layers of units, from forward and backward sums."""
    u, v = (np.asarray(array) for array in model.parameters)
    top = np.asarray(model.connections[0])
    slope = np.vectorize(jax.grad(lambda z: activation(z)))
    z1 = X @ u.T
    z2 = np.asarray(activation(z1)) @ v
    h2 = np.asarray(activation(z2))
    error = (h2 @ top - Y) / len(X)
    g2 = error @ top.T
    g1 = (g2 * slope(z2)) @ v.T
    deficits = [np.asarray(activation(z)) - z * slope(z) for z in (z1, z2)]
    return [-np.sum(g * deficit) for g, deficit in zip((g1, g2), deficits, strict=True)]


@pytest.mark.parametrize("activation", [tanh, gelu, sigmoid])
@pytest.mark.fast_for("activation0")
def test_the_identity_of_layer_norms(activation):
    """The rate at the start is that of the activations, and the flow's change is what the identity says."""
    model = network(activation)
    settings = {"rtol": 1e-10, "reduce_data": False, "save_times": [1e-6]}
    flow = simulate(model, half_squared_error, (X, Y), t1=2.0, **settings)
    found = layer_imbalances(flow)
    first = int(np.searchsorted(flow.ts, 1e-6))
    for layer, rate in zip(found, rates_by_hand(model, activation), strict=True):
        assert layer.predicted[first] / 1e-6 == pytest.approx(rate, rel=1e-5)
        assert layer.change > 1e-5 and layer.error < 1e-5 * layer.change, str(layer)
        assert "not conserved" in str(layer)


@pytest.mark.parametrize(("activation", "degree"), [(relu, 1), (quadratic, 2)])
def test_homogeneous_layers_conserve_it(activation, degree):
    flow = simulate(network(activation), half_squared_error, (X, Y), t1=0.5, rtol=1e-9, reduce_data=False)
    for layer in layer_imbalances(flow):
        assert layer.degree == degree and layer.change < 1e-7 and f"conserved for degree {degree}" in str(layer)


@pytest.mark.slow
def test_odd_activations_are_more_nearly_balanced():
    """g·D is of the order of ε^(L−1) · ε^k for k = 3 (odd) and 2 (others): between two scales, at the start."""
    orders = []
    for activation in (tanh, gelu):
        rates = [abs(rates_by_hand(network(activation, scale), activation)[0]) for scale in (1e-2, 1e-3)]
        orders.append(np.log10(rates[0] / rates[1]))
    np.testing.assert_allclose(orders, [2 + 3, 2 + 2], atol=0.05)


def test_the_audit_tells():
    flow = simulate(network(tanh), half_squared_error, (X, Y), t1=1.0, rtol=1e-8, reduce_data=False)
    audit = conservation_audit(flow)
    assert [layer.layer for layer in audit.imbalances] == ["layer 1", "layer 2"]
    assert "layer 2: imbalance not conserved: changed by" in str(audit)
