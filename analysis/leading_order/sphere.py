"""Minima of functions of a direction on the unit sphere, by local searches from random starts."""

from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Float

# Random starts of a search: the forms met here have a handful of local minima.
STARTS = 24
# Simplex search improves minima on kinks in up to this many dimensions; beyond it is too slow to help.
SIMPLEX_LIMIT = 12

# Searches stall at kinks: where no simplex improved what they found, the lowest value of a function with kinks is taken
# for positive only beyond this share of the largest.
STALLED = 0.05

Function = Callable[[Float[np.ndarray, " n"]], tuple[float, Float[np.ndarray, " n"]]]
Minimum = tuple[float, Float[np.ndarray, " n"]]


def normal_vectors(count: int, size: int) -> Float[np.ndarray, "count size"]:
    """Standard normal vectors, the same in each call: their directions are uniform on the sphere."""
    return np.random.default_rng(0).standard_normal((count, size))


def minima_on_sphere(
    function: Function, starts: Float[np.ndarray, "k n"], *, gradient_tolerance: float = 1e-5, steps: int | None = None
) -> list[Minimum]:
    r"""Local minima of a function on the unit sphere, by BFGS on its extension $w \mapsto f(w / \|w\|)$.

    The extension is constant along rays, with the gradient $(1 - \hat w \hat w^\top) \nabla f(\hat w) / \|w\|$.

    Args:
        function: f and its gradient at a unit vector; the gradient's component along the vector is ignored.
        starts: vectors of any length, one search from each.
        gradient_tolerance: of the search; by default SciPy's own.
        steps: at most, by default 200 for each dimension.

    Returns:
        For each start the value found and its unit vector. Local minima only, without a certificate.

    Source: Nocedal & Wright (2006), Algorithm 6.1, as in SciPy.
    """

    def extension(w: np.ndarray) -> tuple[float, np.ndarray]:
        norm = np.linalg.norm(w)
        direction = w / norm
        value, gradient = function(direction)
        return value, (gradient - direction * (direction @ gradient)) / norm

    options = {"gtol": gradient_tolerance, "maxiter": steps}
    found = [scipy.optimize.minimize(extension, w, jac=True, method="BFGS", options=options) for w in starts]
    return [(float(result.fun), result.x / np.linalg.norm(result.x)) for result in found]


def minimum_on_sphere(
    function: Function, starts: Float[np.ndarray, "k n"], *, gradient_tolerance: float = 1e-5, steps: int | None = None
) -> Minimum:
    """The lowest of the `minima_on_sphere`.

    Args:
        function: f and its gradient at a unit vector.
        starts: vectors of any length, one search from each.
        gradient_tolerance: of the search.
        steps: at most.

    Returns:
        Its value and its unit vector.
    """
    minima = minima_on_sphere(function, starts, gradient_tolerance=gradient_tolerance, steps=steps)
    return min(minima, key=lambda minimum: minimum[0])


def polished_on_sphere(
    function: Callable[[Float[np.ndarray, " n"]], float], direction: Float[np.ndarray, " n"], *, scale: float
) -> Float[np.ndarray, " n"]:
    r"""A minimum on a kink, where quasi-Newton steps stall, improved by a simplex search.

    Args:
        function: f at a unit vector.
        direction: the unit vector to start from.
        scale: size of the values; they are resolved to $10^{-15}$ of it.

    Returns:
        The unit vector found.

    Source: Nelder & Mead (1965), as in SciPy.
    """
    options = {"xatol": 1e-10, "fatol": 1e-15 * max(scale, 1e-300), "maxiter": 400 * direction.size}
    end = scipy.optimize.minimize(
        lambda w: function(w / np.linalg.norm(w)), direction, method="Nelder-Mead", options=options
    ).x
    return end / np.linalg.norm(end)
