"""Mixings of parameters that change no output: counted, confirmed by the outputs' Jacobian, and as null directions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.numerical_rank import numerical_rank
from saddlescope.analysis.symmetries.mixing import mixings, orbit_dimension
from saddlescope.flows import flatten, unflatten
from saddlescope.models import AttentionOnly, with_units_found

X, Y = np.random.default_rng(0).standard_normal((9, 4, 3)), np.zeros((9, 2))


def transformer():
    key = jax.random.key(0)
    return AttentionOnly(width=3, heads=2, rank=2, layers=2, disentangled=True, outputs=2, scale=1.0, key=key)


def perceptron(activation, depth):
    return eqx.nn.MLP(
        3, 2, 4, depth, activation=activation, use_bias=False, use_final_bias=False, key=jax.random.key(1)
    )


# Of each head the rows of queries and keys and those of values and outputs, GL(2) each, in two layers, and GL(3) of the
# three entries that the first layer appends to tokens and the second one reads; a factor for
# each of eight ReLU units; GL(4) for each of two layers of four linear ones, each of which acts freely: U has rank 3 or
# 4, V 4 or 2.
CASES = {
    "attention": (transformer, X, 2 * 2 * 2 * 4 + 9),
    "relu": (lambda: perceptron(jax.nn.relu, 2), X[:, 0], 8),
    "linear": (lambda: perceptron(lambda z: z, 2), X[:, 0], None),
}


@pytest.mark.parametrize("name", CASES)
def test_no_mixing_changes_the_outputs_and_the_dimension_is_the_rank(name):
    make, x, expected = CASES[name]
    model, data = with_units_found(make(), (x, Y)), (x, Y)
    theta = flatten(model)
    tangents = np.concatenate([mixing.tangents(theta) for mixing in mixings(model, data)])
    jacobian = jax.jit(jax.jacobian(lambda point: jax.vmap(unflatten(model, point))(jnp.asarray(x))))(theta)
    assert np.max(np.abs(np.tensordot(np.asarray(jacobian), tangents, axes=(-1, 1)))) < 1e-12
    rank = numerical_rank(np.linalg.svd(tangents, compute_uv=False), 1e-9)
    assert orbit_dimension(model, data) == rank and rank == (rank if expected is None else expected)
    # Where everything vanishes orbits are points, and with a bound on their lengths the longest count only.
    zero = unflatten(model, np.zeros(theta.size))
    assert orbit_dimension(zero, data) == 0 < orbit_dimension(model, data, least=0.5) <= rank
    assert orbit_dimension(model, data, least=1e3) == 0


def test_a_deep_linear_network_has_orbits_of_the_known_dimension():
    """The map has rank 2: matrices 4 × 3, 4 × 4, 2 × 4 with one product of 6 entries leave 36 − 6 directions."""
    make, x, _ = CASES["linear"]
    model = with_units_found(make(), (x, Y))
    assert orbit_dimension(model, (x, Y)) == 36 - 6
