"""Orbits start at a distance from their saddle that is relative to the weights at full use, and follow a known flow."""

import numpy as np
import pytest
from saddlescope.analysis import critical_point, escape_directions, follow, saddle_graph, unstable_manifold

from exact_flows import leaving
from separable import rotation, separable, well

RATE, SEED = 2.0, 1


@pytest.fixture(scope="module")
def saddle():
    """The maximum of a double well, stable in the other two directions."""
    point = critical_point(separable(well(RATE), seed=SEED))
    assert point.converged
    return point


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 0.02])
def test_flows_on_the_unstable_manifold_start_a_thousandth_away(saddle, size):
    times = np.linspace(0, 6, 13)
    sample = unstable_manifold(saddle, times, count=4, size=size, rtol=1e-10)
    axis = rotation(SEED)[0]
    along, expected = sample.paths @ axis, leaving(times, 1e-3 * size, RATE)
    np.testing.assert_allclose(np.abs(along), np.tile(expected, (4, 1)), rtol=1e-6)
    np.testing.assert_allclose(sample.paths, along[..., None] * axis, atol=1e-9)
    np.testing.assert_allclose(sample.losses, RATE * (along**2 - 1) ** 2 / 4, atol=1e-12)


@pytest.mark.parametrize("size", [1.0, 0.02])
def test_connections_start_a_thousandth_away_and_take_as_long_as_growth_does(saddle, size):
    directions = escape_directions(saddle)
    np.testing.assert_allclose(sorted(d.direction @ rotation(SEED)[0] for d in directions), [-1, 1])
    connection = follow(directions[0], size=size)
    assert np.linalg.norm(connection.path[0] - saddle.theta) == pytest.approx(1e-3 * size, rel=1e-9)
    away = np.linalg.norm(connection.path - saddle.theta, axis=1)
    np.testing.assert_allclose(away, leaving(connection.times, 1e-3 * size, RATE), atol=1e-7)
    assert connection.end.converged and connection.end.distance < 1e-3 and connection.end.loss < 1e-12
    assert connection.arc_length == pytest.approx(1.0 - 1e-3 * size, abs=1e-3)
    assert connection.rate == pytest.approx(RATE) and connection.order == 2 and connection.leak == 0.0


def test_a_graph_is_complete_if_every_orbit_led_to_a_node(saddle):
    """Both wells are one node, having one spectrum; where no node may be added, orbits lead to none."""
    graph = saddle_graph(saddle.landscape)
    assert [kind.name for kind in graph.kinds] == ["strict saddle", "minimum"]
    assert graph.complete and [(edge.source, edge.target) for edge in graph.connections] == [(0, 1)]
    assert "incomplete" not in str(graph)
    alone = saddle_graph(saddle.landscape, max_nodes=1)
    assert len(alone.points) == 1 and not alone.connections and not alone.complete
    assert "incomplete" in str(alone)
