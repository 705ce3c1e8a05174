"""Escape where some layers are small: the form that decides, its largest value, and which layers count."""

import math

import equinox as eqx
import jax
import numpy as np
import pytest
import scipy
from saddlescope.analysis import theory
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Deep, Dense, TwoLayer, gelu, linear, quadratic, relu, sigmoid, tanh

from formula_cases import SPECTRAL, STRENGTHS, reason


def chained(blocks, layers):
    product = blocks[0]
    for layer, block in zip(layers, blocks[1:], strict=True):
        product = block @ layer @ product
    return product


def test_the_rate_is_the_largest_value_of_the_form():
    rng = np.random.default_rng(0)
    cross = rng.standard_normal((3, 4))
    blocks = [rng.standard_normal(shape) for shape in ((5, 4), (2, 3), (3, 6))]
    rate = theory.bottleneck_rate(cross, blocks)
    values = []
    for _ in range(300):
        layers = [rng.standard_normal(shape) for shape in ((3, 5), (6, 2))]
        values.append(np.sum(cross * chained(blocks, [a / np.linalg.norm(a) for a in layers])))
    assert 0.1 * rate < max(values) <= rate
    # Of rank one: from the leading direction below to that between, and from there to the one above.
    above, _, below = np.linalg.svd(blocks[2].T @ cross @ blocks[0].T)
    left, _, right = np.linalg.svd(blocks[1])
    layers = [np.outer(right[0], below[0]), np.outer(above[:, 0], left[:, 0])]
    assert np.sum(cross * chained(blocks, layers)) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_the_time_solves_its_equation(layers):
    rate, start, end = 0.7, 1e-2, 0.6
    by_quadrature = scipy.integrate.quad(lambda a: 1 / (rate * a ** (layers - 1)), start, end, epsabs=0)[0]
    assert theory.bottleneck_escape_time(rate, layers, start, end) == pytest.approx(by_quadrature, rel=1e-9)
    with pytest.raises(ValueError, match="at least two"):
        theory.bottleneck_escape_time(rate, 1, start, end)


def network(activation, small=(), scale=1e-3, depth=4):
    """A network of matrices of norm about one, those in `small` times ε."""
    widths = (3,) * (depth - 1)
    model = Deep(Dense(activation, inputs=3, outputs=3), widths=widths, scale=0.5, key=jax.random.key(1))
    factors = [scale if layer in small else 1.0 for layer in range(depth)]
    arrays = (*model.parameters, *model.connections)
    scaled = tuple(factor * array for factor, array in zip(factors, arrays, strict=True))
    return eqx.tree_at(lambda m: (m.parameters, m.connections), model, (scaled[:2], scaled[2:]))


def predicted(model, name="escape through a bottleneck"):
    return theory.predictions(Landscape(model, half_squared_error, SPECTRAL)).named(name)


@pytest.mark.parametrize("activation", [linear, relu, tanh, gelu])
def test_small_layers_are_counted_whatever_the_depth(activation):
    for small in ((0, 1), (0, 3), (0, 1, 2), (0, 1, 2, 3)):
        found = predicted(network(activation, small))
        assert (found["small_layers"], found["dwell_exponent"]) == (len(small), 2 - len(small))


def test_what_the_law_does_not_cover():
    assert "only one layer is small" in reason(predicted(network(tanh, (2,))))
    assert "quadratic is not of first order" in reason(predicted(network(quadratic, (0, 1))))
    assert "sigmoid is not of first order" in reason(predicted(network(sigmoid, (0, 1))))
    assert "a decade apart" in reason(predicted(network(tanh, (0, 1), scale=0.07)))
    two = TwoLayer(Dense(tanh, inputs=3, outputs=3), width=4, scale=1e-3, key=jax.random.key(0))
    assert "not a deep network" in reason(predicted(two))
    biased = Deep(Dense(tanh, inputs=3, outputs=3), widths=(3, 3), bias=True, scale=1e-3, key=jax.random.key(0))
    assert "biases" in reason(predicted(biased))
    assert "not small" in reason(predicted(network(tanh)))
    silent = Landscape(network(linear, (0, 1, 2, 3)), half_squared_error, (0 * SPECTRAL[0], SPECTRAL[1]))
    assert "no mode grows" in reason(theory.predictions(silent).named("escape of deep linear networks"))


def test_the_earliest_escape_of_a_linear_bottleneck():
    """Two small layers grow at c = ‖B₂ᵀ Σ B₀ᵀ‖ ‖B₁‖; of all layers small it is the largest strength."""
    model = network(linear, (1, 2))
    first, _, _, last = (np.asarray(array) for array in (*model.parameters, *model.connections))
    x, y = SPECTRAL
    cross = np.asarray(y).T @ np.asarray(x) / len(x)
    found = predicted(model, "escape of deep linear networks")
    # A matrix of `Deep` maps from rows to columns but for the first.
    assert found["slope"] == pytest.approx(1 / np.linalg.norm(last @ cross @ first.T, 2), rel=1e-9)
    small = network(linear, (0, 1, 2, 3))
    norm = math.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(small)))
    found = predicted(small, "escape of deep linear networks")
    assert found["earliest_escape"] == pytest.approx(theory.deep_escape_time(STRENGTHS[0], 4, norm), rel=1e-9)
