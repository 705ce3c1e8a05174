"""What architectures and models declare of their units holds of their values: laws, degrees, products, features."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.models import SkipConnected
from saddlescope.models.features import features_of
from saddlescope.models.units import incoming, layers_of, outgoing, with_units

from architectures import MODELS, each_layer, names, normal, outputs, problem


def output_of(name, layer, u, v):
    """The outputs with other units in a layer."""
    model, (x, _) = problem(name)
    return np.asarray(outputs(with_units(model, u, v, layer), x))


def has_own_output(name, layer):
    """Whether the output is that of zero units plus the sum over the layer's units, linear in v."""
    model = problem(name).model
    return layer == len(layers_of(model)) - 1 and not isinstance(model, SkipConnected)


CASES = [case for case in each_layer() if has_own_output(*case.values)]


def of_units(name, layer, u, v):
    """The sum over a last layer's units: the output less what remains without them."""
    return output_of(name, layer, u, v) - output_of(name, layer, u, np.zeros_like(v))


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_the_sum_is_linear_in_v_and_symmetric_in_the_units(name, layer):
    model = problem(name).model
    u, v = (np.asarray(rows(model, layer)) for rows in (incoming, outgoing))
    w = np.asarray(normal(1, *v.shape))
    parts = of_units(name, layer, u, v), of_units(name, layer, u, w)
    np.testing.assert_allclose(of_units(name, layer, u, 2 * v - 3 * w), 2 * parts[0] - 3 * parts[1], atol=1e-12)
    np.testing.assert_allclose(of_units(name, layer, u[::-1], v[::-1]), parts[0], atol=1e-13)


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_the_law_holds(name, layer):
    """φ(z; 0) = 0, φ(z; αu) = αᵖ φ(z; u), φ(z; u + w) = φ(z; u) + φ(z; w), φ(z; hu) = O(hᵖ) and not less."""
    model = problem(name).model
    law = layers_of(model)[layer].law
    u, v = (np.asarray(rows(model, layer)) for rows in (incoming, outgoing))
    here = of_units(name, layer, u, v)
    at_zero = of_units(name, layer, 0 * u, v)
    assert (np.max(np.abs(at_zero)) < 1e-15) == law.zero
    for factor in (0.3, 2.0, -1.5):
        equal = np.allclose(of_units(name, layer, factor * u, v), factor ** (law.degree or 1) * here, atol=1e-12)
        assert equal == (law.degree is not None and (factor > 0 or law.field == "real"))
    w = np.asarray(normal(2, *u.shape))
    added = of_units(name, layer, u + w, v), here + of_units(name, layer, w, v)
    assert np.allclose(*added, atol=1e-12) == law.linear
    small, smaller = (np.max(np.abs(of_units(name, layer, h * u, v))) for h in (2e-3, 1e-3))
    assert np.log2(small / smaller) == pytest.approx(law.order, abs=0.02)


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_each_array_has_the_declared_degree_of_homogeneity(name, layer):
    """Of all units at once: the output less the one without the array scales as the degree says."""
    model, (x, _) = problem(name)
    units = layers_of(model)[layer]
    for slot in [slot for slot in (*units.incoming, *units.outgoing) if slot.degree is not None]:
        multiples = [eqx.tree_at(slot.where, model, factor * slot.where(model)) for factor in (0.0, 1.0, 2.0)]
        zero, one, two = (np.asarray(outputs(each, x)) for each in multiples)
        np.testing.assert_allclose(two - zero, 2.0**slot.degree * (one - zero), rtol=1e-11, atol=1e-12)


PRODUCTS = [name for name in MODELS if any(units.products for units in layers_of(problem(name).model))]


@pytest.mark.parametrize("name", [case for case in names() if case.values[0] in PRODUCTS])
def test_pairs_enter_through_their_product(name):
    """A → MA, B → M⁻ᵀB leaves AᵀB and the network as they were."""
    model, (x, _) = problem(name)
    (a, b), *_ = layers_of(model)[0].products
    rank = a.where(model).shape[1]
    m = np.asarray(normal(3, rank, rank))
    moved = eqx.tree_at(a.where, model, jnp.einsum("rs,hsi->hri", m, a.where(model)))
    moved = eqx.tree_at(b.where, moved, jnp.einsum("sr,hsi->hri", np.linalg.inv(m), b.where(model)))
    np.testing.assert_allclose(outputs(moved, x), outputs(model, x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in MODELS if features_of(problem(name).model)])
def test_features_and_coefficients_make_the_output(name):
    model, (x, _) = problem(name)
    features = features_of(model)
    z = outputs(features.of_input, x)
    np.testing.assert_allclose(z @ features.coefficients(model).T, outputs(model, x), rtol=1e-11, atol=1e-12)
