"""Which critical points are one node of a saddle graph: equal losses to a millionth, equal maps to a thousandth."""

import equinox as eqx
import numpy as np
import pytest
from saddlescope.analysis.critical_points.critical_point import CriticalPoint
from saddlescope.analysis.critical_points.kind import Kind
from saddlescope.analysis.orbits.saddle_graph import SaddleGraph
from saddlescope.flows import Landscape, half_squared_error

from architectures import problem


@pytest.mark.parametrize(
    ("map_change", "loss_change", "same"),
    [(0.0, 0.0, True), (1e-4, 1e-8, True), (1e-2, 0.0, False), (1e-4, 1e-5, False), (0.0, 1e-5, False)],
)
def test_a_node_is_a_map_at_a_loss(map_change, loss_change, same):
    """Of a linear network every output is proportional to its outgoing weights."""
    landscape = Landscape(*(problem("linear").model, half_squared_error, problem("linear").data))
    theta, kind = landscape.theta, Kind(name="undetermined", evidence="by hand")
    point = CriticalPoint(
        landscape=landscape,
        theta=theta,
        loss=2.0,
        gradient_norm=0.0,
        distance=0.0,
        converged=True,
        refined=True,
        embedding=None,
        start=theta,
    )
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
