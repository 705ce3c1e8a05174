"""Whether the loss is the same all along a curve through a degenerate point, and rises to all sides of it."""

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..thresholds import STANDARD, Thresholds
from .critical_family import FAR, Walk, arc_lengths, noise_at, point_at

# The walk begins at this share of its length: nearer to the degenerate point the curvature across the curve, a power of
# the distance, is rounding.
BEGINNING = 0.05


def curve_of_minima(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    curve: Float[np.ndarray, "q n"],
    nullity: int,
    *,
    thresholds: Thresholds = STANDARD,
) -> bool:
    r"""Whether critical points of the same loss, and of positive curvature across, lie along a curve from a point.

    As on the axes of $w^2 + x^2 y^2$. Along $\gamma(s) = \theta + s d + s^2 a_2 + \dots$ the loss does not change to
    the order examined; farther out the curve is followed. Where $F_p \ge 0$ vanishes along d only, with a second
    derivative across, the loss about such a curve is positive: $s^{p-2} F_p''(n, n) / 2$ for small n across it.

    Args:
        landscape: the loss.
        theta: a critical point with a positive semidefinite Hessian.
        curve: $d, a_2, \dots$, the coefficients of γ.
        nullity: of the critical points on the curve: one, and the orbits of symmetries.
        thresholds: `rounding_safety`.

    Returns:
        Whether the curve was followed as far as `critical_family` follows one.
    """
    arcs = arc_lengths(landscape, theta)
    arcs = arcs if arcs is FAR else arcs[arcs >= BEGINNING * arcs[-1]]
    walk = Walk(landscape=landscape, nullity=nullity, arcs=arcs[1:] - arcs[0], safety=thresholds.rounding_safety)
    guess = theta + arcs[0] ** np.arange(1, len(curve) + 1) @ curve
    start = walk.corrected(point_at(landscape, guess), guess, float(arcs[0]))
    if start is None:
        return False
    center = point_at(landscape, theta)
    rounding = thresholds.rounding_safety * (noise_at(landscape, center)[0] + noise_at(landscape, start)[0])
    if abs(start.value - center.value) > rounding or np.any(start.eigenvalues[nullity:] <= 0):
        return False
    return not walk.follow(start, (start.theta - theta) / np.linalg.norm(start.theta - theta))[2]
