"""The units of a flow as points of planes in weight space."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...flows.landscapes.unit_positions import numbered
from ...models.unit_axis import by_unit
from ...models.units import incoming, layers_of, unit_vectors
from .arrays import place, stated_title

# Planes beyond these cannot be taken in at one glance.
MOST = 4


class Plane(NamedTuple):
    """Where the units are in a plane of weight space.

    Attributes:
        title: which weights.
        axes: the names of the two axes.
        points: of every state and unit.
    """

    title: str
    axes: tuple[str, str]
    points: Float[np.ndarray, "F H 2"]


def planes(model: Any, thetas: Float[np.ndarray, "F n"], *, most: int = MOST) -> tuple[Plane, ...]:
    """The planes in which the units of each layer can be seen, lowest layer first.

    Each array of two or more incoming weights per unit has one. Two are drawn as they are, more of them along the two
    directions in which the units are largest along the whole flow.

    Args:
        model: of the flow, with units or without.
        thetas: states of the flow.
        most: number of planes.

    Returns:
        The planes; none for a model without units.
    """
    numbers = numbered(model)
    found = [plane for layer in range(len(layers_of(model))) for plane in _of_layer(numbers, layer, thetas)]
    return tuple(found[:most])


def _of_layer(numbers: Any, layer: int, thetas: Float[np.ndarray, "F n"]) -> Iterator[Plane]:
    units = layers_of(numbers)[layer]
    where = units.name or f"layer {layer + 1}"
    wide = 0
    for slot in units.incoming:
        places = _places(by_unit(slot.where(numbers), slot))
        if places.shape[1] >= 2:
            wide += 1
            path = place(numbers, slot).removeprefix("model.")
            yield _plane(stated_title(units, slot) or f"Incoming weights of units: {path}", thetas[:, places])
    if not wide:
        # A single incoming weight beside a bias, or beside the first outgoing weight.
        rows = incoming(numbers, layer)
        places = _places(rows if rows.shape[1] >= 2 else unit_vectors(numbers, layer)[:, :2])
        if places.shape[1] >= 2:
            yield _plane(f"Weights of units, {where}", thetas[:, places])


def _places(rows: Float[Any, "H ..."]) -> Int[np.ndarray, "H d"]:
    """Positions of the parameters of every unit in the flattened model."""
    array = np.asarray(rows)
    return np.asarray(array.reshape(array.shape[0], int(np.prod(array.shape[1:]))), dtype=int)


def _plane(title: str, weights: Float[np.ndarray, "F H d"]) -> Plane:
    if weights.shape[2] == 2:
        return Plane(title, ("weight 1", "weight 2"), weights)
    vectors = np.linalg.svd(weights.reshape(-1, weights.shape[2]), full_matrices=False)[2]
    return Plane(title, ("principal direction 1", "principal direction 2"), weights @ vectors[:2].T)
