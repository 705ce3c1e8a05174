"""Units whose parameters are spread over several arrays."""

import jax
import numpy as np
import pytest
from saddlescope.flows import flatten
from saddlescope.flows.landscapes.unit_positions import unit_history, unit_positions
from saddlescope.models import incoming, outgoing
from saddlescope.models.units import unit_vectors, with_units

from architectures import Foreign


@pytest.fixture(scope="module")
def model():
    return Foreign(3, key=jax.random.key(0))


def test_units_of_two_arrays_are_put_back_where_they_were(model):
    """A weight matrix and a bias: the bias comes from the columns after those of the weights."""
    u, v = incoming(model), outgoing(model)
    assert u.shape == (3, 3)
    np.testing.assert_array_equal(flatten(with_units(model, u, v)), flatten(model))
    np.testing.assert_array_equal(u, np.column_stack([model.hidden.weight, model.hidden.bias]))
    doubled = with_units(model, u * np.array([1.0, 1.0, 2.0]), v)
    np.testing.assert_array_equal(doubled.hidden.bias, 2 * np.asarray(model.hidden.bias))
    np.testing.assert_array_equal(doubled.hidden.weight, model.hidden.weight)


def test_positions_are_those_of_the_unit_vectors(model):
    theta, positions = flatten(model), unit_positions(model)
    np.testing.assert_array_equal(theta[positions], unit_vectors(model))
    assert len(np.unique(positions)) == positions.size == theta.size - 2  # all except the readout's bias
    thetas = np.stack([theta, 2 * theta])
    np.testing.assert_array_equal(unit_history(model, thetas)[1], 2 * np.asarray(unit_vectors(model)))
