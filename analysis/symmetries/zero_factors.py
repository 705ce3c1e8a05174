"""Parameters that are free beside a factor that is zero: the outputs do not depend on them there."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...flows import flatten
from ...flows.landscapes.unit_positions import numbered, slot_positions
from ...models import Slot, Units
from ...models.units import layers_of


class Factors(NamedTuple):
    r"""Matrices A and B in each of G groups, of which the outputs depend through $A^\top B$, or not on B where A = 0.

    Attributes:
        fixed: positions of A in the flattened model.
        free: positions of B, with as many rows.
    """

    fixed: Int[np.ndarray, "G r a"]
    free: Int[np.ndarray, "G r b"]


def factors_of(model: Any) -> Iterator[Factors]:
    r"""The factors that a model's units declare.

    A unit $\phi(z; u) v$ does not depend on u where v = 0, nor on v where $\phi(z; 0) = 0$ and u = 0, nor on anything
    else where an array is zero in which it is homogeneous. Matrices whose product enters, and $u_i$ and $v_i$ of all
    linear units, act through their product: one is free on the left null space of the other.

    Args:
        model: with declared units, or none.

    Yields:
        All pairs of factors, each way.
    """
    numbers = numbered(model)
    for units in layers_of(model):
        yield from _of_layer(numbers, units)


def _of_layer(numbers: Any, units: Units) -> Iterator[Factors]:
    def rows(*slots: Slot) -> Int[np.ndarray, "H d"]:
        parts = [slot_positions(numbers, slot) for slot in slots]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    u, v, slots = rows(*units.incoming), rows(*units.outgoing), (*units.incoming, *units.outgoing)
    if units.law.linear:
        # One group, whose rows are the units.
        yield from (Factors(u[None], v[None]), Factors(v[None], u[None]))
        return
    yield Factors(v[:, None], u[:, None])
    if units.law.zero:
        yield Factors(u[:, None], v[:, None])
    for slot in slots:
        if slot.degree is not None:
            others = rows(*(other for other in slots if other is not slot))
            yield Factors(rows(slot)[:, None], others[:, None])
    for a, b in units.products:
        first, second = (slot_positions(numbers, slot) for slot in (a, b))
        yield from (Factors(first, second), Factors(second, first))


def free_directions(
    model: Any, basis: Float[np.ndarray, "n m"], *, zero: float, inside: float
) -> Float[np.ndarray, "k m"]:
    r"""The directions within a subspace along which only parameters beside a zero factor move.

    On each of the sets of parameters that one kind of factor leaves free the outputs are constant, and with them every
    loss of outputs; not on their sum, as the product of two factors changes where both do.

    Args:
        model: the network.
        basis: orthonormal columns that span the subspace.
        zero: singular values of a factor up to this are zero.
        inside: a direction lies in both subspaces if all of it but this share does.

    Returns:
        Unit vectors, as coefficients of the basis, linearly dependent ones included.
    """
    theta, found = np.asarray(flatten(model)), [np.zeros((0, basis.shape[1]))]
    for factors in factors_of(model) if basis.shape[1] else ():
        for fixed, free in _jointly(factors):
            rows = _free_coordinates(theta[fixed], free, basis, zero)
            _, cosines, directions = np.linalg.svd(rows, full_matrices=False)
            # What is outside is known to the square root of rounding, as cosines are.
            outside = np.sqrt(np.maximum(1 - cosines**2, np.finfo(float).eps))
            found.append(directions[outside < inside])
    return np.concatenate(found)


def _jointly(factors: Factors) -> Iterator[Factors]:
    """Groups whose free parameters may move together without moving a factor."""
    fixed, free = factors
    if not np.intersect1d(fixed, free).size:
        yield factors
    elif fixed.shape[1] == 1:
        # Where units feed on each other, what is free beside one may be a factor of another; what a unit that nobody
        # else reads makes of itself does not matter, nor of nothing.
        for a, b in zip(fixed[:, 0], free[:, 0], strict=True):
            yield Factors(np.setdiff1d(a, b)[None, None], b[None, None])


def _free_coordinates(
    factors: Float[np.ndarray, "G r a"], free: Int[np.ndarray, "G r b"], basis: Float[np.ndarray, "n m"], zero: float
) -> Float[np.ndarray, "k m"]:
    """The projections of a basis to the free parameters."""
    rows = [np.zeros((0, basis.shape[1]))]
    for factor, positions in zip(factors, free, strict=True):
        left, values, _ = np.linalg.svd(factor)
        null = left[:, np.sum(values > zero) :]
        if null.shape[1] and positions.size:
            rows.append(np.einsum("rk,rbm->kbm", null, basis[positions]).reshape(-1, basis.shape[1]))
    return np.concatenate(rows)
