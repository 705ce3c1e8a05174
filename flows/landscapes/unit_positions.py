"""The positions of the units' parameters in a flattened model."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...models.units import unit_vectors
from .parameters import flatten, unflatten


def unit_positions(model: Any, layer: int = 0) -> Int[np.ndarray, "H d"]:
    """The positions of the parameters of each unit of a layer in the flattened model, one row each."""
    theta = flatten(model)
    return np.asarray(unit_vectors(unflatten(model, np.arange(theta.size, dtype=theta.dtype)), layer)).astype(int)


def unit_history(model: Any, thetas: Float[np.ndarray, "T n"], layer: int = 0) -> Float[np.ndarray, "T H d"]:
    """The unit vectors θ_i of a layer along a path of flattened parameters."""
    return thetas[:, unit_positions(model, layer)]
