"""The axis of an array that counts units: brought to the front, put back, and mixed."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, Shaped

from .declaration import Slot


def array_namespace(*arrays: Any) -> Any:
    """NumPy where all values are known, so that nothing is compiled for small changes to them; else `jax.numpy`."""
    return jnp if any(isinstance(array, Tracer) for array in arrays) else np


def by_unit(array: Shaped[Any, "..."], slot: Slot, leading: int = 0) -> Shaped[Any, "H ..."]:
    """An array with its units on the first axis.

    Args:
        array: the array that a slot picks.
        slot: the slot.
        leading: number of axes before those of the array in the model, by default none.

    Returns:
        The parameters of each unit; where it has several blocks or entries, the next axes count them.
    """
    xp, axis = array_namespace(array), slot.axis % (array.ndim - leading) + leading
    # Slices of JAX's arrays would compile a program for every shape.
    _, array, _ = _apart(xp.asarray(array), slot, axis)
    before, size, after = array.shape[:axis], array.shape[axis], array.shape[axis + 1 :]
    each = slot.blocks * slot.entries
    apart = array.reshape(*before, slot.blocks, size // each, slot.entries, *after)
    own = tuple(count for count in (slot.blocks, slot.entries) if count > 1)
    moved = xp.moveaxis(apart, (axis + 1, axis, axis + 2), (0, 1, 2))
    return moved.reshape(size // each, *own, *before, *after)


def number_of_units(array: Shaped[Any, "..."], slot: Slot) -> int:
    """The number of units on the axis of an array that a slot picks."""
    return (array.shape[slot.axis] - slot.before - slot.after) // (slot.blocks * slot.entries)


def _apart(array: Any, slot: Slot, axis: int) -> list[Any]:
    """The array before the entries of units, that of these, and that after them."""
    ends = (0, slot.before, array.shape[axis] - slot.after, array.shape[axis])
    index = (slice(None),) * axis
    return [array[(*index, slice(start, end))] for start, end in itertools.pairwise(ends)]


def from_units(rows: Float[Any, "h ..."], slot: Slot, array: Shaped[Any, "..."], leading: int = 0) -> Float[Any, "..."]:
    """The array with given units in place of its own: inverse of `by_unit`.

    Args:
        rows: the parameters of each unit, of any number of units.
        slot: the slot.
        array: an array that the slot picks; what belongs to no unit is as in it.
        leading: number of axes before those of the array in the model, by default none.

    Returns:
        The array.
    """
    axis = slot.axis % (array.ndim - leading) + leading
    before, after, count = array.shape[:axis], array.shape[axis + 1 :], rows.shape[0]
    moved = rows.reshape(count, slot.blocks, slot.entries, *before, *after)
    apart = array_namespace(rows).moveaxis(moved, (0, 1, 2), (axis + 1, axis, axis + 2))
    units = apart.reshape(*before, slot.blocks * count * slot.entries, *after)
    if slot.before == slot.after == 0:
        return units
    xp = array_namespace(rows, array)
    first, _, last = _apart(xp.asarray(array), slot, axis)
    return xp.concatenate([first, units, last], axis=axis)


def mixed(matrix: Float[Any, "h H"], array: Float[Any, "..."], slot: Slot, leading: int = 0) -> Float[Any, "..."]:
    """An array whose units are replaced by linear combinations of them.

    Args:
        matrix: the coefficients, a row for each new unit.
        array: the array that a slot picks.
        slot: the slot.
        leading: number of axes before those of the array in the model, by default none.

    Returns:
        The array of the new units.
    """
    xp = array_namespace(matrix, array)
    rows = by_unit(array, slot, leading)
    return from_units(xp.tensordot(xp.asarray(matrix, array.dtype), rows, axes=1), slot, array, leading)
