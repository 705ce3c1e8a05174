"""Attention-only transformers against loops over heads and tokens, and an induction circuit written by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from saddlescope.experiments import Classification, in_context_classification
from saddlescope.experiments.setups.circuit import RULES, circuit, distances
from saddlescope.flows import cross_entropy
from saddlescope.models import AttentionOnly

TASK = Classification(items=5, labels=4)


def transformer(heads=2, rank=3, scale=0.7, **settings):
    settings = {"width": TASK.width, "outputs": TASK.labels, "key": jax.random.key(0), **settings}
    return AttentionOnly(heads=heads, rank=rank, scale=scale, **settings)


def by_loops(model, x):
    """Token by token and head by head."""
    x = np.array(x)
    for layer in model.layers:
        query, key, value, output = (np.asarray(array) for array in (layer.query, layer.key, layer.value, layer.output))
        written = np.zeros_like(x)
        for h in range(len(query)):
            for t in range(len(x)):
                scores = [(query[h] @ x[t]) @ (key[h] @ x[s]) for s in range(t + 1)]
                weights = scipy.special.softmax(scores)
                read = sum(w * (value[h] @ x[s]) for w, s in zip(weights, range(t + 1), strict=True))
                written[t] += output[h] @ read
        x = np.concatenate([x, written], axis=1) if model.disentangled else x + written
    return (written if model.disentangled else x)[-1, : model.outputs]


@pytest.mark.parametrize("disentangled", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.fast_for("1-False", "3-False")
def test_outputs_are_those_of_loops(layers, disentangled):
    model = transformer(layers=layers, disentangled=disentangled)
    x = np.random.default_rng(1).standard_normal((5, TASK.width))
    np.testing.assert_allclose(model(x), by_loops(model, x), rtol=1e-12)


def test_patterns_are_causal_and_sum_to_one():
    x = np.random.default_rng(1).standard_normal((5, TASK.width))
    for pattern in transformer().patterns(x):
        np.testing.assert_allclose(pattern.sum(axis=2), 1.0)
        np.testing.assert_array_equal(np.triu(pattern, 1), 0.0)


def test_numbers_of_parameters():
    """4 D H r parameters per layer, with 2D instead of D in the second layer if tokens grow."""
    sizes = {1344: {"heads": 2, "rank": 4, "disentangled": True}, 67584: {"width": 64, "heads": 8, "rank": 11}}
    sizes[67584]["disentangled"] = True
    for size, settings in (*sizes.items(), (896, {"heads": 2, "rank": 4})):
        assert sum(leaf.size for leaf in jax.tree.leaves(transformer(**settings))) == size


def by_hand(strength):
    """A previous-token head that copies items to labels, and a head that matches them and copies the label."""
    model = jax.tree.map(jnp.zeros_like, transformer(heads=1, rank=5))
    labels, items, position = np.arange(4), 4 + np.arange(5), 9 + np.arange(5)
    first, second = model.layers

    def matrix(rows, columns, by=1.0, shape=(1, 5, TASK.width)):
        array = np.zeros(shape)
        array[0, rows, columns] = by
        return jnp.asarray(array)

    # Every token looks for the one before and adds its item to its own.
    previous = (matrix(range(1, 5), position[1:], strength), matrix(range(1, 5), position[:-1]))
    copied = (matrix(range(5), items), jnp.swapaxes(matrix(range(5), items), 1, 2))
    # The query looks for its item, and rather among labels: the first item has itself before it.
    among_labels = matrix(*np.ix_(range(5), position[1:4:2]), 3.0)
    match = (matrix(range(5), items, strength), matrix(range(5), items) + among_labels)
    label = (matrix(range(4), labels, strength), jnp.swapaxes(matrix(range(4), labels), 1, 2))
    arrays = lambda layer: (layer.query, layer.key, layer.value, layer.output)  # noqa: E731
    first = eqx.tree_at(arrays, first, (*previous, *copied))
    second = eqx.tree_at(arrays, second, (*match, *label))
    return eqx.tree_at(lambda m: m.layers, model, (first, second))


def test_a_circuit_by_hand_is_recognised():
    data = in_context_classification(TASK)
    found = circuit(by_hand(40.0), data)
    assert found.rule == RULES[2] and found.right > 0.999
    assert found.previous[0] == pytest.approx(1.0, abs=1e-6)
    assert found.induction[0] > 0.99
    assert float(cross_entropy(by_hand(40.0), data)) == pytest.approx(found.divergences[2], rel=1e-9)


def test_zero_weights_are_uniform_over_labels():
    data = in_context_classification(TASK)
    found = circuit(transformer(scale=0.0), data)
    assert found.rule == RULES[0] and found.right == pytest.approx(1 / 4)
    assert found.in_context == pytest.approx(1 / 2)
    # Uniform attention: one fifth on the label of the own pair; a label sees itself and what is before.
    np.testing.assert_allclose(found.induction, 1 / 5)
    np.testing.assert_allclose(found.previous, (1 / 2 + 1 / 4) / 2)


def test_copying_heads_restrict_to_the_labels_in_context():
    """One layer of one head that copies labels, with uniform attention."""
    model = by_hand(0.0)
    copy = eqx.tree_at(lambda m: m.layers[1].value, model, by_hand(200.0).layers[1].value)
    data = in_context_classification(TASK)
    found = circuit(copy, data)
    assert found.rule == RULES[1] and found.divergences[1] < 1e-12
    assert float(cross_entropy(copy, data)) == pytest.approx(np.log(2), rel=1e-12)


def test_distances_are_those_of_the_heads():
    before = transformer()
    moved = eqx.tree_at(lambda m: m.layers[1].value, before, before.layers[1].value.at[1, 0, :4].add(0.5))
    np.testing.assert_allclose(distances(before, moved), [[0, 0], [0, 1]], atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"heads": 0}, "heads must be at least 1"),
        ({"scale": -1.0}, "scale must be finite"),
        ({"layers": 0}, "layers must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        transformer(**settings)
