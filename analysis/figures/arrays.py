"""What the arrays of a model are called in figures."""

from typing import Any

import numpy as np

from ...flows.landscapes.unit_positions import numbered
from ...models.declaration import Slot, Units
from ...models.units import layers_of
from ..observables.weights import named_arrays


def place(numbers: Any, slot: Slot) -> str:
    """The path of a slot's array in a numbered model; empty where the slot is no array of its own."""
    wanted = np.asarray(slot.where(numbers))
    return next((name for name, array in named_arrays(numbers).items() if np.array_equal(array, wanted)), "")


def stated_title(units: Units, slot: Slot) -> str:
    """What a slot's array is stated to hold, as a title; empty where nothing is stated."""
    of_layer = f", {units.name}" if slot.name and units.name else ""
    return slot.name[:1].upper() + slot.name[1:] + of_layer


def array_titles(model: Any) -> dict[str, str]:
    """The stated titles of a model's arrays by their path; of an array between two layers, that of the lower one."""
    numbers = numbered(model)
    titles: dict[str, str] = {}
    for units in layers_of(numbers):
        for slot in (*units.incoming, *units.outgoing):
            if slot.name:
                titles.setdefault(place(numbers, slot), stated_title(units, slot))
    return titles
