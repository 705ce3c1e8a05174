"""Confirmation by number: that units are interchangeable, and which of their parameters are outgoing."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .candidates import Candidate, Place
from .program import AGREEMENT, Program

# Shares of the output that the first of two equal units is given; the second has the rest.
SHARES = (1.0, 0.3, -0.5)


class Roles(NamedTuple):
    """What was confirmed of a group.

    Attributes:
        permutation_error: the largest change of the outputs when units are permuted, relative to the largest output.
        incoming: the places of incoming parameters.
        outgoing: those of outgoing parameters, which equal units may share in any way.
        sharing_error: the largest change of the outputs when equal units share their outgoing parameters differently.
        reason: why the group has no outgoing parameters in the sense of a declaration, empty where it has.
    """

    permutation_error: float
    incoming: tuple[Place, ...] = ()
    outgoing: tuple[Place, ...] = ()
    sharing_error: float = 0.0
    reason: str = ""


def moved(theta: Float[np.ndarray, " n"], places: tuple[Place, ...], matrix: Float[np.ndarray, "H H"]) -> np.ndarray:
    """Parameters with the units at some places replaced by linear combinations of them."""
    theta = theta.copy()
    for place in places:
        theta[place.positions] = matrix @ theta[place.positions]
    return theta


def first_unit(
    theta: Float[np.ndarray, " n"], places: tuple[Place, ...], source: Float[np.ndarray, " n"]
) -> np.ndarray:
    """Parameters with those of the first unit at some places taken from others."""
    theta = theta.copy()
    for place in places:
        theta[place.positions[0]] = source[place.positions[0]]
    return theta


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference of two arrays, relative to the largest entry of the second; infinite without values."""
    size = float(np.max(np.abs(second), initial=0.0))
    change = float(np.max(np.abs(first - second), initial=0.0))
    return change / size if np.isfinite(change) and size > 0 else 0.0 if change == 0 else np.inf


def roles(
    program: Program, group: Candidate, thetas: list[Float[np.ndarray, " n"]], generator: np.random.Generator
) -> Roles:
    r"""Confirms a group of units, and finds what is outgoing.

    Of two equal units the outgoing parameters are those that may be shared between them in any way without changing the
    function, all at once; and a unit whose outgoing parameters are zero does not act.

    Args:
        program: the model.
        group: the group.
        thetas: random parameters; several, since in a network of ReLU units much is inactive at any one of them.
        generator: of random numbers.

    Returns:
        What was confirmed.
    """
    error = permutation_error(program, group, thetas, generator)
    if not error <= AGREEMENT:
        return Roles(error, reason=f"permuting the units changes the outputs by {error:.1e}")
    outgoing, sharing = _outgoing(program, group, thetas)
    if not outgoing:
        return Roles(error, reason="two equal units cannot share an output: no parameters only read them")
    incoming = tuple(place for place in group.places if place not in outgoing)
    if not incoming:
        return Roles(error, reason="the units have no incoming parameters")
    found = Roles(error, incoming, outgoing, sharing)
    silent = _silence(program, found, thetas, generator)
    return found if silent <= AGREEMENT else Roles(error, reason=f"a unit that nothing reads still acts ({silent:.1e})")


def permutation_error(
    program: Program, group: Candidate, thetas: list[Float[np.ndarray, " n"]], generator: np.random.Generator
) -> float:
    """The largest change of the outputs when units are permuted, relative to the largest output."""
    orders = [np.roll(np.arange(group.size), 1), generator.permutation(group.size)]
    rows = [[theta, *(moved(theta, group.places, np.eye(group.size)[order]) for order in orders)] for theta in thetas]
    return largest_difference(program, rows)


def largest_difference(program: Program, rows: list[list[np.ndarray]]) -> float:
    """The largest change of outputs from the first θ of each row to the others."""
    values = program.evaluate([theta for row in rows for theta in row])[0]
    values = values.reshape(len(rows), len(rows[0]), -1)
    return max(difference(other, row[0]) for row in values for other in row[1:])


def _sharing_error(program: Program, group: Candidate, thetas: list[np.ndarray], outgoing: tuple[Place, ...]) -> float:
    incoming = tuple(place for place in group.places if place not in outgoing)
    equal = np.eye(group.size)
    equal[1] = equal[0]
    rows: list[list[np.ndarray]] = []
    for theta in thetas:
        start = moved(theta, incoming, equal)
        rows.append([moved(start, outgoing, _shares(group.size, share)) for share in SHARES])
    return largest_difference(program, rows)


def _shares(count: int, share: float) -> np.ndarray:
    parts = np.eye(count)
    parts[:2] = 0.0
    parts[0, 0], parts[1, 0] = share, 1 - share
    return parts


def _outgoing(program: Program, group: Candidate, thetas: list[np.ndarray]) -> tuple[tuple[Place, ...], float]:
    """The places that are outgoing together; where there is a choice, those that the program reads last."""
    chosen: tuple[Place, ...] = ()
    largest = 0.0
    for place in sorted(reversed(group.places), key=lambda place: (place.read, place.first_use), reverse=True):
        if (error := _sharing_error(program, group, thetas, (*chosen, place))) <= AGREEMENT:
            chosen, largest = (*chosen, place), error
    return tuple(place for place in group.places if place in chosen), largest


def _silence(program: Program, found: Roles, thetas: list[np.ndarray], generator: np.random.Generator) -> float:
    rows: list[list[np.ndarray]] = []
    for theta in thetas:
        changed = [first_unit(theta, found.incoming, source) for source in (theta, program.draw(generator))]
        rows.append([first_unit(row, found.outgoing, np.zeros_like(theta)) for row in changed])
    return largest_difference(program, rows)
