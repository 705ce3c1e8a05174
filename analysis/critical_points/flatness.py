"""Which of two critical points is the more degenerate."""

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..embeddings.narrow_landscape import NarrowLandscape
from ..thresholds import EPS
from .zero_gradient import is_critical

# An eigenvalue is zero beside another one that is a hundred times as large.
FLATTER = 1e-2


def flatter(
    landscape: Landscape | NarrowLandscape, first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]
) -> bool:
    """Whether more eigenvalues of the Hessian are zero, beside those of the second point, at the first point."""
    sizes = [np.abs(np.linalg.eigvalsh(landscape.hessian(point))) for point in (first, second)]
    rounding = len(first) * np.finfo(first.dtype).eps * max(float(np.max(values)) for values in sizes)
    smallest = float(np.min(sizes[1], where=sizes[1] > rounding, initial=np.inf))
    zero = max(rounding, FLATTER * smallest) if np.isfinite(smallest) else rounding
    return bool(np.sum(sizes[0] <= zero) > np.sum(sizes[1] <= zero))


def as_flat_as_known(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> bool:
    r"""Whether the smallest eigenvalue of the Hessian may be zero at the critical point itself.

    A point beside a degenerate critical point has a gradient of zero to rounding before all eigenvalues are: it still
    has where the smallest one, $\lambda$ in the direction v, vanishes, at $\theta - (\lambda / D_v \lambda)\, v$.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: a critical point.

    Returns:
        Whether the gradient is zero to rounding there as well.
    """
    values, vectors = np.linalg.eigh(landscape.hessian(theta))
    sizes = np.abs(values)
    open_signs = np.flatnonzero(sizes > len(theta) * EPS * np.max(sizes, initial=0.0))
    if len(open_signs) == 0:
        return True
    smallest = open_signs[np.argmin(sizes[open_signs])]
    direction = vectors[:, smallest]
    distance = EPS ** (1 / 3) * float(np.linalg.norm(theta))
    sides = [direction @ landscape.hessian(theta + side * distance * direction) @ direction for side in (1, -1)]
    rate = float(sides[0] - sides[1]) / (2 * distance) if distance > 0 else 0.0
    return rate != 0 and is_critical(landscape, theta - values[smallest] / rate * direction)
