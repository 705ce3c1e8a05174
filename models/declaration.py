"""How a model declares where its units are: the one statement on which all analysis of units rests."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx

from .unit_law import UnitLaw


class Slot(eqx.Module):
    """One parameter array that is divided among the units.

    Attributes:
        where: picks the array out of the model, as in `equinox.tree_at`.
        axis: the axis that counts units; by default 0.
        degree: degree of homogeneity of a unit's output in this array alone (others fixed), or `None` (the default)
            where it has none; each pair of slots with a degree gives a conserved quantity per unit.
        blocks: how often the units follow each other along the axis, by default once: 3 for the three gates of a GRU.
        entries: number of neighbouring entries of each unit along the axis, by default one: the size of a head.
        before: number of entries at the beginning of the axis that belong to no unit, by default none.
        after: the same at its end, as where units are joined with the input.
        name: what the array holds, for figures, such as "keys of heads"; by default empty: its place in the model.
    """

    where: Callable[[Any], Any] = eqx.field(static=True)
    _: KW_ONLY
    axis: int = eqx.field(static=True, default=0)
    degree: int | None = eqx.field(static=True, default=None)
    blocks: int = eqx.field(static=True, default=1)
    entries: int = eqx.field(static=True, default=1)
    before: int = eqx.field(static=True, default=0)
    after: int = eqx.field(static=True, default=0)
    name: str = eqx.field(static=True, default="")

    def __str__(self) -> str:
        homogeneous = "" if self.degree is None else f", homogeneous of degree {self.degree}"
        blocks = "" if self.blocks == 1 else f", in each of {self.blocks} blocks"
        entries = "" if self.entries == 1 else f", {self.entries} entries each"
        others = (
            "" if self.before == self.after == 0 else f", without {self.before} entries before and {self.after} after"
        )
        return f"units on axis {self.axis}{blocks}{entries}{others}{homogeneous}"


class Units(eqx.Module):
    r"""Declares that a model is $g_{out}(\sum_{i=1}^H \phi(g_{in}(x); u_i) v_i)$ and where $u_i$ and $v_i$ are.

    A model declares its units by an attribute or property `units` that holds this record or, for a model with units
    in several layers, a tuple of them. One array may serve two layers: the weights between them are outgoing
    parameters of the units below, along one axis, and incoming ones of the units above, along the other.

    Attributes:
        incoming: the slots that make up $u_i$, at least one.
        outgoing: the slots that make up $v_i$, in which the output is linear.
        law: the properties of $\phi$ as a function of $u$.
        products: pairs of slots that hold matrices A and B of every unit, with the same number of rows, which enter
            through $A^\top B$ alone; by default none.
        name: of the layer, for tables; by default empty.
        additive: whether the model's output is this sum itself, $g_{out} = 1$, up to an offset that is added to it; by
            default not.

    Source: Zhang, Saxe & Latham (2025), Eq. 1.
    """

    _: KW_ONLY
    incoming: tuple[Slot, ...] = eqx.field(static=True)
    outgoing: tuple[Slot, ...] = eqx.field(static=True)
    law: UnitLaw = eqx.field(static=True)
    products: tuple[tuple[Slot, Slot], ...] = eqx.field(static=True, default=())
    name: str = eqx.field(static=True, default="")
    additive: bool = eqx.field(static=True, default=False)

    def __str__(self) -> str:
        lines = [f"{self.name or 'units'}: {self.law}"]
        lines += [f"u: {slot}" for slot in self.incoming] + [f"v: {slot}" for slot in self.outgoing]
        return "\n".join(lines)
