"""Which critical points are one node of a saddle graph: equal losses to a millionth, equal maps to a thousandth."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.critical_points.critical_point import CriticalPoint
from saddlescope.analysis.critical_points.kind import Kind
from saddlescope.analysis.curvature.spectrum import Spectrum
from saddlescope.analysis.orbits.saddle_graph import SaddleGraph
from saddlescope.flows import Landscape, half_squared_error

from architectures import problem


def point_on(landscape):
    """The landscape's weights as a critical point of loss 2."""
    return CriticalPoint(
        landscape=landscape,
        theta=landscape.theta,
        loss=2.0,
        gradient_norm=0.0,
        distance=0.0,
        converged=True,
        refined=True,
        embedding=None,
        start=landscape.theta,
    )


@pytest.mark.parametrize(
    ("map_change", "loss_change", "same"),
    [(0.0, 0.0, True), (1e-4, 1e-8, True), (1e-2, 0.0, False), (1e-4, 1e-5, False), (0.0, 1e-5, False)],
)
def test_a_node_is_a_map_at_a_loss(map_change, loss_change, same):
    """Of a linear network every output is proportional to its outgoing weights."""
    landscape = Landscape(*(problem("linear").model, half_squared_error, problem("linear").data))
    theta, kind = landscape.theta, Kind(name="undetermined", evidence="by hand")
    point = point_on(landscape)
    graph = SaddleGraph(points=(point,), kinds=(kind,), connections=(), taken=(), complete=True)
    model = landscape.model
    moved = eqx.tree_at(lambda m: m.v, model, model.v * (1 + map_change))
    other = eqx.tree_at(
        lambda p: (p.theta, p.loss),
        point,
        (Landscape(moved, half_squared_error, landscape.data).theta, 2.0 + 2 * loss_change),
    )
    assert graph.node(other, kind) == (0 if same else None)
    # Zero units count by their map, too, and a map of zero is not any other.
    nothing = eqx.tree_at(lambda p: p.theta, point, np.zeros_like(theta))
    assert graph.node(nothing, kind) is None


@pytest.mark.parametrize(("change", "same"), [(0.0, True), (1e-7, True), (1e-3, False)])
def test_a_node_without_a_map_is_a_spectrum_at_a_loss(change, same):
    point = point_on(Landscape(problem("linear").model, lambda model, data: jnp.sum(model.v**2), None))

    def kind(largest):
        return Kind("strict saddle", evidence="by hand", spectrum=Spectrum(np.array([-1.0, largest]), np.eye(2), 1e-9))

    graph = SaddleGraph(points=(point,), kinds=(kind(2.0),), connections=(), taken=(), complete=True)
    assert graph.node(point, kind(2.0 + 2 * change)) == (0 if same else None)
