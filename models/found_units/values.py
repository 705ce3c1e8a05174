"""What is known of an array in a program: the identities of its axes, and the parameters it is made of."""

from typing import Any, NamedTuple

import numpy as np

from .axes import Axes, Axis

Origin = frozenset[tuple[int, int]]


class Value(NamedTuple):
    """An array in a program.

    Attributes:
        axes: the identities of its axes.
        origins: for each axis the axes of parameters (number, axis) it is made of, if inputs do not enter.
        parameters: the numbers of the parameters that it is made of; `None` where inputs enter, too.
    """

    axes: tuple[Axis, ...]
    origins: tuple[Origin, ...]
    parameters: frozenset[int] | None


def value(axes: tuple[Axis, ...], *made_of: Value) -> Value:
    """An array of given axes, made of others, or of inputs where none are named."""
    parts = [each.parameters for each in made_of]
    known = [part for part in parts if part is not None]
    parameters = frozenset[int]().union(*known) if known and len(known) == len(parts) else None
    return Value(axes, (frozenset(),) * len(axes), parameters)


def parameter(axes: Axes, number: int, shape: tuple[int, ...]) -> Value:
    """A parameter, each of whose axes has an identity of its own."""
    own = tuple(axes.new(size) for size in shape)
    return Value(own, tuple(frozenset({(number, axis)}) for axis in range(len(shape))), frozenset({number}))


def fixed(axes: Axes, shape: tuple[int, ...], reason: str) -> Value:
    """An array the order of whose entries matters along every axis."""
    return Value(tuple(axes.new(size, reason) for size in shape), (frozenset(),) * len(shape), frozenset())


def constant(axes: Axes, array: Any) -> Value:
    """A fixed array: the order of its entries matters along the axes on which they differ."""
    shape: tuple[int, ...] = np.shape(array)
    try:
        entries = np.asarray(array)
    except TypeError:  # random keys
        return fixed(axes, shape, "meets a fixed array")
    uniform = [bool(np.all(entries == entries.take([0], axis))) if size else True for axis, size in enumerate(shape)]
    reasons = ["" if same else "meets a fixed array" for same in uniform]
    own = tuple(axes.new(size, reason) for size, reason in zip(shape, reasons, strict=True))
    return Value(own, (frozenset(),) * len(own), frozenset())
