"""The family of known points: every polynomial and function in several units, dimensions, coordinates and starts."""

from functools import cache
from typing import Any

import numpy as np

from known_points.functions import FLAT, FUNCTIONS, function_point
from known_points.minima import MINIMA
from known_points.networks import network_family
from known_points.polynomials import CONSTANTS, DISTANCES, LOSS_UNITS, WEIGHT_UNITS, Base, polynomial, polynomial_point
from known_points.record import KnownPoint
from known_points.saddles import SADDLES
from known_points.written import written_points

BASES = [*SADDLES, *MINIMA]
# Draws of units, dimension, rotation and start of every polynomial, besides the polynomial as it is written.
DRAWS = 2
# Weights of sin, tanh and exp in the coordinates of polynomials in up to as many variables.
WARPS, WARPED_SIZE = ((0.5, 0.0, 0.0), (0.0, 0.3, 0.4)), 3


def drawn_units(generator: np.random.Generator, near: float) -> dict[str, Any]:
    """Units, constant, seed of coordinates, and a distance up to `near`."""
    return {
        "seed": int(generator.integers(1000)),
        "loss_unit": float(generator.choice(LOSS_UNITS)),
        "weight_unit": float(generator.choice(WEIGHT_UNITS)),
        "constant": float(generator.choice(CONSTANTS)),
        "distance": float(generator.choice([distance for distance in DISTANCES if distance <= near])),
    }


def drawn(base: Base, draw: int, **options: Any) -> KnownPoint:
    """A polynomial in units, dimension, coordinates and from a start that are drawn."""
    generator = np.random.default_rng([draw, *map(ord, base.formula)])
    variables = len(polynomial(base.formula, tuple(base.at)).gens) + base.flat
    size = int(generator.integers(variables, min(variables + 3, 8), endpoint=True))
    return polynomial_point(base, **{"size": size} | drawn_units(generator, base.near) | options)


def of_base(base: Base) -> tuple[KnownPoint, ...]:
    """A polynomial as it is written, and in drawn coordinates."""
    return polynomial_point(base), *(drawn(base, draw) for draw in range(DRAWS))


def warped(base: Base) -> tuple[KnownPoint, ...]:
    """A polynomial of functions of its variables, in one number of variables for all."""
    if len(polynomial(base.formula, tuple(base.at)).gens) + base.flat > WARPED_SIZE or base.straight:
        return ()
    return tuple(drawn(base, 7, size=WARPED_SIZE, warp=warp) for warp in WARPS)


def of_function(terms: dict, base: Base) -> tuple[KnownPoint, ...]:
    """A function as it is written, and in drawn coordinates."""
    generators = [np.random.default_rng([draw, *map(ord, base.formula)]) for draw in range(DRAWS)]
    units = [drawn_units(generator, base.near) for generator in generators]
    return function_point(terms, base), *(function_point(terms, base, **drawn) for drawn in units)


@cache
def family() -> tuple[KnownPoint, ...]:
    """All known points."""
    points = [point for base in BASES for point in of_base(base)]
    points += [point for base in BASES[::4] for point in warped(base)]
    points += [point for terms, base in [*FUNCTIONS, *FLAT] for point in of_function(terms, base)]
    return (*points, *written_points(), *network_family())
