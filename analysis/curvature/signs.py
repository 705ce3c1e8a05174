"""Which eigenvalues of a Hessian have a sign, the critical point being known to finite accuracy."""

import numpy as np
from jaxtyping import Bool, Float

from ...flows import Landscape
from ..thresholds import STANDARD, Thresholds
from .rounding import gradient_noise, hessian_noise
from .spectrum import Spectrum, hessian

# The point moves by this multiple of Newton's step: at a distance δ from a degenerate point of order p Newton's step is
# δ / (p − 1), so that four of them lead to it or past it up to order 5, and beyond that change an eigenvalue by more
# than half all the same.
STEPS = 4.0
# Eigenvalues examined, the smallest: what is uncertain is small.
EXAMINED = 100
# A threshold grows by this factor until all eigenvalues above it are certain.
GROWTH = 2.0


def critical_spectrum(
    landscape: Landscape, theta: Float[np.ndarray, " n"], *, thresholds: Thresholds = STANDARD
) -> Spectrum:
    r"""The spectrum at a critical point, in which eigenvalues count as zero whose sign is uncertain.

    The sign of λ is uncertain where λ is below the errors of rounding in the Hessian, or where it could change within
    the uncertainty of the point: beside a degenerate critical point of order p, at a distance δ, Newton's step is
    $\delta / (p - 1)$ and λ is of size $\delta^{p-2}$, so that moving by some such steps changes λ by as much as it
    is. Of the gradient as much is taken as zero as rounding leaves open. The smallest threshold is returned above which
    all signs are certain.

    Args:
        landscape: the loss.
        theta: the critical point, as well as it is known.
        thresholds: `rounding_safety` and `sign_certain`.

    Returns:
        The spectrum, with that threshold.
    """
    values, vectors = np.linalg.eigh(hessian(landscape, theta))
    safety, sizes = thresholds.rounding_safety, np.abs(values)
    slopes = vectors.T @ landscape.gradient(theta)
    noise = safety * np.max(np.abs(gradient_noise(landscape, theta, values, vectors) @ vectors), axis=0, initial=0.0)
    steps = np.where(slopes < 0, -1.0, 1.0) * (np.abs(slopes) + noise)
    zero = safety * hessian_noise(landscape, theta, values, vectors)
    while np.any(kept := sizes > zero):
        step = vectors[:, kept] @ (steps[kept] / values[kept])
        uncertain = _uncertain(landscape, theta, values, vectors, kept, STEPS * step, thresholds.sign_certain)
        if not np.any(uncertain):
            break
        zero = GROWTH * float(np.min(sizes[uncertain]))
    return Spectrum(eigenvalues=values, eigenvectors=vectors, zero_threshold=zero)


def _uncertain(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    vectors: Float[np.ndarray, "n n"],
    kept: Bool[np.ndarray, " n"],
    displacement: Float[np.ndarray, " n"],
    share: float,
) -> Bool[np.ndarray, " n"]:
    """Which of the eigenvalues kept change by more than a share when the point moves to either side."""
    uncertain = np.zeros(len(values), bool)
    examined = np.flatnonzero(kept)
    examined = examined[np.argsort(np.abs(values[examined]))[:EXAMINED]]
    directions = vectors[:, examined]
    if not np.any(displacement):
        return uncertain
    for point in (theta + displacement, theta - displacement):
        moved = np.sum(directions * landscape.hessian_products(point, directions), axis=0)
        # A Hessian that is not finite there leaves everything open.
        uncertain[examined] |= ~(np.abs(moved - values[examined]) < share * np.abs(values[examined]))
    return uncertain
