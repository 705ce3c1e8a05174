"""Of a family of critical points the member that is nearest to where the search began."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import critical_point
from saddlescope.analysis.critical_points.nearest_member import nearest_member
from saddlescope.analysis.embeddings.embedding import Embedding
from saddlescope.analysis.embeddings.narrow_landscape import narrow_landscape
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, linear

MODEL = TwoLayer(Dense(linear, inputs=1, outputs=1), width=1, scale=1.0, key=jax.random.key(0))
ONE = np.ones((1, 1))


def hyperbola(u, v):
    """½(uv − 1)²: the critical points are the origin and the orbit uv = 1 of the rescaling (cu, v/c)."""
    model = eqx.tree_at(lambda m: m.parameters, MODEL, (jnp.array([[u]]), jnp.array([[v]])))
    identity = np.eye(1)
    landscape = Landscape(model, half_squared_error, (ONE, ONE))
    return narrow_landscape(landscape, Embedding(narrow=model, maps=((identity, identity, 0),)))


def foot(u, v):
    """The nearest point of the hyperbola's branch: (w − u) = (1/w − v)/w²."""
    roots = np.roots([1.0, -u, 0.0, v, -1.0])
    roots = np.real(roots[(np.abs(np.imag(roots)) < 1e-9) & (np.real(roots) > 0)])
    points = np.stack([roots, 1 / roots], axis=1)
    return points[np.argmin(np.linalg.norm(points - [u, v], axis=1))]


@pytest.mark.parametrize("start", [(2.0, 0.6), (0.9, 1.3), (1.0, 1.0), (6.0, 0.1)])
@pytest.mark.parametrize("factor", [0.02, 0.7, 1.0, 30.0])
def test_an_orbit_is_followed_to_its_nearest_member(start, factor):
    found = nearest_member(hyperbola(*start), np.array([factor, 1 / factor]))
    np.testing.assert_allclose(found, foot(*start), rtol=1e-5)
    assert found[0] * found[1] == pytest.approx(1.0, rel=1e-14)


def test_a_point_that_is_alone_stays():
    """The origin is a strict saddle, on no orbit."""
    np.testing.assert_array_equal(nearest_member(hyperbola(0.2, 0.1), np.zeros(2)), np.zeros(2))


def test_a_critical_point_is_the_nearest_of_its_orbit():
    point = critical_point(Landscape(hyperbola(1.7, 0.8).model, half_squared_error, (ONE, ONE)))
    np.testing.assert_allclose(point.theta, foot(1.7, 0.8), rtol=1e-5)
