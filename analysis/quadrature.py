"""Composite Gauss–Legendre quadrature."""

from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Float


def interval_integrals(
    function: Callable[[np.ndarray], np.ndarray], edges: Float[np.ndarray, " n"], points: int
) -> Float[np.ndarray, " m"]:
    r"""$\int_{e_k}^{e_{k+1}} f(x)\,dx$ on every interval between two neighbouring edges, by Gauss–Legendre quadrature.

    Args:
        function: f, elementwise on arrays of shape (intervals, points).
        edges: $e_0 < e_1 < \dots$, the ends of the m = n - 1 intervals.
        points: number of points on each interval; exact for polynomials of degree 2 `points` - 1.

    Returns:
        The m integrals.
    """
    steps = np.diff(edges)[:, None]

    def on_unit_interval(s: np.ndarray) -> np.ndarray:
        return steps * function(edges[:-1, None] + steps * s)

    return scipy.integrate.fixed_quad(on_unit_interval, 0.0, 1.0, n=points)[0]
