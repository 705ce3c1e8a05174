"""The family of known points: every polynomial in several units, dimensions, coordinates and starts."""

from functools import cache

import numpy as np

from known_points.minima import MINIMA
from known_points.polynomials import CONSTANTS, DISTANCES, LOSS_UNITS, WEIGHT_UNITS, Base, polynomial, polynomial_point
from known_points.record import KnownPoint
from known_points.saddles import SADDLES

BASES = [*SADDLES, *MINIMA]
# Draws of units, dimension, rotation and start of every polynomial, besides the polynomial as it is written.
DRAWS = 2


def drawn(base: Base, seed: int) -> KnownPoint:
    """A polynomial in units, dimension, coordinates and from a start that are drawn."""
    generator = np.random.default_rng([seed, sum(map(ord, base.formula))])
    variables = len(polynomial(base.formula, tuple(base.at)).gens) + base.flat
    distances = [distance for distance in DISTANCES if distance <= base.near]
    return polynomial_point(
        base,
        size=int(generator.integers(variables, min(variables + 3, 8), endpoint=True)),
        seed=int(generator.integers(1000)),
        loss_unit=float(generator.choice(LOSS_UNITS)),
        weight_unit=float(generator.choice(WEIGHT_UNITS)),
        constant=float(generator.choice(CONSTANTS)),
        distance=float(generator.choice(distances)),
    )


@cache
def polynomial_family() -> tuple[KnownPoint, ...]:
    """Every polynomial at its point as it is written, and in drawn coordinates."""
    return tuple(
        point for base in BASES for point in (polynomial_point(base), *(drawn(base, seed) for seed in range(DRAWS)))
    )


def family() -> tuple[KnownPoint, ...]:
    """All known points."""
    return polynomial_family()
