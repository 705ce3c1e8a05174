"""Queries and keys enter through their product: rows of little effect are dropped, on an invariant manifold."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.embeddings.products import reduce_products, spare_product_rows
from saddlescope.analysis.embeddings.width import effective_width
from saddlescope.flows import Landscape, flatten, mean_squared_error, unflatten
from saddlescope.models import Dense, SoftmaxAttention, TwoLayer, linear
from saddlescope.models.initialisation import normal_array

HEADS, RANK = 2, 3


@pytest.fixture(scope="module")
def network():
    """Two heads of softmax attention."""
    return TwoLayer(SoftmaxAttention(inputs=2, rank=RANK), width=HEADS, scale=1.0, key=jax.random.key(0))


@pytest.fixture(scope="module")
def data():
    return normal_array(jax.random.key(1), (20, 4, 3)), normal_array(jax.random.key(2), (20, 1))


def with_sizes(model, sizes):
    """The model with given singular values of [A B] in every head."""
    (a, b), *_ = model.units.products
    arrays = [np.asarray(slot.where(model)) for slot in (a, b)]
    new = [np.empty_like(array) for array in arrays]
    for head in range(HEADS):
        left, _, right = np.linalg.svd(np.concatenate([array[head] for array in arrays], axis=1), full_matrices=False)
        rows = left @ np.diag(sizes) @ right
        new[0][head], new[1][head] = np.split(rows, [arrays[0].shape[-1]], axis=1)
    for slot, array in zip((a, b), new, strict=True):
        model = eqx.tree_at(slot.where, model, jnp.asarray(array))
    return model


def singular_values(model):
    (a, b), *_ = model.units.products
    rows = np.concatenate([np.asarray(slot.where(model)) for slot in (a, b)], axis=2)
    return np.linalg.svd(rows, compute_uv=False)


@pytest.mark.parametrize(
    ("sizes", "rank"),
    [
        ((1.0, 0.7, 1e-5), 2),
        ((1.0, 1e-5, 1e-6), 1),
        ((1e-5, 1e-6, 1e-7), 0),
        # One is below the threshold, but a factor of five is no gap.
        ((1.0, 0.04, 0.008), 3),
        ((1.0, 0.7, 0.4), 3),
    ],
)
def test_rows_below_the_threshold_are_dropped_where_it_is_clear(network, sizes, rank):
    model = with_sizes(network, sizes)
    effective = effective_width(model, scale=1.0)
    assert effective.threshold == pytest.approx(0.01)
    reduced = reduce_products(model, [effective])
    kept = np.where(np.arange(RANK) < rank, sizes, 0.0)
    np.testing.assert_allclose(singular_values(reduced), np.tile(kept, (HEADS, 1)), atol=1e-15)
    # The nearest such model: what is dropped is all that changes.
    assert np.linalg.norm(flatten(reduced) - flatten(model)) == pytest.approx(
        np.sqrt(HEADS) * np.linalg.norm(sizes[rank:]), abs=1e-15
    )


def test_no_gradient_brings_dropped_rows_back(network, data):
    """They are orthogonal to those that are kept, in the parameters and in the gradient, of any loss."""
    model = with_sizes(network, (1.0, 0.7, 1e-5))
    reduced = reduce_products(model, [effective_width(model, scale=1.0)])
    landscape = Landscape(reduced, mean_squared_error, data)
    gradient = unflatten(reduced, landscape.gradient(flatten(reduced)))
    (a, b), *_ = reduced.units.products
    for head in range(HEADS):
        rows, slopes = (
            np.concatenate([np.asarray(slot.where(part))[head] for slot in (a, b)], axis=1)
            for part in (reduced, gradient)
        )
        dropped = np.linalg.svd(rows)[0][:, 2:]
        assert np.max(np.abs(slopes)) > 1e-3
        np.testing.assert_allclose(dropped.T @ slopes, 0, atol=1e-15)


def test_units_without_products_are_left_alone():
    model = TwoLayer(Dense(linear, inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    assert reduce_products(model, [effective_width(model)]) is model


def test_spare_rows_are_those_that_are_zero_in_both(network):
    """Orthonormal, one row of A and of B for each head, and what the rows in use hold stays."""
    model = reduce_products(with_sizes(network, (1.0, 0.7, 0.0)), [effective_width(network, scale=1.0)])
    theta = flatten(model)
    rows = spare_product_rows(model, np.zeros(0, int)).toarray()
    assert rows.shape == (theta.size, HEADS * 2 * 3)
    np.testing.assert_allclose(rows.T @ rows, np.eye(rows.shape[1]), atol=1e-14)
    direction = np.random.default_rng(0).standard_normal(rows.shape[1])
    moved = unflatten(model, theta + 0.1 * rows @ direction)
    sizes = [0.1 * np.linalg.norm(part) for part in np.split(direction, HEADS)]
    (a, b), *_ = model.units.products
    for head in range(HEADS):
        old, new = (
            np.concatenate([np.asarray(slot.where(part))[head] for slot in (a, b)], axis=1) for part in (model, moved)
        )
        used = np.linalg.svd(old)[0][:, :2]
        np.testing.assert_allclose(used.T @ new, used.T @ old, atol=1e-14)
        assert np.linalg.norm(new - old) == pytest.approx(sizes[head], rel=1e-12)
    # None where all rows are in use, nor of units that are left out.
    assert spare_product_rows(network, np.zeros(0, int)).shape[1] == 0
    assert spare_product_rows(model, np.arange(theta.size)).shape[1] == 0
