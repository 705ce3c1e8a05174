"""The units of any model that declares them: their parameters read, replaced, combined and scaled."""

import math
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .arguments import whole
from .declaration import Slot, Units
from .unit_axis import array_namespace, by_unit, from_units, mixed, number_of_units


def layers_of(model: Any) -> tuple[Units, ...]:
    """Reads the model's declarations of units.

    Args:
        model: any object.

    Returns:
        The declarations from the lowest layer up; none where the model declares none.

    Raises:
        ValueError: for an attribute `units` of another type, or slots that disagree on the number of units.
    """
    units = getattr(model, "units", None)
    layers = () if units is None else units if isinstance(units, tuple) else (units,)
    for layer in layers:
        if not isinstance(layer, Units):
            raise ValueError(
                "model.units must be a saddlescope.models.Units or a tuple of them, one for each layer; got "
                f"{type(layer).__name__}."
            )
        _check_widths(model, layer)
    return layers


def _check_widths(model: Any, units: Units) -> None:
    widths: set[int] = set()
    for slot in (*units.incoming, *units.outgoing):
        size, each = slot.where(model).shape[slot.axis] - slot.before - slot.after, slot.blocks * slot.entries
        if size < 0 or size % each:
            raise ValueError(f"an axis of {size} entries does not hold units with {each} entries each.")
        widths.add(size // each)
    if len(widths) != 1:
        raise ValueError(f"the declared slots disagree on the number of units: {sorted(widths)}.")


def layer_of(model: Any, layer: int = 0) -> Units | None:
    """The declaration of one layer's units, or `None` where the model declares none.

    Args:
        model: any object.
        layer: the layer, counted from 0; by default the first.

    Returns:
        The declaration.

    Raises:
        ValueError: for a layer that the model does not have.
    """
    layers = layers_of(model)
    if layers and not 0 <= whole("layer", layer) < len(layers):
        raise ValueError(f"{type(model).__name__} has layers of units 0 to {len(layers) - 1}; got {layer}.")
    return layers[layer] if layers else None


def declared_units(model: Any, layer: int = 0) -> Units:
    """The declaration of one layer's units.

    Args:
        model: a model that declares its units.
        layer: the layer, counted from 0; by default the first.

    Returns:
        The declaration.

    Raises:
        ValueError: for a model that declares no units.
    """
    units = layer_of(model, layer)
    if units is None:
        raise ValueError(
            f"{type(model).__name__} declares no units: give it a property `units` that returns a "
            "saddlescope.models.Units, or use only what needs no units."
        )
    return units


def width(model: Any, layer: int = 0) -> int:
    """The number H of units in a layer of a model that declares them."""
    slot = declared_units(model, layer).incoming[0]
    return number_of_units(slot.where(model), slot)


def largest_width(model: Any, layer: int = 0) -> int | None:
    """The number of units that a model's program holds at most in a layer; `None` where it takes any number.

    Args:
        model: which says so by an attribute `largest_widths`, a number or `None` for each layer.
        layer: the layer.

    Returns:
        The number.
    """
    stated = getattr(model, "largest_widths", None)
    return None if stated is None else stated[layer]


def as_jax(array: Any) -> Array:
    """A JAX array of the same values, for which nothing is compiled."""
    # `jnp.asarray` would compile a program for every shape.
    return array if isinstance(array, jax.Array) else jax.device_put(array)


def _rows(model: Any, slots: tuple[Slot, ...]) -> Float[Any, "H N"]:
    arrays = [slot.where(model) for slot in slots]
    xp = array_namespace(*arrays)
    blocks = [by_unit(array, slot) for array, slot in zip(arrays, slots, strict=True)]
    # The row length is spelled out, since -1 is undefined for a network of no units.
    return xp.concatenate([block.reshape(block.shape[0], math.prod(block.shape[1:])) for block in blocks], axis=1)


def rows_of(model: Any, units: Units) -> tuple[Float[Any, "H Nu"], Float[Any, "H Nv"]]:
    """The incoming and the outgoing parameters of every unit of a declaration, one row each."""
    return _rows(model, units.incoming), _rows(model, units.outgoing)


def incoming(model: Any, layer: int = 0) -> Float[Any, "H Nu"]:
    """The incoming parameters u_i of every unit of a layer, one row each."""
    return _rows(model, declared_units(model, layer).incoming)


def outgoing(model: Any, layer: int = 0) -> Float[Any, "H Nv"]:
    """The outgoing parameters v_i of every unit of a layer, one row each."""
    return _rows(model, declared_units(model, layer).outgoing)


def unit_vectors(model: Any, layer: int = 0) -> Float[Any, "H N"]:
    """The full parameters θ_i = [u_i, v_i] of every unit of a layer, one row each."""
    u, v = incoming(model, layer), outgoing(model, layer)
    return array_namespace(u, v).concatenate([u, v], axis=1)


def with_units(model: Any, u: Float[Any, "h Nu"], v: Float[Any, "h Nv"], layer: int = 0) -> Any:
    """Replaces the units of a layer; parameters outside them are unchanged.

    Args:
        model: a model that declares its units.
        u: incoming parameters of the h new units, which may be another number than before.
        v: their outgoing parameters.
        layer: the layer, counted from 0; by default the first.

    Returns:
        The model with these units.

    Raises:
        ValueError: for another number of units where an array is both incoming and outgoing, which leaves its other
            axis undetermined; use `map_units`.
    """
    units = declared_units(model, layer)
    arrays = [slot.where(model) for slot in (*units.incoming, *units.outgoing)]
    if len({id(array) for array in arrays}) < len(arrays) and u.shape[0] != width(model, layer):
        raise ValueError("the units of this layer feed on each other: change their number by map_units.")
    for rows, slots in ((u, units.incoming), (v, units.outgoing)):
        model = _replace(model, slots, rows)
    return model


def _replace(model: Any, slots: tuple[Slot, ...], rows: Float[Any, "h N"]) -> Any:
    start = 0
    for slot in slots:
        array = slot.where(model)
        size = math.prod(by_unit(array, slot).shape[1:])
        block = rows[:, start : start + size]
        model = eqx.tree_at(slot.where, model, as_jax(from_units(block, slot, array)))
        start += size
    return model


def map_units(model: Any, p: Float[Any, "h H"], q: Float[Any, "h H"], layer: int = 0) -> Any:
    r"""Replaces the units of a layer by linear combinations of them: $U' = P U$, $V' = Q V$.

    Args:
        model: a model that declares its units.
        p: P, for the incoming parameters.
        q: Q, for the outgoing parameters.
        layer: the layer, counted from 0; by default the first. Arrays shared with other layers change along one axis.

    Returns:
        The model with h units in the layer.
    """
    units = declared_units(model, layer)
    for matrix, slots in ((p, units.incoming), (q, units.outgoing)):
        for slot in slots:
            model = eqx.tree_at(slot.where, model, as_jax(mixed(matrix, slot.where(model), slot)))
    return model


def units_matrix(model: Any, maps: Iterable[tuple[ArrayLike, ArrayLike, int]]) -> Float[np.ndarray, "n m"]:
    r"""The matrix of `map_units` in one layer after the other, on flattened parameters: $\theta = E \theta'$.

    Args:
        model: the network before, of m parameters.
        maps: (P, Q, layer) for `map_units`, in order.

    Returns:
        E, with a row for each of the n parameters after.
    """
    leaves, structure = jax.tree.flatten(eqx.filter(model, eqx.is_inexact_array))
    sizes = [leaf.size for leaf in leaves]
    basis = np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1]) if leaves else []
    # Every array with an axis more in front: of the parameters' unit vectors.
    stacked = [rows.T.reshape(sum(sizes), *leaf.shape) for rows, leaf in zip(basis, leaves, strict=True)]
    moved = jax.tree.unflatten(structure, stacked)
    for p, q, layer in maps:
        units = declared_units(model, layer)
        for matrix, slots in ((p, units.incoming), (q, units.outgoing)):
            for slot in slots:
                moved = eqx.tree_at(slot.where, moved, mixed(np.asarray(matrix), slot.where(moved), slot, leading=1))
    rows = [leaf.reshape(sum(sizes), math.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(moved)]
    return np.concatenate(rows, axis=1).T


def scaled(model: Any, factor: float) -> Any:
    """The model with every parameter of its units, in all layers, multiplied by `factor`."""
    declared_units(model)
    places = {}
    for units in layers_of(model):
        for slot in (*units.incoming, *units.outgoing):
            places.setdefault(id(slot.where(model)), slot.where)
    wheres = tuple(places.values())
    pick = lambda tree: [where(tree) for where in wheres]  # noqa: E731
    return eqx.tree_at(pick, model, [as_jax(factor * array_namespace(array).asarray(array)) for array in pick(model)])
