"""Runs of transformers that form induction heads: what they report, and the whole story in the long test."""

import numpy as np
import pytest
from saddlescope.analysis import plot, theory
from saddlescope.experiments import experiment, run
from saddlescope.experiments.setups.circuit import RULES, circuit
from saddlescope.experiments.setups.induction_heads import NOISE, token_names
from saddlescope.flows import simulate


@pytest.mark.parametrize(
    ("name", "size", "sequences", "noise"),
    [
        ("induction-heads", 1344, 480, 0.0),
        ("induction-heads-noisy", 1344, 480, NOISE),
        ("induction-heads-64", 67584, 2064, NOISE),
    ],
)
def test_sizes_and_levels(name, size, sequences, noise):
    setup = experiment(name).setup(0)
    assert str(setup).startswith(f"AttentionOnly: {size} parameters") and len(setup.data[0]) == sequences
    levels = experiment(name).levels(setup.data)
    np.testing.assert_allclose(levels, theory.classification_levels(4, 2, noise), rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_a_run_says_what_the_models_at_its_visits_compute():
    """A short flow, without a search for critical points."""
    finished = run("induction-heads", t1=5.0, width=1, budget=1e-9)
    first = finished.record["visits"][0]
    assert first["rule"] == RULES[0] and first["heads_moved"] is None
    assert first["probability_of_right_label"] == pytest.approx(1 / 4, abs=1e-3)
    assert np.shape(first["head_sizes"]) == (2, 1) and len(first["induction_attention"]) == 1
    assert finished.record["settings"]["budget"] == 1e-9
    text = str(finished)
    assert f"Visit 0 computes {RULES[0]}" in text and "the budget of 1e-09 seconds was spent" in text
    figure = plot(finished.trajectory, finished.itinerary, panels=finished.panels)
    rows = {ax.get_ylabel(): ax for ax in figure.axes}
    assert {"attention, layer 1", "attention, layer 2", "loss L"} <= set(rows)
    ticks = [label.get_text() for label in rows["attention, layer 2"].get_xticklabels()]
    assert tuple(ticks) == token_names(2) == ("x1", "ℓ1", "x2", "ℓ2", "q")


@pytest.mark.slow
def test_the_visits_of_the_noisy_transformer():
    """A strict saddle, one that is left at higher order, and a channel to infinity along which the loss goes to its
    lowest. Of the second the narrow network is a layer of attention whose queries and keys have rank one."""
    finished = run("induction-heads-noisy")
    first, second, last = finished.itinerary
    levels = finished.levels
    assert (first.kind.name, first.kind.index, first.kind.nullity) == ("strict saddle", 24, 1296)
    assert first.critical_point.loss == pytest.approx(levels[0], rel=1e-12)
    assert (second.kind.name, second.kind.index) == ("degenerate saddle", 0)
    assert second.kind.order >= 3 and second.kind.nullity + second.kind.spectrum.positive == 1344
    assert second.critical_point.loss == pytest.approx(levels[1], rel=1e-9)
    assert second.critical_point.gradient_norm < 1e-13
    # As far away as the initial weights are large, of weights thirty times that.
    assert second.critical_point.distance < 0.05 * np.linalg.norm(second.critical_point.theta)
    queries, keys = (getattr(second.critical_point.model.layers[1], name) for name in ("query", "key"))
    for head in range(2):
        sizes = np.linalg.svd(np.concatenate([queries[head], keys[head]], axis=1), compute_uv=False)
        assert sizes[0] > 0.1 and np.max(sizes[1:]) < 1e-6 * sizes[0]
    assert not np.any(np.concatenate([np.ravel(second.critical_point.model.layers[0].output)]))
    assert last.kind.name == "flat channel" and "to its lower bound 0.34878 like t^-1.1" in last.kind.evidence


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["induction-heads", "induction-heads-noisy"])
def test_labels_in_context_come_first_and_then_induction_heads(name, seed):
    """Two plateaus at the levels of theory, and at the end both heads of the circuit."""
    usual = experiment(name)
    setup = usual.setup(seed)
    flow = simulate(setup.model, setup.loss, setup.data, t1=setup.t1, rtol=1e-6)
    uniform, in_context, right = usual.levels(setup.data)
    assert flow.losses[0] == pytest.approx(uniform, rel=1e-3)
    # The longest plateau after the first lies within a hundredth of the level, for a fifth of the time to the last one.
    end = flow.ts[np.argmax(flow.losses < (in_context + right) / 2)]
    dense = np.interp(np.linspace(0, end, 1000), flow.ts, flow.losses)
    assert np.mean(np.abs(dense - in_context) < 0.01 * in_context) > 0.2
    found = circuit(flow.final_model, setup.data)
    assert found.rule == RULES[2] and flow.losses[-1] == pytest.approx(right, abs=1e-3)
    # More than to all other tokens together; between 0.81 and 1.00 in these six flows.
    assert found.induction.max() > 0.5 and found.previous.max() > 0.5
