"""What the phase diagram and the escape law rest on: equivalent narrow networks, closed forms, small layers."""

import jax
import numpy as np
import pytest
from saddlescope.analysis import tangent_kernel
from saddlescope.experiments.reproductions import phase_diagram
from saddlescope.experiments.reproductions.escape_law import SCALES, Escapes, bottlenecked, data, small_layers
from saddlescope.experiments.reproductions.phase_boundary import MODES, predicted_boundary, predicted_saddles
from saddlescope.experiments.reproductions.phase_diagram import kernel_change, phases, reduced, saddles_visited
from saddlescope.flows import linear_population, simulate, statistics_loss
from saddlescope.models import Dense, TwoLayer, incoming, linear, outgoing, relu, tanh

STRENGTHS = np.array([0.6, 0.3, 0.1])


def test_a_rotation_of_hidden_units_leaves_six():
    """Loss curves and tangent kernels of a wide network are those of the narrow one; of few units none is added."""
    key, problem = jax.random.key(0), linear_population(np.eye(MODES), np.diag(STRENGTHS), weight=0.5)
    wide = TwoLayer(Dense(linear, inputs=MODES, outputs=MODES), width=40, scale=0.1, key=key)
    narrow = reduced(40, 0.1, key=key)
    assert len(narrow.u) == 2 * MODES
    flows = [simulate(model, statistics_loss, problem, t1=4.0, save_times=[3.0]) for model in (wide, narrow)]
    at = [int(np.searchsorted(flow.ts, 3.0)) for flow in flows]
    np.testing.assert_allclose(flows[0].losses[at[0]], flows[1].losses[at[1]], rtol=1e-8)
    changes = [kernel_change(flow.initial_model, flow.final_model) for flow in flows]
    assert changes[0] == pytest.approx(changes[1], rel=1e-7)
    kernels = [np.asarray(tangent_kernel(m, np.eye(MODES))) for m in (flows[1].initial_model, flows[1].final_model)]
    by_hand = np.linalg.norm(kernels[1] - kernels[0]) / np.linalg.norm(kernels[0])
    assert changes[1] == pytest.approx(by_hand, rel=1e-9)
    few = reduced(2, 0.1, key=key)
    assert np.count_nonzero(np.any(np.asarray(incoming(few)) != 0, axis=1)) == 2
    product = np.asarray(TwoLayer(few.architecture, width=2, scale=0.1, key=key)(np.ones(MODES)))
    np.testing.assert_allclose(np.asarray(incoming(few)).sum(axis=1) @ np.asarray(outgoing(few)), product, rtol=1e-12)


def test_the_closed_form_of_the_boundary():
    """Equal strengths leave one saddle; a smaller ε or a steeper spectrum adds saddles; only Hε² counts."""
    assert predicted_saddles(1e-6, 0.0, 10) == 1 and predicted_saddles(1.0, 1.0, 10) == 0
    counts = [predicted_saddles(scale, 1.0, 10) for scale in (1e-2, 1e-4, 1e-8)]
    assert counts == sorted(counts) and counts[-1] == MODES
    interval = (phase_diagram.SCALES[0], phase_diagram.SCALES[-1])
    assert predicted_boundary(1.0, 1000, interval) == pytest.approx(
        predicted_boundary(1.0, 10, interval) / 10, rel=0.05
    )
    assert np.isnan(predicted_boundary(0.0, 10, interval))


def test_phases_by_saddles_and_kernel():
    visited = saddles_visited(np.array([[0, 1, 2, 3], [0, 3, -1, -1], [3, -1, -1, -1]]))
    assert visited.tolist() == [3, 1, 0]
    assert phases(visited.astype(float), np.array([5.0, 5.0, 0.1])).tolist() == [0, 1, 2]


def test_small_layers_are_where_they_should_be():
    for seed in range(5):
        assert small_layers(5, 3, seed, last=False).sum() == 3
        flags = small_layers(5, 3, seed, last=True)
        assert flags.sum() == 3 and flags[-1]
    small = np.array([False, True, False, True])
    large, few = bottlenecked(tanh, small, 1.0, 0), bottlenecked(tanh, small, 1e-3, 0)
    for flag, a, b in zip(small, jax.tree.leaves(large), jax.tree.leaves(few), strict=True):
        np.testing.assert_allclose(b, a * (1e-3 if flag else 1.0))
    x, y = data()
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(x.shape[1]), atol=1e-12)
    np.testing.assert_allclose(y.mean(), 0, atol=1e-12)
    assert bottlenecked(relu, small, 1e-3, 0).architecture.activation == relu


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_increments_have_the_exponent_of_the_law(layers):
    """Whatever is added to each time; a flow that did not escape is a lower bound."""
    law = np.log(1 / SCALES) if layers == 2 else SCALES ** (2.0 - layers)
    times = 7 + law[:, None] * np.array([1.0, 2.0, 5.0])
    value, low, high = Escapes(layers=layers, times=times, censored=np.zeros(times.shape, bool)).exponent()
    assert max(abs(each - (layers - 2)) for each in (value, low, high)) < 1e-6
    cut = np.zeros(times.shape, bool)
    cut[-1, -1] = True
    ended = np.where(cut, (times[-2, -1] + times[-1, -1]) / 2, times)
    bounded, taken = (
        Escapes(layers=layers, times=ended, censored=flags).exponent()[0] for flags in (cut, np.zeros_like(cut))
    )
    assert taken < bounded
