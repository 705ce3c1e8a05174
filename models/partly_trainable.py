"""Models of which only some arrays are weights, as chosen by a filter of Equinox's kind; the others are constants."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax


class _Constants:
    """A PyTree that is no part of the weights; compared by identity, as arrays have no hash."""

    tree: Any

    def __init__(self, tree: Any):
        self.tree = tree


class PartlyTrainable(eqx.Module):
    """A model whose weights are those that a filter chose.

    Its units, if it declares any, are those of `model`, which need not move freely: the analysis asks for none.

    Attributes:
        weights: the chosen floating-point arrays in the model's structure, `None` in place of all others.
        constants: all others.
    """

    weights: Any
    constants: _Constants = eqx.field(static=True)

    @property
    def model(self) -> Any:
        """The model with its weights and constants."""
        return eqx.combine(self.weights, self.constants.tree)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """The model's outputs."""
        return self.model(*arguments, **settings)

    def __str__(self) -> str:
        chosen, every = (
            sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(part, eqx.is_inexact_array)))
            for part in (self.weights, self.model)
        )
        return f"{type(self.model).__name__}, of whose {every} parameters {chosen} are trainable"


def partly_trainable(
    model: Any, loss: Callable[[Any, Any], Any], trainable: Any
) -> tuple[PartlyTrainable, Callable[[Any, Any], Any]]:
    """A model with some of its arrays frozen, and its loss as a function of it.

    Args:
        model: any Equinox module.
        loss: scalar function of (model, data).
        trainable: which leaves are weights, as `eqx.filter` takes it: a function from a leaf to a bool, or a PyTree of
            bools of the model's structure or of the upper part of it. Of the chosen leaves the floating-point arrays
            are weights.

    Returns:
        The model, and a loss that puts weights and constants together and declares what the given one does.

    Raises:
        ValueError: for a filter that chooses no weights, or is not of the model's structure.
    """
    try:
        chosen, others = eqx.partition(model, trainable)
    except ValueError as error:
        raise ValueError(
            "trainable must be a function from a leaf to a bool, or a PyTree of bools in the model's structure, as "
            f"eqx.filter takes it; got {type(trainable).__name__} ({str(error).splitlines()[0]})."
        ) from error
    weights, further = eqx.partition(chosen, eqx.is_inexact_array)
    if not jax.tree.leaves(weights):
        raise ValueError("trainable chooses no floating-point array of the model: there is nothing to integrate.")
    constants = _Constants(eqx.combine(others, further))

    @functools.wraps(loss)
    def of_whole(part: PartlyTrainable, data: Any) -> Any:
        return loss(part.model, data)

    return PartlyTrainable(weights=weights, constants=constants), of_whole
