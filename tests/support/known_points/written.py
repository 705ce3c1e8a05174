"""Points as a user writes them: plain Python of the weights, compiled one by one, not padded and not turned."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from saddlescope.flows import Landscape

from known_points.minima import minimum
from known_points.record import KnownPoint, Truth
from known_points.saddles import degenerate, strict
from vector import Vector

# Loss, number of weights, the point, truth, whether it may stay open, and the largest distance of a start.
Row = tuple[Any, int, tuple[float, ...], Truth, bool, float]


def _flat(w: Any) -> Any:
    x = w[0]
    return jnp.where(x == 0, 0.0, jnp.exp(-1 / jnp.where(x == 0, 1.0, x) ** 2))


WRITTEN: dict[str, Row] = {
    "z² + x⁷": (lambda w: w[1] ** 2 + w[0] ** 7, 2, (0, 0), degenerate(7, 1), True, 0.1),
    "z² + x³": (lambda w: w[1] ** 2 + w[0] ** 3, 2, (0, 0), degenerate(3, 1), False, 0.1),
    "z² − 10⁻⁵x⁴": (lambda w: w[1] ** 2 - 1e-5 * w[0] ** 4, 2, (0, 0), degenerate(4, 1), False, 0.1),
    "z² + 10⁻⁷x³": (lambda w: w[1] ** 2 + 1e-7 * w[0] ** 3, 2, (0, 0), degenerate(3, 1), False, 0.1),
    "10⁻¹³(1 + x⁴ − y⁴ + z²)": (
        lambda w: 1e-13 * (1 + w[0] ** 4 - w[1] ** 4 + w[2] ** 2),
        3,
        (0, 0, 0),
        degenerate(4, 2),
        False,
        0.1,
    ),
    "10⁻⁹(1 + monkey saddle + z²)": (
        lambda w: 1e-9 * (1 + w[0] ** 3 - 3 * w[0] * w[1] ** 2 + w[2] ** 2),
        3,
        (0, 0, 0),
        degenerate(3, 2),
        False,
        0.1,
    ),
    "monkey saddle + z²": (
        lambda w: w[0] ** 3 - 3 * w[0] * w[1] ** 2 + w[2] ** 2,
        3,
        (0, 0, 0),
        degenerate(3, 2),
        False,
        0.1,
    ),
    "x⁴ − y⁴ + z², coordinates × 1000": (
        lambda w: (w[0] / 1000) ** 4 - (w[1] / 1000) ** 4 + (w[2] / 1000) ** 2,
        3,
        (0, 0, 0),
        degenerate(4, 2),
        False,
        100.0,
    ),
    "Peano": (lambda w: (w[1] - w[0] ** 2) * (w[1] - 2 * w[0] ** 2), 2, (0, 0), degenerate(4, 1), False, 0.1),
    "z² − 10⁻⁹x²": (lambda w: w[1] ** 2 - 1e-9 * w[0] ** 2, 2, (0, 0), strict(1, 0), False, 0.1),
    "w² + x²y²": (lambda w: w[2] ** 2 + w[0] ** 2 * w[1] ** 2, 3, (0, 0, 0), minimum(None), True, 0.0),
    "(|w|² − 1)²": (lambda w: (jnp.sum(w**2) - 1) ** 2, 4, (0.6, 0.8, 0, 0), minimum(3), False, 0.1),
    "½(w₁ ⋯ w₆ − 1)²": (lambda w: (jnp.prod(w) - 1) ** 2 / 2, 6, (0,) * 6, degenerate(6, 6), False, 0.1),
    "½(w₁w₂ − 1)²": (lambda w: (jnp.prod(w) - 1) ** 2 / 2, 2, (2, 0.5), minimum(1), False, 0.1),
    "log-cosh": (lambda w: jnp.sum(jnp.log(jnp.cosh(w))) - w[0] ** 2 / 2, 2, (0, 0), degenerate(4, 1), False, 0.1),
    "softmax": (lambda w: jnp.log(jnp.sum(jnp.exp(w))) - jnp.mean(w), 3, (0, 0, 0), minimum(1), False, 0.1),
    "z² − exp(−1/x²)": (
        lambda w: w[1] ** 2 - _flat(w),
        2,
        (0, 0),
        Truth("degenerate saddle", None, 0, 1),
        True,
        0.0,
    ),
}


def written_points() -> tuple[KnownPoint, ...]:
    """Each from the point itself and from 0.1 away, or as far as it is the only one."""
    points = []
    for name, (function, size, at, truth, undetermined, near) in WRITTEN.items():
        point, direction = np.array(at, float), np.random.default_rng(size).standard_normal(size)
        for distance in sorted({0.0, near}):
            start = point + distance * direction / np.linalg.norm(direction)
            points.append(
                KnownPoint(
                    name=f"{name} as a user writes it from {distance:g}",
                    make=lambda f=function, start=start: Landscape(Vector(jnp.asarray(start)), lambda m, _: f(m.x), ()),
                    point=point,
                    truth=truth,
                    source="the table of false minima, or the series at the point",
                    open=undetermined,
                )
            )
    return tuple(points)
