"""The cross-entropy on a sample of sequences that begin alike, what they share being computed once."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...models.prefix_tree import PrefixTree, prefix_tree
from .cross_entropy import cross_entropy, least_cross_entropy, sample_cross_entropy
from .declaration import LowerBound

# The share of the tokens that may differ, with what precedes them, at most.
FEW = 0.5


class PrefixCrossEntropy(eqx.Module):
    """`cross_entropy` of one answer per sequence, for models that compute a sample at once by a method `on_prefixes`.

    The same loss at a fraction of the cost; two are equal if their trees are.

    Attributes:
        tree: the `prefix_tree` of the sample.
        lower_bound: as `cross_entropy` declares it.
        convex: whether it is convex in the model's output: it is.
    """

    lower_bound: ClassVar[LowerBound] = staticmethod(least_cross_entropy)
    convex: ClassVar[bool] = True

    tree: PrefixTree = eqx.field(static=True)

    def __call__(self, model: Any, data: tuple[Any, Float[Any, "P C"]]) -> Float[Array, ""]:
        """The loss of a model on sequences and the distributions of their answers."""
        return jnp.mean(sample_cross_entropy(model.on_prefixes(data[0], self.tree), data[1]))

    def __str__(self) -> str:
        return "cross_entropy"


def prefix_loss(model: Any, loss: Callable[[Any, Any], Any], data: Any) -> Callable[[Any, Any], Any]:
    """The same loss of a transformer on a sample whose sequences begin alike, what they share being computed once.

    Args:
        model: with a method `on_prefixes`, which computes a sample at once.
        loss: scalar function of (model, data).
        data: for `cross_entropy` without weights, sequences and distributions of their answers.

    Returns:
        A `PrefixCrossEntropy`; the loss itself where it is another one, or where little would be saved.
    """
    if loss is not cross_entropy or len(data) != 2 or np.ndim(data[1]) != 2:
        return loss
    tree = prefix_tree(np.asarray(data[0]))
    sequences, length, _ = data[0].shape
    return PrefixCrossEntropy(tree) if tree.count <= FEW * sequences * length else loss
