"""Samples that are grids: what is computed once for many sequences is what is computed for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.experiments.data.in_context_classification import Classification, in_context_classification
from saddlescope.flows import cross_entropy
from saddlescope.flows.losses import grid_cross_entropy
from saddlescope.flows.losses.declaration import convex_in_output, lower_bound_of
from saddlescope.flows.losses.grid_cross_entropy import GridCrossEntropy, grid_loss
from saddlescope.models import AttentionOnly
from saddlescope.models.sequence_grid import sequence_grid

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


def test_the_tokens_of_all_contexts_depend_on_few_choices():
    """Items in order (6), first label, second label, which item is asked for; a label depends on those drawn so far."""
    grid = sequence_grid(data()[0])
    assert grid.shape == (6, 3, 2, 2)
    pairs, query = (True, False, False, False), (True, False, False, True)
    assert grid.depends == (pairs, (False, True, False, False), pairs, (False, True, True, False), query)
    assert grid.states == 6 + 18 + 18 + 36 + 72 and "6 × 3 × 2 × 2" in str(grid)


def test_tokens_over_the_grid_are_those_of_the_sample():
    x = data(2)[0]
    grid = sequence_grid(x)
    for place, tokens in enumerate(grid.tokens(x)):
        np.testing.assert_array_equal(grid.flat(tokens), x[:, place])


def test_a_sample_without_structure_is_a_grid_of_one_axis():
    x = np.random.default_rng(0).standard_normal((7, 3, 4))
    grid = sequence_grid(x)
    assert grid.shape == (7,) and grid.depends == ((True,),) * 3 and grid.states == 21
    assert sequence_grid(np.zeros((7, 3, 4))).states == 3


@pytest.mark.parametrize("disentangled", [True, False])
@pytest.mark.fast_for("False")
def test_loss_and_gradient_are_those_of_the_sequences_one_by_one(disentangled, monkeypatch):
    model, sample = transformer(disentangled), data()
    assert grid_loss(model, cross_entropy, sample) is cross_entropy  # little would be saved
    monkeypatch.setattr(grid_cross_entropy, "SHARED_FROM", 0)
    shared = grid_loss(model, cross_entropy, sample)
    assert isinstance(shared, GridCrossEntropy) and convex_in_output(shared)
    assert lower_bound_of(shared, sample) == lower_bound_of(cross_entropy, sample) > 0
    (value, slope), (expected, exact) = (
        jax.jit(jax.value_and_grad(lambda m, loss=loss: loss(m, sample)))(model) for loss in (shared, cross_entropy)
    )
    assert value == pytest.approx(float(expected), rel=1e-14)
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
    assert jnp.all(jnp.isfinite(value))
