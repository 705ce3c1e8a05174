"""Symmetries of units, and null spaces of Hessians that they explain."""

from itertools import combinations

import jax
import numpy as np
import pytest
from saddlescope.analysis import embed, null_space, reduce, spectrum, symmetry_directions
from saddlescope.analysis.critical_points.descent import descend_to_critical_point
from saddlescope.analysis.critical_points.refine import solve_gradient
from saddlescope.analysis.symmetries.symmetry import unit_symmetries
from saddlescope.flows import Landscape, flatten, half_squared_error, unflatten
from saddlescope.models import Dense, TwoLayer, incoming, linear, outgoing, tanh
from saddlescope.models.initialisation import normal_array, split_key
from saddlescope.models.units import with_units

from architectures import outputs, problem

# Dimension of a unit's algebra: a rescaling for each pair of homogeneous slots; for attention GL(rank), and one.
ALGEBRAS = {
    "linear": 1,
    "relu": 1,
    "quadratic": 1,
    "tanh": 0,
    "sine": 0,
    "linear-conv": 1,
    "relu-conv": 1,
    "attention": 2,
    "attention-rank-2": 5,
    "foreign": 0,
}


@pytest.mark.parametrize("name", ALGEBRAS)
def test_symmetries_of_a_unit(name):
    model, data = problem(name)
    assert len(unit_symmetries(model, data)) == ALGEBRAS[name]


@pytest.mark.parametrize("name", ALGEBRAS)
def test_symmetry_directions_change_no_output(name):
    model, (x, y) = problem(name)
    directions = symmetry_directions(model, (x, y))
    jacobian = jax.jit(jax.jacfwd(lambda theta: outputs(unflatten(model, theta), x)))(flatten(model))
    for direction in directions:
        assert np.max(np.abs(np.asarray(jacobian) @ direction)) < 1e-12 * np.linalg.norm(direction)


def linear_point(strengths, learned, width, inputs, outputs):
    """The critical point of a two-layer linear network on white data that has the given modes."""
    target = np.zeros((outputs, inputs))
    target[np.arange(len(strengths)), np.arange(len(strengths))] = strengths
    x = np.sqrt(inputs) * np.eye(inputs)
    u, v = np.zeros((width, inputs)), np.zeros((width, outputs))
    for row, k in enumerate(learned):
        u[row, k] = v[row, k] = np.sqrt(strengths[k])
    model = TwoLayer(Dense(linear, inputs=inputs, outputs=outputs), width=width, scale=1.0, key=jax.random.key(0))
    # Any point of the orbit: units mixed by a matrix that is not orthogonal.
    mixing = np.eye(width) + 0.3 * np.random.default_rng(0).standard_normal((width, width))
    return with_units(model, mixing @ u, np.linalg.inv(mixing).T @ v), (x, x @ target.T)


@pytest.mark.parametrize(("inputs", "outputs", "rank"), [(3, 3, 3), (4, 3, 3), (3, 2, 2), (4, 4, 2)])
@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.fast_for("0-3-2-2", "0-4-3-3", "0-4-4-2", "2-3-2-2")
def test_null_spaces_of_linear_networks(inputs, outputs, rank, extra):
    r"""Symmetry explains all of it for square targets of full rank; else all but $(H - r)(N_u + N_v - 2\rho)$.

    These mix one side of units that the other side does not have.
    """
    strengths, width = [4.0, 2.0, 1.0][:rank], rank + extra
    for r in range(rank + 1):
        for learned in combinations(range(rank), r):
            model, data = linear_point(strengths, learned, width, inputs, outputs)
            spectral = spectrum(Landscape(model, half_squared_error, data))
            found = null_space(spectral, model, data)
            assert found.nullity == r**2 + (width - r) * (inputs + outputs - 2 * (rank - r))
            assert found.symmetry == 2 * width * r - r**2
            assert found.free == found.directions.shape[1] == (width - r) * (inputs + outputs - 2 * rank)
            assert found.unexplained == 0
            # What is left is in the null space, and orthogonal to what is explained.
            assert np.all(np.abs(spectral.eigenvectors.T @ found.directions)[spectral.eigenvalues > 1e-3] < 1e-6)


def test_split_units_have_flat_families():
    """A tanh unit in three copies: two ways to shift its output, and nothing else but what the narrow point has."""
    keys = split_key(jax.random.key(1), 3)
    x = np.asarray(normal_array(keys[0], (40, 3)))
    teacher = TwoLayer(Dense(tanh, inputs=3, outputs=1), width=3, scale=1.0, key=keys[1])
    y = np.tanh(x @ incoming(teacher).T) @ outgoing(teacher) + 0.1 * np.asarray(normal_array(keys[2], (40, 1)))
    start = Landscape(
        TwoLayer(Dense(tanh, inputs=3, outputs=1), width=2, scale=0.5, key=keys[2]), half_squared_error, (x, y)
    )
    theta = solve_gradient(start, descend_to_critical_point(start, start.theta))
    assert np.max(np.abs(start.gradient(theta))) < 1e-12
    embedding = embed(start.at(theta), "i", gamma_v=[0.3, 0.5])
    wide = embedding.wide()
    spectral = spectrum(Landscape(wide, half_squared_error, (x, y)))
    found = null_space(spectral, wide, (x, y), embedding)
    assert (found.nullity, found.symmetry, found.families, found.unexplained) == (2, 0, 2, 0)
    assert "2 along the embedding's family" in str(found)
    # Without the embedding nothing is known of them.
    assert null_space(spectral, wide, (x, y)).unexplained == 2


def test_reduced_points_know_their_families():
    model, data = problem("tanh", 3)
    wide = embed(model, "i", gamma_v=0.5).wide()
    embedding = reduce(wide)
    assert sorted(np.count_nonzero(embedding.p_in, axis=0)) == [1, 1, 1, 2]
    np.testing.assert_allclose(outputs(embedding.wide(), data[0]), outputs(model, data[0]), atol=1e-12)
