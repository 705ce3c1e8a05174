"""A model together with the units that were found in it."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np

from ..declaration import Slot, Units
from ..units import map_units, width
from .found import FoundUnits, units_of
from .leaf import Leaf


class WithUnits(eqx.Module):
    """A model that declares the units that were found in it; its only part with parameters is the model.

    It computes what the model computes, and has its other attributes, too. With fewer units than were found in a layer
    whose number the program holds fixed, units that nothing reads are added for the program.

    Attributes:
        model: the model.
        units: the declarations, from the lowest layer up.
        widths: the number of units of each layer for which the program was written.
        fixed: for each layer whether the program works with this number only.
    """

    model: Any
    units: tuple[Units, ...] = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    fixed: tuple[bool, ...] = eqx.field(static=True)

    @property
    def largest_widths(self) -> tuple[int | None, ...]:
        """The number of units of each layer that the program holds at most, `None` where it takes any number."""
        return tuple(own if fixed else None for own, fixed in zip(self.widths, self.fixed, strict=True))

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the model computes."""
        return self.at_own_width()(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """The model's other attributes."""
        if name.startswith("__") or "model" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.at_own_width(), name)

    def at_own_width(self) -> Any:
        """The model, with units that nothing reads where it has fewer than its program works with.

        Returns:
            A model of the class that was given.

        Raises:
            ValueError: for more units than the program works with.
        """
        padded = self
        for layer, (own, fixed) in enumerate(zip(self.widths, self.fixed, strict=True)):
            count = width(padded, layer)
            if fixed and count > own:
                raise ValueError(f"the program of {type(self.model).__name__} works with {own} units; got {count}.")
            if fixed and count < own:
                # Copies rather than zeros, at which a normalised unit has no value.
                p = np.eye(own, count)
                p[count:, :1] = 1.0
                padded = map_units(padded, p, np.eye(own, count), layer)
        return padded.model

    def __str__(self) -> str:
        return f"{self.model}\n" + "\n".join(map(str, self.units))


def with_units_found(
    model: Any, data: Any = None, *, example: Any = None, trainable: Any = eqx.is_inexact_array
) -> WithUnits:
    """The model with a declaration of the units that are found in it, so that all analysis of units works.

    Args:
        model: as for `units_of`.
        data: as for `units_of`.
        example: as for `units_of`.
        trainable: as for `units_of`.

    Returns:
        A module with the same parameters in the same order that computes the same.
    """
    return declaring(model, units_of(model, data, example=example, trainable=trainable))


def declaring(model: Any, found: FoundUnits) -> WithUnits:
    """The model with a declaration of units that were found before, in it or in one of the same class and shapes.

    Args:
        model: the model.
        found: what `units_of` returned.

    Returns:
        A module with the same parameters in the same order that computes the same.
    """
    groups = [group for group in found.groups if group.units is not None]
    return WithUnits(
        model=model,
        units=tuple(_within(units) for units in found.units),
        widths=tuple(group.count for group in groups),
        fixed=tuple(not group.resizable for group in groups),
    )


def _within(units: Units) -> Units:
    """The declaration of the same units in a module that holds the model as its attribute `model`."""
    slots = {slot: _slot_within(slot) for slot in (*units.incoming, *units.outgoing)}
    return Units(
        incoming=tuple(slots[slot] for slot in units.incoming),
        outgoing=tuple(slots[slot] for slot in units.outgoing),
        law=units.law,
        products=tuple((slots[a], slots[b]) for a, b in units.products),
        name=units.name,
        additive=units.additive,
    )


def _slot_within(slot: Slot) -> Slot:
    where = slot.where
    assert isinstance(where, Leaf)
    return replace(slot, where=where.within("model"))
