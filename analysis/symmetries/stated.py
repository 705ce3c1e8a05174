"""Tangents of the orbits of symmetries that units declare: mixing, rescaling, and gauges of products."""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...flows import flatten, unflatten
from ...models import Slot, Units, incoming, outgoing
from ...models.unit_axis import by_unit


def stated_directions(model: Any, units: Units, layer: int) -> Float[np.ndarray, "k n"]:
    r"""Tangents of the orbits that one layer's declaration states.

    - Linear units: $U \to BU$, $V \to B^{-\top} V$ for any B; homogeneous ones of degree p: for diagonal B, with
      $B^{-p}$.
    - Slots a, b with degrees $p_a, p_b$: $a_i \to c^{1/p_a} a_i$, $b_i \to c^{-1/p_b} b_i$ for each unit.
    - Slots that enter through $A_i^\top B_i$: $A_i \to C A_i$, $B_i \to C^{-\top} B_i$ for each unit.

    Args:
        model: the network.
        units: the declaration of the layer.
        layer: its number.

    Returns:
        The tangents, one row each, linearly dependent ones included.
    """
    theta = np.asarray(flatten(model))
    marked = unflatten(model, np.arange(theta.size, dtype=theta.dtype))
    u, v = (np.asarray(rows(marked, layer)).astype(int) for rows in (incoming, outgoing))
    found = [np.zeros((0, theta.size))]
    if units.law.linear:
        found.append(_gauges(theta, u[None], v[None]))
    elif units.law.degree is not None:
        found.append(_rescalings(theta, (u, 1.0), (v, units.law.degree)))

    def places(slot: Slot) -> Int[np.ndarray, "H ..."]:
        return np.asarray(by_unit(slot.where(marked), slot)).astype(int)

    slots = [slot for slot in (*units.incoming, *units.outgoing) if slot.degree is not None]
    for a, b in itertools.pairwise(slots):
        sizes = [(places(slot).reshape(len(u), -1), 1 / slot.degree) for slot in (a, b) if slot.degree is not None]
        found.append(_rescalings(theta, *sizes))
    found += [_gauges(theta, places(a), places(b)) for a, b in units.products]
    return np.concatenate(found)


def _rescalings(
    theta: Float[np.ndarray, " n"], first: tuple[Int[np.ndarray, "H a"], float], second: tuple[np.ndarray, float]
) -> Float[np.ndarray, "H n"]:
    """For each unit the change of one part in proportion to itself and a factor, and of the other against it."""
    changes = np.zeros((len(first[0]), theta.size))
    for change, a, b in zip(changes, first[0], second[0], strict=True):
        # One array may hold both, and its changes add up.
        np.add.at(change, a, first[1] * theta[a])
        np.add.at(change, b, -second[1] * theta[b])
    return changes


def _gauges(
    theta: Float[np.ndarray, " n"], first: Int[np.ndarray, "G r a"], second: Int[np.ndarray, "G r b"]
) -> Float[np.ndarray, "k n"]:
    r"""For each group the changes $(CA, -C^\top B)$ for all C of one entry."""
    rows = first.shape[1]
    changes = np.zeros((len(first), rows, rows, theta.size))
    for (g, i, j), change in zip(np.ndindex(*changes.shape[:3]), changes.reshape(-1, theta.size), strict=True):
        np.add.at(change, first[g, i], theta[first[g, j]])
        np.add.at(change, second[g, j], -theta[second[g, i]])
    return changes.reshape(-1, theta.size)
