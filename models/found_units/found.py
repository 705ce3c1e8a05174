"""The units of any model: found in its program, confirmed by number, and their laws measured."""

from dataclasses import KW_ONLY, replace
from typing import Any

import equinox as eqx
import numpy as np

from ..declaration import Slot, Units
from ..unit_law import UnitLaw
from .candidates import Candidate, Place, candidates
from .declared import checked_declarations
from .law import Measured, measure
from .program import AGREEMENT, Program, random_inputs
from .resizing import resizable
from .roles import Roles, permutation_error, roles
from .walk import Walk

SEED = 0
# Random weights at which everything is confirmed: in a network of ReLU units much is inactive at any one of them.
DRAWS = 4
# Axes that nobody would take for units are not spoken of.
EVIDENT = ("is an axis of the input", "is an axis of the output")


class FoundGroup(eqx.Module):
    """Axes of parameters that are permuted together, and what is known of them.

    Attributes:
        name: of the module that holds the first of their parameters.
        count: the number of units.
        places: the arrays and axes, in words.
        units: the declaration of the units, where a declaration can say what they are.
        permutation_error: the largest change of the outputs when the units are permuted, relative to the largest
            output; infinite where the program itself tells the units apart.
        parity: "odd" or "even" if the units' map is that in their incoming parameters, else empty.
        resizable: whether the program works with another number of units, too.
        reason: why there is no declaration; empty where there is one.
    """

    _: KW_ONLY
    name: str = eqx.field(static=True)
    count: int = eqx.field(static=True)
    places: tuple[str, ...] = eqx.field(static=True)
    units: Units | None = eqx.field(static=True)
    permutation_error: float = eqx.field(static=True)
    parity: str = eqx.field(static=True, default="")
    resizable: bool = eqx.field(static=True, default=False)
    reason: str = eqx.field(static=True, default="")

    @property
    def interchangeable(self) -> bool:
        """Whether permuting the units leaves the function unchanged."""
        return self.permutation_error <= AGREEMENT

    def __str__(self) -> str:
        if self.units is None:
            kind = "interchangeable, but no units" if self.interchangeable else "not interchangeable"
            return f"{self.name}: {self.count} {kind}: {self.reason}\n  {'; '.join(self.places)}"
        parity = f", {self.parity}" if self.parity else ""
        error = f"permuting them changes the outputs by {self.permutation_error:.0e}"
        lines = [f"{self.name}: {self.count} units: {self.units.law}{parity}; {error}"]
        for letter, slots in (("u", self.units.incoming), ("v", self.units.outgoing)):
            lines += [f"  {letter}: {slot.where}, {slot}" for slot in slots]
        lines += [f"  enter as a product: {a.where}, {b.where}" for a, b in self.units.products]
        return "\n".join(lines)


class FoundUnits(eqx.Module):
    """The groups of units that were found in a model.

    Attributes:
        model: the name of the model's class.
        groups: all groups, from the lowest layer up.
        declared: how the model's own declaration of units, if it has one, compares with them.
    """

    _: KW_ONLY
    model: str = eqx.field(static=True)
    groups: tuple[FoundGroup, ...] = eqx.field(static=True)
    declared: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def units(self) -> tuple[Units, ...]:
        """The declarations of the layers of units, from the lowest up."""
        return tuple(group.units for group in self.groups if group.units is not None)

    def __str__(self) -> str:
        layers = len(self.units)
        head = f"{self.model}: {layers or 'no'} layer{'' if layers == 1 else 's'} of units found"
        return "\n".join([head, *map(str, self.groups), *self.declared])


def units_of(model: Any, data: Any = None, *, example: Any = None, trainable: Any = eqx.is_inexact_array) -> FoundUnits:
    r"""Finds the units of a model in its program.

    `model(x)` is traced, and the identity of every axis followed through it: products over an axis tie it to that of
    what it is multiplied with, elementwise operations tie it to that of their other arguments, sums end it, an array
    of fixed numbers tells its entries apart. Axes of parameters that are tied to each other, but neither to an input
    nor to an output nor to fixed numbers, are permuted together: their entries are interchangeable.

    At random weights it is then confirmed that the function is $g(\sum_i \phi(x; u_i) v_i)$ of them: permuting them
    changes nothing, two equal units may share their outgoing parameters in any way, and one whose outgoing parameters
    are zero does not act. The law of φ is measured on the derivative along $v_i$ at $v_i = 0$.

    Args:
        model: any Equinox module that maps one input to an output.
        data: a pair (inputs, …) with the samples on the first axis, as losses take it.
        example: one input, where there are no data: an array, or a tuple for a model of several arguments.
        trainable: which arrays are parameters, as in `equinox.partition`; the others are fixed numbers.

    Returns:
        What was found, with the evidence.

    Raises:
        ValueError: without an example, for data of another kind; for a model that cannot be called on one input.
    """
    if example is None and not isinstance(data, tuple | list):
        raise ValueError(
            "to find units the model is traced on one input: give data=(inputs, targets) or example=input."
        )
    batched = example is None
    inputs = random_inputs(model, data[0] if batched else example, batched=batched, seed=SEED)
    program = Program(model, inputs, trainable=trainable)
    walk, generator = Walk(program.traced, len(program.leaves)), np.random.default_rng(SEED)
    thetas = [_random_weights(program, generator) for _ in range(DRAWS)]
    groups: list[FoundGroup] = []
    products: list[tuple[Place, Place]] = []
    for group in candidates(walk, program):
        if group.reason not in EVIDENT:
            rows = any(_are_rows(group, pair) for pair in products)
            confirmed, measured = _examined(program, walk, group, thetas, generator, rows=rows)
            products += measured.products
            groups.append(_described(group, confirmed, measured))
    layers = tuple(group.units for group in groups if group.units is not None)
    sizes = iter(resizable(program, layers, thetas[0]))
    return FoundUnits(
        model=type(model).__name__,
        groups=tuple(group if group.units is None else replace(group, resizable=next(sizes)) for group in groups),
        declared=checked_declarations(program, layers),
    )


def _random_weights(program: Program, generator: np.random.Generator) -> np.ndarray:
    theta = program.draw(generator)
    if np.all(np.isfinite(program.evaluate([theta])[0])):
        return theta
    return program.theta * (1 + 0.3 * generator.standard_normal(theta.size))


def _examined(
    program: Program,
    walk: Walk,
    group: Candidate,
    thetas: list[np.ndarray],
    generator: np.random.Generator,
    *,
    rows: bool,
) -> tuple[Roles, Measured]:
    nothing = Measured(UnitLaw(zero=False, order=0))
    if group.reason:
        return Roles(np.inf), nothing._replace(reason=f"their axis {group.reason}")
    if rows or group.joined:
        error = permutation_error(program, group, thetas, generator)
        rows_reason, joined_reason = (
            "they are the rows of a product within each unit",
            "one axis joins them with others",
        )
        return Roles(error), nothing._replace(reason=rows_reason if rows else joined_reason)
    confirmed = roles(program, group, thetas, generator)
    if confirmed.reason:
        return confirmed, nothing._replace(reason=confirmed.reason)
    return confirmed, measure(program, confirmed, thetas, generator, kinks=walk.kinks)


def _are_rows(group: Candidate, pair: tuple[Place, Place]) -> bool:
    """Whether a group is that of the rows of two matrices that enter as a product."""
    arrays = {place.slot.where for place in group.places}
    return arrays == {place.slot.where for place in pair} and group.size == pair[0].shape[0]


def _described(group: Candidate, confirmed: Roles, measured: Measured) -> FoundGroup:
    name = str(group.places[0].slot.where).rpartition(".")[0] or str(group.places[0].slot.where)
    return FoundGroup(
        name=name,
        count=group.size,
        places=tuple(map(str, group.places)),
        units=None if measured.reason else _declaration(name, confirmed, measured),
        permutation_error=confirmed.permutation_error,
        parity=measured.parity,
        reason=measured.reason,
    )


def _declaration(name: str, found: Roles, measured: Measured) -> Units:
    places = (*found.incoming, *found.outgoing)
    slots = {id(place): _with_degree(place, p) for place, p in zip(places, measured.degrees, strict=True)}
    return Units(
        incoming=tuple(slots[id(place)] for place in found.incoming),
        outgoing=tuple(slots[id(place)] for place in found.outgoing),
        law=measured.law,
        products=tuple((slots[id(a)], slots[id(b)]) for a, b in measured.products),
        name=name,
        additive=measured.additive,
    )


def _with_degree(place: Place, degree: int | None) -> Slot:
    slot = place.slot
    return replace(slot, degree=degree)
