"""Groups of units that a program's axes suggest."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..declaration import Slot
from ..unit_axis import by_unit
from .axes import Axis
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

    @property
    def has_ends(self) -> bool:
        """Whether the axis has entries that belong to no unit of the group."""
        return self.slot.before + self.slot.after > 0

    def __str__(self) -> str:
        blocks = "" if self.slot.blocks == 1 else f" in {self.slot.blocks} blocks"
        entries = "" if self.slot.entries == 1 else f", {self.slot.entries} entries each"
        ends = f" without {self.slot.before} before and {self.slot.after} after" if self.has_ends else ""
        return f"{self.slot.where}, axis {self.slot.axis}{ends}{blocks}{entries}"


class Candidate(NamedTuple):
    """Axes of parameters that are permuted together.

    Attributes:
        places: the axes.
        size: the number of units.
        reason: why the program tells the units apart, empty where it does not.
        joined: whether an axis joins them with other units, so that no slot says where they are at every width.
    """

    places: tuple[Place, ...]
    size: int
    reason: str
    joined: bool = False


def candidates(walk: Walk, program: Program) -> list[Candidate]:
    """The groups of units of a program, in the order in which it first uses their parameters.

    Args:
        walk: through the program.
        program: the program.

    Returns:
        All groups of axes of parameters, also those that the program tells apart.
    """
    identities: dict[int, list[_Where]] = {}
    for number, parameter in enumerate(walk.parameters):
        for axis, own in enumerate(parameter.axes):
            for factor, where in _identities(walk, number, axis, own) if number in walk.first_use else ():
                identities.setdefault(factor, []).append(where)
    found = _apart([_candidate(walk, program, factor, where) for factor, where in identities.items()])
    return sorted(found, key=lambda group: min(place.first_use for place in group.places))


def _apart(found: list[Candidate]) -> list[Candidate]:
    """The groups, with a mark at those that would move others along one axis if their number changed."""
    ends = [
        set() if group.reason else {(place.slot.where, place.slot.axis) for place in group.places if place.has_ends}
        for group in found
    ]
    shared = [any(one & other for k, other in enumerate(ends) if k != j) for j, one in enumerate(ends)]
    return [group._replace(joined=joined) for group, joined in zip(found, shared, strict=True)]


class _Where(NamedTuple):
    """Where a factor occurs: parameter and axis, and the numbers of entries of which it is one.

    Attributes:
        number: of the parameter.
        axis: of the parameter.
        blocks: how often the factor follows itself.
        entries: the number of neighbouring entries of each of its own.
        before: entries of the axis before those that it counts.
        after: the same after them.
    """

    number: int
    axis: int
    blocks: int
    entries: int
    before: int = 0
    after: int = 0


def _identities(walk: Walk, number: int, axis: int, own: Axis) -> Iterator[tuple[int, _Where]]:
    """The factors of an axis of a parameter, and those of the axes that it joins."""
    axes, factors = walk.axes, walk.axes.factors(own)
    sizes = [axes.sizes[factor] for factor in factors]
    for at, factor in enumerate(factors):
        blocks, entries = math.prod(sizes[:at]), math.prod(sizes[at + 1 :])
        joined = axes.stretches(factor)
        if not joined:
            yield factor, _Where(number, axis, blocks, entries)
        for before, part in joined:
            after = sizes[at] - before - axes.size(part)
            for inner, where in _identities(walk, number, axis, part):
                if blocks > 1 or where.before or where.after:
                    axes.fix((inner,), "is joined with another in several places")
                each = where.entries * entries
                yield inner, _Where(number, axis, where.blocks, each, before * entries, after * entries)


def _candidate(walk: Walk, program: Program, factor: int, where: list[_Where]) -> Candidate:
    reason = walk.axes.reasons[factor]
    if len({(each.number, each.axis) for each in where}) < len(where):
        reason = reason or "occurs twice along one axis"
    places = tuple(_place(walk, program, factor, each) for each in dict.fromkeys(where))
    return Candidate(places, walk.axes.sizes[factor], reason)


def _place(walk: Walk, program: Program, factor: int, where: _Where) -> Place:
    number, axis, blocks, entries, before, after = where
    slot = Slot(program.leaves[number], axis=axis, blocks=blocks, entries=entries, before=before, after=after)
    positions = by_unit(program.positions[number], slot)
    steps = [
        step for n, a, own, step in walk.contracted if (n, a) == (number, axis) and factor in walk.axes.all_factors(own)
    ]
    return Place(
        slot=slot,
        positions=positions.reshape(len(positions), -1),
        shape=positions.shape[1:],
        read=max(steps, default=0),
        first_use=walk.first_use[number],
    )
