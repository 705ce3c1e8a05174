"""The positions of the units' parameters in a flattened model."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...models import Slot
from ...models.unit_axis import by_unit
from ...models.units import unit_vectors
from .parameters import flatten, unflatten


def numbered(model: Any) -> Any:
    """The model with the position of every parameter in the flattened model in place of its value."""
    theta = flatten(model)
    return unflatten(model, np.arange(theta.size, dtype=theta.dtype))


def slot_positions(numbers: Any, slot: Slot) -> Int[np.ndarray, "H ..."]:
    """The positions of the parameters that an array holds, unit by unit, in a `numbered` model."""
    return np.asarray(by_unit(slot.where(numbers), slot)).astype(int)


def unit_positions(model: Any, layer: int = 0) -> Int[np.ndarray, "H d"]:
    """The positions of the parameters of each unit of a layer in the flattened model, one row each."""
    return np.asarray(unit_vectors(numbered(model), layer)).astype(int)


def unit_history(model: Any, thetas: Float[np.ndarray, "T n"], layer: int = 0) -> Float[np.ndarray, "T H d"]:
    """The unit vectors θ_i of a layer along a path of flattened parameters."""
    return thetas[:, unit_positions(model, layer)]
