"""The law of found units, measured."""

import copy
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..unit_law import UnitLaw
from .candidates import Place
from .program import AGREEMENT, Program
from .roles import Roles, difference, first_unit, largest_difference, moved
from .smoothness import is_smooth

# Random units at which laws are measured.
DRAWS = 4
FACTORS = (2.3, 0.37, -1.0, -0.61)
# Scales of a unit at which its lowest order is measured, and the tolerance to an integer.
NEAR_ZERO, NEAR_INTEGER = 2.0 ** -np.arange(3, 13), 0.05


class Measured(NamedTuple):
    """What was measured of a group's units.

    Attributes:
        law: of the units.
        degrees: of homogeneity in the parameters at each place alone, of incoming and then of outgoing ones.
        products: pairs of places whose parameters enter through a product of matrices.
        additive: whether the output is linear in all outgoing parameters.
        parity: "odd", "even", or empty.
        reason: why no law could be measured, empty where one was.
    """

    law: UnitLaw
    degrees: tuple[int | None, ...] = ()
    products: tuple[tuple[Place, Place], ...] = ()
    additive: bool = False
    parity: str = ""
    reason: str = ""


class Response:
    r"""A unit's output φ(z; u) as the outputs show it: their derivative along its outgoing parameters at zero ones.

    There the unit acts on nothing else, and the derivative is linear in φ whatever is computed of it.
    """

    def __init__(self, program: Program, found: Roles, thetas: list[np.ndarray], along: Float[np.ndarray, " n"]):
        silent = np.zeros_like(along)
        self._program, self._incoming = program, found.incoming
        self._starts = [first_unit(theta, found.outgoing, silent) for theta in thetas]
        self._along = first_unit(silent, found.outgoing, along)
        self._outgoing = found.outgoing

    def at_largest(self, units: list[Float[np.ndarray, " n"]]) -> "Response":
        """The response at those of the random parameters where it is largest."""
        sizes = np.max(np.abs(self(units).reshape(len(units), len(self._starts), -1)), axis=(0, 2))
        one = copy.copy(self)
        one._starts = [self._starts[int(np.argmax(sizes))]]
        return one

    def __call__(self, units: list[Float[np.ndarray, " n"]]) -> Float[np.ndarray, "k m"]:
        """The responses to incoming parameters, given as those of the first unit."""
        rows = [first_unit(start, self._incoming, unit) for unit in units for start in self._starts]
        # Where one array is both, the entry by which a unit reads itself is outgoing.
        rows = [first_unit(row, self._outgoing, np.zeros_like(row)) for row in rows]
        return self._program.evaluate(rows, [self._along] * len(rows))[1].reshape(len(units), -1)


def measure(
    program: Program,
    found: Roles,
    thetas: list[Float[np.ndarray, " n"]],
    generator: np.random.Generator,
    *,
    kinks: bool,
) -> Measured:
    """Measures the law of a group of units.

    Args:
        program: the model.
        found: the places of incoming and outgoing parameters.
        thetas: random parameters.
        generator: of random numbers.
        kinks: whether the program has operations that need not be smooth.

    Returns:
        The strongest law that values of the outputs support.
    """
    response = Response(program, found, thetas, program.draw(generator))
    units = [program.draw(generator) for _ in range(DRAWS)]
    values = response([*units, 0 * units[0], units[0] + units[1], *(c * u for c in FACTORS for u in units)])
    own, zero, summed, scaled = values[:DRAWS], values[DRAWS], values[DRAWS + 1], values[DRAWS + 2 :]
    size = float(np.max(np.abs(own)))
    if not (np.isfinite(size) and size > 0):
        return Measured(UnitLaw(zero=False, order=0), reason="the units do not act on the outputs")
    scaled, lead = scaled.reshape(len(FACTORS), *own.shape), int(np.argmax(np.max(np.abs(own), axis=1)))
    vanishes = bool(np.max(np.abs(zero)) <= AGREEMENT * size)
    degree, field = _degree(own, scaled) if vanishes else (None, "real")
    degree = degree if degree is not None and _rescales(program, found, thetas, degree, field) else None
    additive = degree == 1 and field == "real" and difference(summed, own[0] + own[1]) <= AGREEMENT
    order = degree if degree is not None else _order(response, units[lead]) if vanishes else 0
    if order is None:
        return Measured(UnitLaw(zero=False, order=0), reason="the lowest order of the units does not show")
    law = UnitLaw(
        zero=vanishes,
        degree=degree,
        field="real" if degree is None or field == "real" else "nonnegative",
        linear=additive and _mixes(program, found, thetas, generator),
        smooth=not kinks or is_smooth(response.at_largest(units), units),
        order=order,
    )
    return Measured(
        law=law,
        degrees=_degrees(response, found, units, own),
        products=_products(program, found, thetas, generator),
        additive=_is_sum(program, found, thetas),
        parity=_parity(own, scaled[FACTORS.index(-1.0)]),
    )


def _parity(own: np.ndarray, reflected: np.ndarray) -> str:
    odd, even = difference(-reflected, own) <= AGREEMENT, difference(reflected, own) <= AGREEMENT
    return "odd" if odd else "even" if even else ""


def _degree(own: np.ndarray, scaled: np.ndarray) -> tuple[int | None, str]:
    """The degree of homogeneity and the field over which it holds."""
    ratio = np.max(np.abs(scaled[0])) / np.max(np.abs(own))
    p = round(float(np.log(ratio) / np.log(FACTORS[0]))) if 0 < ratio < np.inf else 0
    if p < 1:
        return None, "real"
    holds = [difference(s, c**p * own) <= AGREEMENT for c, s in zip(FACTORS, scaled, strict=False)]
    positive = all(hold for c, hold in zip(FACTORS, holds, strict=False) if c > 0)
    return (p if positive else None), "real" if all(holds) else "nonnegative"


def _degrees(response: Response, found: Roles, units: list[np.ndarray], own: np.ndarray) -> tuple[int | None, ...]:
    degrees: list[int | None] = []
    for place in found.incoming:
        values = response([first_unit(unit, (place,), c * unit) for c in FACTORS[:2] for unit in units])
        degrees.append(_degree(own, values.reshape(2, *own.shape))[0])
    return (*degrees, *([1] if len(found.outgoing) == 1 else [None] * len(found.outgoing)))


def _order(response: Response, unit: np.ndarray) -> int | None:
    near = response([sign * h * unit for sign in (1, -1) for h in NEAR_ZERO])
    values = np.max(np.abs(near), axis=1).reshape(2, -1).max(axis=0)
    if np.any(values == 0):
        return None
    exponents = np.log2(values[:-1] / values[1:])
    # Higher orders bias exponents far from zero, rounding those close to it: the best agrees with its neighbour.
    best = float(exponents[np.argmin(np.abs(np.diff(exponents)))])
    return round(best) if round(best) >= 1 and abs(best - round(best)) < NEAR_INTEGER else None


def _rescales(program: Program, found: Roles, thetas: list[np.ndarray], degree: int, field: str) -> bool:
    """Whether the function remains when all units are scaled, and their outgoing parameters back."""
    rows: list[list[np.ndarray]] = []
    for theta in thetas:
        rows.append([theta])
        for sign in (1, -1) if field == "real" else (1,):
            factors = sign * np.geomspace(0.5, 2.0, len(found.incoming[0].positions))
            scaled = moved(theta, found.incoming, np.diag(factors))
            rows[-1].append(moved(scaled, found.outgoing, np.diag(factors**-degree)))
    return largest_difference(program, rows) <= AGREEMENT


def _mixes(program: Program, found: Roles, thetas: list[np.ndarray], generator: np.random.Generator) -> bool:
    """Whether the function remains when units are mixed linearly, and their outgoing parameters back."""
    matrix = _near_identity(len(found.incoming[0].positions), generator)
    back = np.linalg.inv(matrix).T
    rows = [[theta, moved(moved(theta, found.incoming, matrix), found.outgoing, back)] for theta in thetas]
    return largest_difference(program, rows) <= AGREEMENT


def _near_identity(size: int, generator: np.random.Generator) -> np.ndarray:
    # Well conditioned at every size.
    return np.eye(size) + 0.3 / np.sqrt(size) * generator.standard_normal((size, size))


def _is_sum(program: Program, found: Roles, thetas: list[np.ndarray]) -> bool:
    """Whether the outputs are linear in all outgoing parameters, up to an offset."""
    unit = np.eye(len(found.outgoing[0].positions))
    rows = [moved(theta, found.outgoing, c * unit) for theta in thetas for c in (0.0, 1.0, 2.0, -1.0)]
    values = program.evaluate(rows)[0].reshape(len(thetas), 4, -1)
    none, once, twice, back = np.moveaxis(values, 1, 0)
    return max(difference(twice - once, once - none), difference(none - back, once - none)) <= AGREEMENT


def _products(
    program: Program, found: Roles, thetas: list[np.ndarray], generator: np.random.Generator
) -> tuple[tuple[Place, Place], ...]:
    """Pairs of places at which a unit has matrices A and B of as many rows, which enter through AᵀB alone."""
    places = [place for place in (*found.incoming, *found.outgoing) if len(place.shape) == 2]
    pairs = [(a, b) for k, a in enumerate(places) for b in places[k + 1 :] if a.shape[0] == b.shape[0]]
    holding: list[tuple[Place, Place]] = []
    for a, b in pairs:
        matrix = _near_identity(a.shape[0], generator)
        factors = ((a, matrix), (b, np.linalg.inv(matrix).T))
        if largest_difference(program, [[theta, _multiplied(theta, factors)] for theta in thetas]) <= AGREEMENT:
            holding.append((a, b))
    return tuple(holding)


def _multiplied(theta: np.ndarray, factors: tuple[tuple[Place, np.ndarray], ...]) -> np.ndarray:
    theta = theta.copy()
    for place, factor in factors:
        theta[place.positions[0]] = np.ravel(factor @ theta[place.positions[0]].reshape(place.shape))
    return theta
