"""Squared errors of zero, located by their residuals, which beside degenerate minima tell more than gradients."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ...flows import Landscape
from ...flows.compilation.traced import Traced, compiled
from ...flows.losses.residuals import residuals_of
from ..embeddings.narrow_landscape import NarrowLandscape
from ..thresholds import EPS, STANDARD

# Beside zero weights and weights twice as large the loss is smaller than this share: a zero may be near.
NEARLY = 1e-12
# Steps halve the distance from a degenerate zero; so many of them may be without gain, as the first ones often are.
STEPS, IDLE = 40, 4
# Singular values of the residuals' Jacobian below this share of the largest are taken for zero.
RESOLVED = 1e-10
# Residuals grow at least like the square of the distance: farther than so many times the fourth root of the loss's
# share lies another zero.
BESIDE = 10.0


def zero_residuals(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The zero of a squared error's residuals next to a critical point at which the error is almost zero.

    A network with more units than its target has degenerate minima: at a distance δ from one the residuals are of size
    $\delta^2$, the gradient is of size $\delta^3$, and it is zero to rounding from $\delta = 10^{-5}$ on. Steps of
    Gauss and Newton, $-J^+ r$, then still halve δ.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: the critical point.

    Returns:
        The zero; θ itself for losses that are no sum of squares, and where the steps lead to none nearby.

    Source: Griewank & Osborne (1983), "Analysis of Newton's method at irregular singularities".
    """
    narrow = isinstance(landscape, NarrowLandscape)
    wide, matrix = (landscape.landscape, landscape.matrix) if narrow else (landscape, None)
    at = theta if matrix is None else matrix @ theta
    share = _share(wide, at) if theta.size else 1.0
    residuals = residuals_of(wide.program, at, wide.data) if EPS**2 < share < NEARLY else None
    if residuals is None:
        return theta
    moved = _gauss_newton(residuals, wide.data, at, matrix)
    near = np.linalg.norm(moved) <= BESIDE * share**0.25 * np.linalg.norm(theta)
    zero = _share(wide, at + (moved if matrix is None else matrix @ moved)) <= STANDARD.loss_zero
    return theta + moved if near and zero else theta


def _gauss_newton(
    traced: Traced, data: Any, theta: Float[np.ndarray, " n"], matrix: Float[np.ndarray, "n m"] | None
) -> Float[np.ndarray, " m"]:
    """Where steps of Gauss and Newton in the columns of a matrix lead, up to the smallest residuals."""
    columns = np.eye(theta.size) if matrix is None else matrix
    moved = best = np.zeros(columns.shape[1])
    least, idle = np.inf, 0
    for _ in range(STEPS):
        residuals, jacobian = map(np.asarray, _linearised(traced, theta + columns @ moved, data))
        size, idle = float(np.linalg.norm(residuals)), idle + 1
        if size < least:
            best, least, idle = moved, size, 0
        if idle > IDLE or not (np.isfinite(size) and np.all(np.isfinite(jacobian))):
            break
        moved = moved - np.linalg.lstsq(jacobian @ columns, residuals, rcond=RESOLVED)[0]
    return best


def _share(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> float:
    """The loss as a share of its size, by that at zero weights and at weights twice as large."""
    size = min(float(landscape.value(other)) for other in (0 * theta, 2 * theta))
    return float(landscape.value(theta)) / size if size > 0 else 1.0


@compiled
def _linearised(traced: Traced, theta: Any, data: Any) -> tuple[Float[Array, " m"], Float[Array, "m n"]]:
    """The residuals and their Jacobian."""
    function = lambda theta: traced(theta, data)  # noqa: E731
    return function(theta), jax.jacfwd(function)(theta)
