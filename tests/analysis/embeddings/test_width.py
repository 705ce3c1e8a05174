"""Effective width by type, with its gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import effective_width
from saddlescope.models import Dense, LinearAttention, TwoLayer, linear, quadratic, relu
from saddlescope.models.units import unit_vectors, with_units


def build(activation, theta, inputs=3):
    theta = jnp.asarray(theta)
    outputs = theta.shape[1] - inputs
    model = TwoLayer(
        Dense(activation, inputs=inputs, outputs=outputs), width=len(theta), scale=1.0, key=jax.random.key(0)
    )
    return with_units(model, theta[:, :inputs], theta[:, inputs:])


@given(seed=st.integers(0, 10**6), rank=st.integers(1, 4))
def test_linear_units_count_by_rank(seed, rank):
    random = np.random.default_rng(seed)
    left, right = np.linalg.qr(random.standard_normal((9, rank)))[0], np.linalg.qr(random.standard_normal((5, rank)))[0]
    theta = left @ np.diag(1 + random.uniform(size=rank)) @ right.T
    found = effective_width(build(linear, theta + 1e-6 * random.standard_normal((9, 5))))
    assert (found.width, found.embedding, found.clear) == (rank, "iv", True)
    assert 1e4 < found.gap < 1e7


@given(seed=st.integers(0, 10**6), rays=st.integers(1, 4))
def test_relu_units_count_by_rays(seed, rays):
    """A unit on the opposite side of a ray is a ray of its own."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.standard_normal((5, 5)))[0][:rays]
    directions = np.vstack([directions, -directions[:1]])
    owner = np.concatenate([np.arange(rays + 1), random.integers(0, rays + 1, 6)])
    theta = random.uniform(0.5, 1.5, len(owner))[:, None] * directions[owner]
    theta = np.vstack([theta, 1e-6 * random.standard_normal((4, 5))])
    found = effective_width(build(relu, theta))
    assert (found.width, found.embedding, found.clear) == (rays + 1, "iii", True)
    assert np.all(found.groups[-4:] == -1)
    for i in range(len(owner)):
        for j in range(len(owner)):
            assert (found.groups[i] == found.groups[j]) == (owner[i] == owner[j])


def test_quadratic_units_count_by_size_and_copies_once():
    theta = np.array([[1.0, 0, 0, 1], [2, 0, 0, 2], [1, 0, 0, 1], [1e-5, 0, 0, 0], [0, 0, 0, 0]])
    found = effective_width(build(quadratic, theta))
    assert (found.width, found.embedding) == (2, "ii")  # proportional units are different units here
    assert found.groups[0] == found.groups[2] != found.groups[1]


def test_small_is_small_in_the_map():
    """A head of a fifth of the size has a share of 0.008 in the map (degree 3), under one per cent; a ReLU's 0.04."""
    attention = TwoLayer(LinearAttention(inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    u = jnp.array([[1.0, 0, 1, 0], [0, 0.2, 0, 0.2]])
    assert effective_width(with_units(attention, u, jnp.array([[1.0], [0.2]]))).width == 1
    assert effective_width(build(relu, [[1, 0, 0, 1.0], [0, 0.2, 0, 0.2]])).width == 2


def test_scale_decides_about_the_origin():
    model = TwoLayer(Dense(linear, inputs=3, outputs=2), width=10, scale=1e-6, key=jax.random.key(0))
    assert effective_width(model).width > 0
    at_full_use = effective_width(model, scale=1.0)
    assert at_full_use.width == 0
    assert at_full_use.gap == pytest.approx(1 / np.linalg.norm(np.asarray(unit_vectors(model)), 2))
    assert effective_width(with_units(model, 0 * model.u, 0 * model.v)).width == 0


def test_an_unclear_width_says_so():
    found = effective_width(build(linear, np.diag([1.0, 0.3, 0.09, 0.05])))
    assert found.width == 2 and not found.clear
    assert found.gap == pytest.approx(0.3 / 0.09)
    assert "unclear" in str(found)
