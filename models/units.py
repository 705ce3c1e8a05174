"""Where the units of a model are: one declaration, from which everything above works for every architecture."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .unit_law import UnitLaw


class Slot(eqx.Module):
    """One parameter array that is divided among the units.

    - `where`: picks the array out of the model, as in `equinox.tree_at`.
    - `axis`: the axis that counts units.
    - `degree`: degree of homogeneity of a unit's output in this array alone (others fixed), if it has one; each
      pair of slots with a degree gives a conserved quantity per unit.
    """

    where: Callable[[Any], Array] = eqx.field(static=True)
    axis: int = eqx.field(static=True, default=0)
    degree: int | None = eqx.field(static=True, default=None)


class Units(eqx.Module):
    r"""Declares that a model is $g_{out}(\sum_{i=1}^H \phi(z; u_i) v_i)$ and where $u_i$ and $v_i$ are.

    A model declares its units by an attribute or property `units` that holds this record.

    - `incoming`: the slots that make up $u_i$.
    - `outgoing`: the slots that make up $v_i$, in which the output is linear.
    - `law`: the properties of $\phi$ as a function of $u$.

    Source: Zhang, Saxe & Latham (2025), Eq. 1.
    """

    incoming: tuple[Slot, ...] = eqx.field(static=True)
    outgoing: tuple[Slot, ...] = eqx.field(static=True)
    law: UnitLaw = eqx.field(static=True)


def units_of(model: Any) -> Units | None:
    """The model's declaration of units, or `None` where it has none."""
    units = getattr(model, "units", None)
    if units is not None and not isinstance(units, Units):
        raise ValueError(f"model.units must be a saddlescope.models.Units; got {type(units).__name__}.")
    if units is not None:
        _check_widths(model, units)
    return units


def _check_widths(model: Any, units: Units) -> None:
    widths = {slot.where(model).shape[slot.axis] for slot in (*units.incoming, *units.outgoing)}
    if len(widths) != 1:
        raise ValueError(f"the declared slots disagree on the number of units: {sorted(widths)}.")


def declared_units(model: Any) -> Units:
    """The model's declaration of units; a `ValueError` where it has none."""
    units = units_of(model)
    if units is None:
        raise ValueError(
            f"{type(model).__name__} declares no units: give it a property `units` that returns a "
            "saddlescope.models.Units, or use only what needs no units."
        )
    return units


def width(model: Any) -> int:
    """The number H of units of a model that declares them."""
    slot = declared_units(model).incoming[0]
    return slot.where(model).shape[slot.axis]


def _rows(model: Any, slots: tuple[Slot, ...]) -> Float[Array, "H N"]:
    blocks = [jnp.moveaxis(slot.where(model), slot.axis, 0) for slot in slots]
    # The row length is spelled out, since -1 is undefined for a network of no units.
    return jnp.concatenate([block.reshape(block.shape[0], math.prod(block.shape[1:])) for block in blocks], axis=1)


def incoming(model: Any) -> Float[Array, "H Nu"]:
    """The incoming parameters u_i of every unit, one row each."""
    return _rows(model, declared_units(model).incoming)


def outgoing(model: Any) -> Float[Array, "H Nv"]:
    """The outgoing parameters v_i of every unit, one row each."""
    return _rows(model, declared_units(model).outgoing)


def unit_vectors(model: Any) -> Float[Array, "H Nu+Nv"]:
    """The full parameters θ_i = [u_i, v_i] of every unit, one row each."""
    return jnp.concatenate([incoming(model), outgoing(model)], axis=1)


def with_units(model: Any, u: Float[Array, "h Nu"], v: Float[Array, "h Nv"]) -> Any:
    """The same model with other units, possibly of another number h; parameters outside the units stay."""
    units = declared_units(model)
    for rows, slots in ((u, units.incoming), (v, units.outgoing)):
        model = _replace(model, slots, rows)
    return model


def _replace(model: Any, slots: tuple[Slot, ...], rows: Float[Array, "h N"]) -> Any:
    start = 0
    for slot in slots:
        shape = list(slot.where(model).shape)
        del shape[slot.axis]
        size = math.prod(shape)
        block = rows[:, start : start + size].reshape(rows.shape[0], *shape)
        model = eqx.tree_at(slot.where, model, jnp.moveaxis(block, 0, slot.axis))
        start += size
    return model
