"""Samples whose sequences begin alike: what is computed once for many sequences is what is computed for each."""

import jax
import numpy as np
import pytest
from saddlescope.experiments.data.in_context_classification import Classification, in_context_classification
from saddlescope.flows import cross_entropy
from saddlescope.flows.losses.declaration import convex_in_output, lower_bound_of
from saddlescope.flows.losses.prefix_cross_entropy import PrefixCrossEntropy, prefix_loss
from saddlescope.models import AttentionOnly
from saddlescope.models.prefix_tree import prefix_tree

TASK = Classification(items=3, labels=3)


def data(sets=None):
    return in_context_classification(TASK, sets, noise=0.1, key=jax.random.key(1))


def transformer(disentangled):
    return AttentionOnly(
        width=TASK.width,
        heads=2,
        rank=3,
        disentangled=disentangled,
        outputs=TASK.labels,
        scale=0.5,
        key=jax.random.key(0),
    )


def test_all_contexts_begin_in_few_ways():
    """Items and labels are drawn without repetition, and one of the two items is asked for."""
    tree = prefix_tree(data()[0])
    assert np.bincount(tree.lengths).tolist() == [0, 3, 3 * 3, 3 * 3 * 2, 3 * 3 * 2 * 2, 3 * 3 * 2 * 2 * 2]
    assert tree.count == 138 and tree.differing == 72
    assert str(tree) == "72 sequences of 5 tokens with 138 different beginnings"


@pytest.mark.parametrize("copies", [1, 2])
def test_every_sequence_is_the_path_to_its_end(copies):
    x = np.concatenate([data(2)[0]] * copies)
    tree = prefix_tree(x)
    paths, visible = tree.attended()
    ends = np.arange(tree.count)[-tree.differing :][tree.whole]
    assert np.all(visible[ends])
    np.testing.assert_array_equal(np.asarray(tree.tokens(x))[paths[ends]], x)
    # A path leads through the paths of its own prefixes.
    for n, length in enumerate(tree.lengths):
        assert paths[n, length - 1] == n and visible[n, :, 0].sum() == length
        np.testing.assert_array_equal(paths[paths[n, length - 2], : length - 1], paths[n, : length - 1])


def test_sequences_that_share_nothing_or_all():
    x = np.random.default_rng(0).standard_normal((7, 3, 4))
    assert prefix_tree(x).count == 21 and prefix_tree(x).differing == 7
    assert prefix_tree(np.zeros((7, 3, 4))).count == 3
    # The same tokens after another one have another past.
    assert prefix_tree(np.concatenate([x[:, ::-1], x[:, [2, 0, 0]]])).count == 7 * (3 + 2)


@pytest.mark.parametrize("disentangled", [True, False])
@pytest.mark.fast_for("False")
def test_loss_and_gradient_are_those_of_the_sequences_one_by_one(disentangled):
    model, sample = transformer(disentangled), data()
    few = (sample[0][::7], sample[1][::7])
    assert prefix_loss(model, cross_entropy, few) is cross_entropy  # little would be saved
    shared = prefix_loss(model, cross_entropy, sample)
    assert isinstance(shared, PrefixCrossEntropy) and convex_in_output(shared)
    again = prefix_loss(model, cross_entropy, data())
    assert shared == again and hash(shared) == hash(again) and str(shared) == "cross_entropy"
    assert lower_bound_of(shared, sample) == lower_bound_of(cross_entropy, sample) > 0
    (value, slope), (expected, exact) = (
        jax.jit(jax.value_and_grad(lambda m, loss=loss: loss(m, sample)))(model) for loss in (shared, cross_entropy)
    )
    assert value == pytest.approx(float(expected), rel=1e-14)
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
