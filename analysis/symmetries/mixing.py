"""Rows of parameters that may be mixed without changing any output, and the dimension of the orbit of all mixings."""

import itertools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ...flows import flatten, unflatten
from ...flows.compilation.traced import Traced, trace
from ...flows.landscapes.unit_positions import numbered, slot_positions, unit_positions
from ...models import incoming
from ...models.units import layers_of
from ..numerical_rank import DERIVATIVE_TOLERANCE
from .outputs import outputs_on

# Numbers of the tangents of orbits that touch the same parameters, of which more are not decomposed: 200 MB.
LARGEST = 25_000_000


class Mixing(NamedTuple):
    r"""Matrices U and V of parameters for which $(BU, B^{-p\top} V)$ computes the same as $(U, V)$, for any B.

    Attributes:
        first: positions of U in the flattened parameters, one row for each that is mixed.
        second: those of V.
        degree: p, any positive number where B is diagonal.
        diagonal: whether B has to be diagonal, and positive.
    """

    first: Int[np.ndarray, "r a"]
    second: Int[np.ndarray, "r b"]
    degree: float
    diagonal: bool

    @property
    def size(self) -> int:
        """The number of generators."""
        return len(self.first) if self.diagonal else len(self.first) ** 2

    @property
    def places(self) -> Int[np.ndarray, " k"]:
        """The positions of the parameters that it changes."""
        return np.unique(np.concatenate([self.first.ravel(), self.second.ravel()]))

    def tangents(
        self, theta: Float[np.ndarray, " n"], places: Int[np.ndarray, " k"] | None = None
    ) -> Float[np.ndarray, "m k"]:
        """The directions in which the generators move parameters θ, one row each.

        Args:
            theta: θ.
            places: the positions of the parameters of interest, increasing, all that change among them; by default all.

        Returns:
            The directions.
        """
        rows = np.arange(len(self.first))
        i, j = (rows, rows) if self.diagonal else (index.ravel() for index in np.indices((len(rows), len(rows))))
        places = np.arange(theta.size) if places is None else places
        changes, row = np.zeros((len(i), len(places))), np.arange(len(i))[:, None]
        # One array may hold both, and its changes add up.
        np.add.at(changes, (row, np.searchsorted(places, self.first[i])), theta[self.first[j]])
        np.add.at(changes, (row, np.searchsorted(places, self.second[j])), -self.degree * theta[self.second[i]])
        return changes


def mixings(model: Any, data: Any) -> tuple[Mixing, ...]:
    """All mixings that the declarations of a model's units imply, in as small parts as the outputs allow.

    The two matrices of a product within each unit; the units of one layer, any of them if they are linear, and each by
    itself if they are homogeneous; the arrays of a unit in which it is homogeneous, each against the next. Where the
    parameters of linear units are divided among the units of another layer, as the rows of heads are among heads, each
    part is mixed by itself if that is confirmed by number.

    Args:
        model: with declared units.
        data: a pair (x, y) with generic inputs, or sufficient statistics.

    Returns:
        The mixings.
    """
    numbers, found = numbered(model), []
    for layer, units in enumerate(layers_of(model)):
        for pair in units.products:
            matrices = [slot_positions(numbers, slot) for slot in pair]
            if all(matrix.ndim == 3 for matrix in matrices):
                found += [Mixing(a, b, 1, False) for a, b in zip(*matrices, strict=True)]
        # Those of linear units are among the mixings of all of them.
        slots = () if units.law.linear else (*units.incoming, *units.outgoing)
        homogeneous = [(slot_positions(numbers, slot), slot.degree) for slot in slots if slot.degree is not None]
        for (a, p), (b, q) in itertools.pairwise(homogeneous):
            found.append(Mixing(a.reshape(len(a), -1), b.reshape(len(b), -1), p / q, True))
        if units.law.degree is not None:
            u, v = np.split(unit_positions(model, layer), [incoming(model, layer).shape[1]], axis=1)
            whole = Mixing(u, v, units.law.degree, not units.law.linear)
            found += _parts(model, data, whole) if units.law.linear else [whole]
    return tuple(found)


def orbit_dimension(model: Any, data: Any, *, least: float = 0.0) -> int:
    """The dimension of the orbit of a model's parameters under its mixings: so many null directions at least.

    At a critical point the Hessian vanishes along orbits of symmetries. Tangents that share no parameters are counted
    apart; of those that share some only as many as can be decomposed.

    Args:
        model: with declared units.
        data: as for `mixings`.
        least: the length up to which a tangent counts as zero.

    Returns:
        The dimension, or less.
    """
    theta, total = flatten(model), 0
    for members in _apart(mixings(model, data), theta.size):
        used = np.unique(np.concatenate([mixing.places for mixing in members]))
        if sum(mixing.size for mixing in members) * len(used) <= LARGEST:
            tangents = np.concatenate([mixing.tangents(theta, used) for mixing in members])
            values = np.linalg.svd(tangents, compute_uv=False)
            total += int(np.sum(values > max(least, DERIVATIVE_TOLERANCE * float(np.max(values, initial=0.0)))))
    return total


def _apart(found: tuple[Mixing, ...], size: int) -> list[list[Mixing]]:
    """Mixings in groups of which no two change the same parameters."""
    owner, groups = np.full(size, -1), dict[int, list[Mixing]]()
    for number, mixing in enumerate(found):
        groups[number] = [mixing]
        for other in np.unique(owner[mixing.places]):
            if other >= 0:
                groups[number] += groups.pop(int(other))
                owner[owner == other] = number
        owner[mixing.places] = number
    return list(groups.values())


def _parts(model: Any, data: Any, whole: Mixing) -> list[Mixing]:
    """The parts of a mixing, each in one unit of another layer, of which each may be mixed by itself; or the whole."""
    for layer in range(len(layers_of(model))):
        owner = np.full(flatten(model).size, -1)
        for unit, places in enumerate(unit_positions(model, layer)):
            owner[places] = unit
        first, second = owner[whole.first], owner[whole.second]
        # Rows of one layer's units belong to all of them.
        units = np.unique(first[0])
        if np.any(first != first[0]) or np.any(second != second[0]) or len(units) < 2 or units[0] < 0:
            continue
        if not np.array_equal(units, np.unique(second[0])):
            continue
        parts = [
            Mixing(whole.first[:, first[0] == k], whole.second[:, second[0] == k], whole.degree, whole.diagonal)
            for k in units
        ]
        if _changes_nothing(model, data, parts[0]):
            return parts
    return [whole]


def _changes_nothing(model: Any, data: Any, mixing: Mixing) -> bool:
    """Whether a random mixing of random parameters leaves the outputs as they are, to first order."""
    outputs, random, size = outputs_on(model, data), np.random.default_rng(0), flatten(model).size
    if outputs is None:
        return False
    theta = random.standard_normal(size)
    direction = random.standard_normal(mixing.size) @ mixing.tangents(theta)
    half = np.zeros(size)
    half[mixing.first] = direction[mixing.first]
    traced = trace(lambda point: outputs(unflatten(model, point)), theta)
    change, size_of_half = (float(np.linalg.norm(_along(traced, theta, d))) for d in (direction, half))
    return change <= DERIVATIVE_TOLERANCE * size_of_half


# Run twice: optimising the code would take longer than it saves.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _along(outputs: Traced, theta: Any, direction: Any) -> Float[Array, " k"]:
    return jax.jvp(outputs, (theta,), (direction,))[1]
