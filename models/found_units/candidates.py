"""Groups of units that a program's axes suggest."""

import math
from typing import NamedTuple

import numpy as np

from ..declaration import Slot
from ..unit_axis import by_unit
from .program import Program
from .walk import Walk


class Place(NamedTuple):
    """Where one array holds parameters of a group's units.

    Attributes:
        slot: the array and the axis.
        positions: in the flattened parameters, a row for each unit.
        shape: of one unit's parameters.
        read: the step at which the program last sums over the units with these parameters, 0 where it does not.
        first_use: the step at which the array is first used.
    """

    slot: Slot
    positions: np.ndarray
    shape: tuple[int, ...]
    read: int
    first_use: int

    def __str__(self) -> str:
        blocks = "" if self.slot.blocks == 1 else f" in {self.slot.blocks} blocks"
        entries = "" if self.slot.entries == 1 else f", {self.slot.entries} entries each"
        return f"{self.slot.where}, axis {self.slot.axis}{blocks}{entries}"


class Candidate(NamedTuple):
    """Axes of parameters that are permuted together.

    Attributes:
        places: the axes.
        size: the number of units.
        reason: why the program tells the units apart, empty where it does not.
    """

    places: tuple[Place, ...]
    size: int
    reason: str


def candidates(walk: Walk, program: Program) -> list[Candidate]:
    """The groups of units of a program, in the order in which it first uses their parameters.

    Args:
        walk: through the program.
        program: the program.

    Returns:
        All groups of axes of parameters, also those that the program tells apart.
    """
    identities: dict[int, list[tuple[int, int]]] = {}
    for number, parameter in enumerate(walk.parameters):
        for axis, own in enumerate(parameter.axes):
            for factor in walk.axes.factors(own) if number in walk.first_use else ():
                identities.setdefault(factor, []).append((number, axis))
    found = [_candidate(walk, program, factor, where) for factor, where in identities.items()]
    return sorted(found, key=lambda group: min(place.first_use for place in group.places))


def _candidate(walk: Walk, program: Program, factor: int, where: list[tuple[int, int]]) -> Candidate:
    reason = walk.axes.reasons[factor]
    if len(set(where)) < len(where):
        reason = reason or "occurs twice along one axis"
    places = tuple(_place(walk, program, factor, number, axis) for number, axis in dict.fromkeys(where))
    return Candidate(places, walk.axes.sizes[factor], reason)


def _place(walk: Walk, program: Program, factor: int, number: int, axis: int) -> Place:
    factors = walk.axes.factors(walk.parameters[number].axes[axis])
    sizes, at = [walk.axes.sizes[f] for f in factors], factors.index(factor)
    where = program.leaves[number]
    slot = Slot(where, axis=axis, blocks=math.prod(sizes[:at]), entries=math.prod(sizes[at + 1 :]))
    positions = by_unit(program.positions[number], slot)
    steps = [
        step for n, a, own, step in walk.contracted if (n, a) == (number, axis) and factor in walk.axes.factors(own)
    ]
    return Place(
        slot=slot,
        positions=positions.reshape(len(positions), -1),
        shape=positions.shape[1:],
        read=max(steps, default=0),
        first_use=walk.first_use[number],
    )
