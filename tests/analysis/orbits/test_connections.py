"""The graph of saddles, where every node and edge is known: linear networks, and saddles without a useful Hessian."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import escape_directions, follow, itinerary, plot_saddle_graph, saddle_graph, theory
from saddlescope.flows import Landscape, half_squared_error, mean_squared_error, simulate, statistics_loss
from saddlescope.flows.losses.statistics import from_moments
from saddlescope.models import Dense, TwoLayer, linear, quadratic, relu, scaled

STRENGTHS = (4.0, 2.0, 1.0)


@pytest.fixture(scope="module")
def graph():
    """The saddle graph from the origin, with three modes and four units."""
    x = np.sqrt(3) * np.eye(3)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    data = jnp.asarray(x), jnp.asarray(x @ (rotation * np.array(STRENGTHS)) @ rotation.T)
    model = TwoLayer(Dense(linear, inputs=3, outputs=3), width=4, scale=1.0, key=jax.random.key(0))
    visits = itinerary(simulate(scaled(model, 1e-4), half_squared_error, data, t1=60.0))
    return saddle_graph(Landscape(scaled(model, 0.0), half_squared_error, data), visits=visits, size=2.0)


def modes(loss):
    """The modes that a critical point of this loss has not learned: ½ Σ s² tells them apart."""
    for r in range(4):
        for missing in combinations(range(3), r):
            if abs(loss - sum(STRENGTHS[k] ** 2 for k in missing) / 2) < 1e-9:
                return frozenset(range(3)) - frozenset(missing)
    raise AssertionError(f"{loss} is no critical value")


def test_nodes_are_the_subsets_of_modes(graph):
    assert graph.complete
    assert len(graph.points) == 8
    learned = [modes(point.loss) for point in graph.points]
    assert len(set(learned)) == 8
    for chosen, kind in zip(learned, graph.kinds, strict=True):
        others = set(range(3)) - chosen
        swaps = sum(STRENGTHS[j] > STRENGTHS[i] for i in chosen for j in others)
        assert kind.spectrum.index == (4 - len(chosen)) * (3 - len(chosen)) + swaps
        assert kind.name == ("strict saddle" if others else "minimum")


def test_edges_add_a_mode_or_exchange_it_for_a_stronger_one(graph):
    r"""Eigenvalues $-s_j$ lead from S to S ∪ {j}, and $s_i - s_j$ to S with j for i."""
    learned = [modes(point.loss) for point in graph.points]
    expected = {}
    for chosen in learned:
        for j in set(range(3)) - chosen:
            expected[chosen, chosen | {j}] = STRENGTHS[j]
            for i in chosen:
                if STRENGTHS[j] > STRENGTHS[i]:
                    expected[chosen, chosen - {i} | {j}] = STRENGTHS[j] - STRENGTHS[i]
    edges = {(learned[edge.source], learned[edge.target]): edge.rate for edge in graph.connections}
    assert edges.keys() == expected.keys()
    for edge, rate in edges.items():
        assert rate == pytest.approx(expected[edge], rel=1e-6)


def test_connections_fall_from_loss_to_loss(graph):
    for edge in graph.connections:
        source, target = graph.points[edge.source], graph.points[edge.target]
        assert np.all(np.diff(edge.losses) <= 0)
        assert edge.losses[0] == pytest.approx(source.loss, rel=1e-4)
        assert edge.losses[-1] == pytest.approx(target.loss, abs=1e-2)
        # A flow that still moves has not arrived.
        assert edge.end.distance < 1e-5
        # No path is shorter than the straight line between its ends.
        assert edge.arc_length > 0.5 and edge.duration > np.log(1e2) / edge.rate


def test_what_is_followed_is_an_orbit_of_the_full_flow(graph):
    """The directions kept out of the flow are kept out by the symmetry of the modes: the gradient has no part there."""
    assert max(edge.leak for edge in graph.connections) < 1e-9


def test_the_flow_from_small_weights_takes_a_path_in_the_graph(graph):
    assert [sorted(modes(graph.points[node].loss)) for node in graph.taken] == [[], [0], [0, 1], [0, 1, 2]]
    assert all(graph.edge(*step) is not None for step in zip(graph.taken, graph.taken[1:], strict=False))
    assert "taken: " + " → ".join(map(str, graph.taken)) in str(graph)


def test_two_modes_at_once(graph):
    """Along two eigenspaces together, each part as large as makes them arrive together, the flow passes the saddle of
    one mode by: from {} straight to the two."""
    ways = escape_directions(graph.points[0], graph.kinds[0], mixed=True)
    pair = next(
        direction
        for direction in ways
        if direction.mixed and [rate for rate, _ in direction.mixed] == pytest.approx([4.0, 2.0])
    )
    connection = follow(pair, size=2.0)
    assert connection.end.converged and modes(connection.end.loss) == {0, 1}
    assert connection.leak < 1e-9


def test_the_graph_is_drawn_with_the_path_taken_thick(graph):
    ax = plot_saddle_graph(graph)
    arrows = [text.arrow_patch for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == 18
    assert sum(arrow.get_linewidth() > 2 for arrow in arrows) == 3
    assert ax.get_xlabel() == "effective width" and ax.get_ylabel() == "loss L"


@pytest.mark.slow
def test_degenerate_saddles_are_left_along_the_form_of_a_small_unit():
    r"""A quadratic network on $y \propto \|x\|^2$, population loss: one saddle of order 3 for each width. All
    directions are equal there, so the exits are a continuum, and their targets one node up to the data's symmetry."""
    second, cross = np.array([[3.0, 0, 1], [0, 1, 0], [1, 0, 3]]), np.array([[4.0, 0, 4.0]]) / np.sqrt(8)
    model = TwoLayer(Dense(quadratic, inputs=2), width=2, scale=0.0, key=jax.random.key(0))
    found = saddle_graph(Landscape(model, statistics_loss, from_moments(second, cross, 1.0)))
    assert found.complete
    levels = theory.isotropic_quadratic_levels(2)
    np.testing.assert_allclose([point.loss for point in found.points], levels, atol=1e-10)
    assert [kind.name for kind in found.kinds] == ["degenerate saddle", "degenerate saddle", "minimum"]
    assert {(edge.source, edge.target, edge.order) for edge in found.connections} == {(0, 1, 3), (1, 2, 3)}


def test_non_smooth_saddles_are_left_along_every_local_maximiser():
    """Figure 1D's two orthogonal points: a ray for either sample, the steeper one first or last."""
    data = jnp.array([[1.0, 0.5], [-1.0, 2.0]]), jnp.array([[1.0], [-1.0]])
    model = TwoLayer(Dense(relu, inputs=2), width=2, scale=0.0, key=jax.random.key(0))
    found = saddle_graph(Landscape(model, mean_squared_error, data))
    assert found.complete
    losses = [point.loss for point in found.points]
    levels = theory.orthogonal_relu_levels(np.asarray(data[0]), np.asarray(data[1])[:, 0])
    np.testing.assert_allclose(np.sort(losses), np.sort([*levels, levels[1]]), atol=1e-12)
    # |y||x| for the loss without ½: either sample first, the other one then.
    sizes = np.sort(np.linalg.norm(np.asarray(data[0]), axis=1))
    assert len(found.connections) == 4
    np.testing.assert_allclose(np.sort([edge.rate for edge in found.connections]), np.repeat(sizes, 2), rtol=1e-6)
