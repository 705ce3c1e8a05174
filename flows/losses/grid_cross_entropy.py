"""The cross-entropy on a sample of sequences that form a grid, each number that they share being computed once."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...models.sequence_grid import SequenceGrid, sequence_grid
from .cross_entropy import cross_entropy, least_cross_entropy, sample_cross_entropy
from .declaration import LowerBound

# Products of a token's entry with a weight from which on sharing saves more than its longer compilation, ten seconds
# for all programs of a flow: a gradient then takes a tenth of a second.
SHARED_FROM = 10**8
# The share of the tokens that may differ at most.
FEW = 0.5


class GridCrossEntropy(eqx.Module):
    """`cross_entropy` of one answer per sequence, for models that compute a sample at once by a method `on_grid`.

    The same loss at a fraction of the cost; two are equal if their grids are.

    Attributes:
        grid: the `sequence_grid` of the sample.
        lower_bound: as `cross_entropy` declares it.
        convex: whether it is convex in the model's output: it is.
    """

    lower_bound: ClassVar[LowerBound] = staticmethod(least_cross_entropy)
    convex: ClassVar[bool] = True

    grid: SequenceGrid = eqx.field(static=True)

    def __call__(self, model: Any, data: tuple[Any, Float[Any, "P C"]]) -> Float[Array, ""]:
        """The loss of a model on sequences and the distributions of their answers."""
        return jnp.mean(sample_cross_entropy(model.on_grid(data[0], self.grid), data[1]))

    def __str__(self) -> str:
        return "cross_entropy"


def grid_loss(model: Any, loss: Callable[[Any, Any], Any], data: Any) -> Callable[[Any, Any], Any]:
    """The same loss of a large transformer on a sample whose sequences share tokens, each computed once.

    Args:
        model: with a method `on_grid`, which computes a sample at once.
        loss: scalar function of (model, data).
        data: for `cross_entropy` without weights, sequences and distributions of their answers.

    Returns:
        A `GridCrossEntropy`; the loss itself where it is another one, or where little would be saved.
    """
    if loss is not cross_entropy or len(data) != 2 or np.ndim(data[1]) != 2:
        return loss
    sequences, length, _ = data[0].shape
    size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    if sequences * length * size < SHARED_FROM:
        return loss
    grid = sequence_grid(np.asarray(data[0]))
    return GridCrossEntropy(grid) if grid.states <= FEW * sequences * length else loss
