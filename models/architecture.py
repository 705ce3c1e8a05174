"""The architecture of one layer of units: all that has to be stated for a network to be built of it."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .features import Features
from .unit_law import UnitLaw


class Architecture(eqx.Module):
    r"""What a unit is: its shapes, its law, and the sum $\sum_i \phi(z; u_i)\, v_i$ over units.

    A new architecture states `law`, `shapes`, `slot_degrees` and `output`; three defaults hold unless overridden.

    Attributes:
        outputs: number of entries of the sum, at least 1.
    """

    outputs: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def law(self) -> UnitLaw:
        r"""The properties of $\phi(z; u)$ as a function of $u$."""

    @property
    @abc.abstractmethod
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one unit's arrays; the last array is v, whose last axis counts the outputs."""

    @property
    @abc.abstractmethod
    def slot_degrees(self) -> tuple[int | None, ...]:
        """The degree of homogeneity of a unit in each of its arrays alone, or `None` where there is none."""

    # Overrides name the arrays of their unit; this is the signature that type checkers let them narrow.
    @abc.abstractmethod
    def output(self, z: Any, *arrays: Any, **named_arrays: Any) -> Float[Array, " outputs"]:
        """The sum over all units.

        Args:
            z: one input (no batch axis).
            *arrays: the arrays of all units, in the order of `shapes`, with the units on a first axis H.
            **named_arrays: the same by name.

        Returns:
            The sum, of `outputs` entries.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """What the arrays of `shapes` hold, in their order, for figures; by default weights, incoming and outgoing."""
        count = len(self.shapes) - 1
        numbers = [""] if count == 1 else [f" {k + 1}" for k in range(count)]
        return *(f"incoming weights{number} of units" for number in numbers), "outgoing weights of units"

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        r"""Pairs of positions in `shapes` whose arrays A, B enter through $A^\top B$ alone; by default none."""
        return ()

    @property
    def features(self) -> Features | None:
        """The features in which `output` is linear, with coefficients of a model's `parameters`; by default none."""
        return None

    def __str__(self) -> str:
        return f"{form(self)}\n{self.law}"


def form(architecture: Architecture) -> str:
    """The settings of an architecture and the shapes of one unit, in one line."""
    fields = {field.name: getattr(architecture, field.name) for field in dataclasses.fields(architecture)}
    settings = ", ".join(f"{name}={getattr(value, 'name', value)}" for name, value in fields.items())
    *u, v = architecture.shapes
    return f"{type(architecture).__name__}({settings}): u {', '.join(map(str, u))}, v {v}"
