"""In-context classification: the enumeration against its count and by hand, and the rules' losses in closed form."""

import itertools
import math

import jax
import numpy as np
import pytest
from saddlescope.experiments import Classification, in_context_classification
from saddlescope.experiments.setups.circuit import rule_losses, rules

TASKS = [Classification(items=3, labels=4), Classification(items=4, labels=3, pairs=3), Classification(5, 2, pairs=1)]


def entropy(p):
    return -sum(q * math.log(q) for q in p if q > 0)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_all_sequences_are_there_once_with_the_right_answer(task):
    rows = task.sequences()
    items, labels = range(task.labels, task.labels + task.items), range(task.labels)
    expected = {}
    for chosen, named in itertools.product(
        itertools.permutations(items, task.pairs), itertools.permutations(labels, task.pairs)
    ):
        context = [token for pair in zip(chosen, named, strict=True) for token in pair]
        expected.update({(*context, query): label for query, label in zip(chosen, named, strict=True)})
    assert len(rows) == task.count == len(expected)
    found = dict(zip(map(tuple, rows.tolist()), task.answers(rows).tolist(), strict=True))
    assert found == expected


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_tokens_name_content_and_position(task):
    rows = task.sequences()
    x = task.tokens(rows)
    assert x.shape == (task.count, task.length, task.width)
    content, position = x[..., : task.labels + task.items], x[..., task.labels + task.items :]
    np.testing.assert_array_equal(np.argmax(content, axis=2), rows)
    np.testing.assert_array_equal(position, np.broadcast_to(np.eye(task.length), position.shape))
    np.testing.assert_array_equal(x.sum(axis=2), 2.0)
    np.testing.assert_array_equal(task.in_context(rows).sum(axis=1), task.pairs)


def test_a_sample_of_sets_is_balanced():
    """All sequences of four pairs of items: no item tells a label or a place."""
    task = Classification(items=5, labels=3)
    rows = task.sequences(4, key=jax.random.key(1))
    assert len({tuple(row) for row in rows.tolist()}) == len(rows) == 4 * 2 * 6 * 2
    everything = {tuple(row) for row in task.sequences().tolist()}
    assert {tuple(row) for row in rows.tolist()} < everything
    answers, asked_first = task.answers(rows), rows[:, 0] == rows[:, -1]
    for item in np.unique(rows[:, -1]):
        queried = rows[:, -1] == item
        np.testing.assert_array_equal(np.bincount(answers[queried]), queried.sum() / 3)
        assert asked_first[queried].mean() == 0.5
    np.testing.assert_array_equal(rows, task.sequences(4, key=jax.random.key(1)))
    assert not np.array_equal(rows, task.sequences(4, key=jax.random.key(2)))


@pytest.mark.parametrize("task", TASKS, ids=str)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_losses_of_the_rules(task, noise):
    """Entropies of their predictions, of which each rule's noisy answers are a draw."""
    found = rule_losses(in_context_classification(task, noise=noise))
    spread = np.full(task.labels, noise / task.labels)
    in_context, right = spread.copy(), spread.copy()
    in_context[: task.pairs] += (1 - noise) / task.pairs
    right[0] += 1 - noise
    expected = [math.log(task.labels), entropy(in_context), entropy(right)]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def test_the_rules_are_distributions_and_the_last_one_is_the_answer():
    data = in_context_classification(TASKS[0], noise=0.2)
    predictions = rules(jax.tree.map(np.asarray, data))
    np.testing.assert_allclose(predictions.sum(axis=2), 1.0)
    np.testing.assert_array_equal(predictions[2], data[1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Classification(items=1, labels=4), "as many items and labels as pairs"),
        (lambda: Classification(items=3, labels=3, pairs=0), "at least one pair"),
        (lambda: TASKS[0].sequences(2), "needs a key"),
        (lambda: TASKS[0].sequences(4), "there are 3 sets of 2 items"),
        (lambda: in_context_classification(TASKS[0], noise=1.5), "is a probability"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
