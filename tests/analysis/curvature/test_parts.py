"""Gauss–Newton and residual parts, blocks and inertia against the dense Hessian and its eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import hessian, hessian_block, inertia, spectrum
from saddlescope.analysis.curvature.parts import hessian_products, leaf_positions
from saddlescope.flows import Landscape, flatten, half_squared_error, unflatten
from saddlescope.flows.landscapes.unit_positions import unit_positions
from saddlescope.flows.losses.statistics import reduced_data
from saddlescope.models.units import unit_vectors

from architectures import outputs, problem
from embedding_cases import quartic

SMOOTH = ["linear", "tanh", "attention", "foreign"]


def parts(model, loss, data):
    """Dense parts from products with every unit vector."""
    identity = np.eye(flatten(model).size)
    return [
        hessian_products(Landscape(model, loss, data), part)(identity) for part in ("whole", "gauss-newton", "residual")
    ]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.fast_for("linear", "tanh")
def test_gauss_newton_of_a_squared_error_is_the_product_of_jacobians(name):
    model, data = problem(name)
    jacobian = jax.jit(jax.jacfwd(lambda theta: jax.vmap(unflatten(model, theta))(data[0]).ravel()))(flatten(model))
    whole, first, second = parts(model, half_squared_error, data)
    np.testing.assert_allclose(first, jacobian.T @ jacobian / len(data[1]), atol=1e-12)
    np.testing.assert_allclose(whole, hessian(Landscape(model, half_squared_error, data)), atol=1e-11)
    np.testing.assert_allclose(first + second, whole, atol=1e-12)
    # What is left is linear in the residuals: it vanishes where these do.
    fitted = data[0], outputs(model, data[0])
    np.testing.assert_allclose(parts(model, half_squared_error, fitted)[2], 0.0, atol=1e-12)


def test_parts_of_another_loss_and_of_statistics():
    model, data = problem("tanh")
    whole, first, second = parts(model, quartic, data)
    np.testing.assert_allclose(first + second, whole, atol=1e-12)
    assert np.linalg.eigvalsh(first)[0] > -1e-10 and np.abs(second).max() > 1e-3
    model, data = problem("attention")
    loss, statistics = reduced_data(model, half_squared_error, data)
    assert loss is not half_squared_error
    for one, other in zip(parts(model, loss, statistics), parts(model, half_squared_error, data), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_losses_of_more_than_the_outputs_have_no_gauss_newton_part():
    model, data = problem("tanh")
    with pytest.raises(ValueError, match="a loss of the model's outputs alone"):
        hessian_products(Landscape(model, lambda m, d: jnp.sum(m.parameters[0] ** 2), data), "gauss-newton")(np.eye(16))


@pytest.mark.parametrize("name", SMOOTH)
def test_blocks_are_blocks_of_the_dense_hessian(name):
    model, data = problem(name)
    dense = hessian(Landscape(model, half_squared_error, data))
    for positions in (unit_positions(model)[1], *leaf_positions(model).values()):
        block = hessian_block(Landscape(model, half_squared_error, data), positions)
        np.testing.assert_allclose(block, dense[np.ix_(positions, positions)], atol=1e-12)


def test_positions_point_at_the_parameters():
    model, _ = problem("foreign")
    theta = np.asarray(flatten(model))
    np.testing.assert_array_equal(theta[unit_positions(model)], unit_vectors(model))
    where = leaf_positions(model)
    assert list(where) == [".hidden.weight", ".hidden.bias", ".readout.weight", ".readout.bias"]
    np.testing.assert_array_equal(theta[where[".readout.weight"]], model.readout.weight.ravel())
    assert sum(len(positions) for positions in where.values()) == len(theta)


@given(seed=st.integers(0, 10**6), signs=st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=12))
def test_inertia_is_what_a_congruence_was_made_of(seed, signs):
    """Any congruence of a diagonal of known signs; eigenvalues never enter."""
    random = np.random.default_rng(seed)
    size = len(signs)
    basis = np.linalg.qr(random.standard_normal((size, size)))[0] * random.uniform(0.5, 2, size)
    matrix = basis @ np.diag(np.array(signs) * random.uniform(0.5, 2, size)) @ basis.T
    found = inertia((matrix + matrix.T) / 2, 1e-8)
    assert (found.negative, found.zero, found.positive) == (signs.count(-1), signs.count(0), signs.count(1))
    counts = f"{signs.count(-1)} negative, {signs.count(0)} zero, {signs.count(1)} positive"
    assert str(found) == f"inertia: {counts} eigenvalues"


@pytest.mark.parametrize("name", ["linear", "attention"])
def test_inertia_agrees_with_eigenvalues(name):
    model, data = problem(name)
    landscape = Landscape(model, half_squared_error, data)
    for theta in (landscape.theta, 0 * landscape.theta):
        values = spectrum(landscape, theta)
        found = inertia(hessian(landscape, theta), max(values.zero_threshold, 1e-8))
        assert (found.negative, found.zero) == (values.index, values.nullity)


def test_inertia_needs_a_threshold():
    with pytest.raises(ValueError, match="must be positive"):
        inertia(np.eye(2), 0.0)
