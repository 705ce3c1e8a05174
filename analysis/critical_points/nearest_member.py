"""The member of a family of critical points that lies nearest to where the search for it began."""

import numpy as np
from jaxtyping import Float

from ..embeddings.narrow_landscape import NarrowLandscape
from ..thresholds import EPS, STANDARD
from .refine import RANK, polished
from .zero_gradient import is_critical

# Each step along a family is at most this share of the weights, so that Newton's method leads back to the family.
LONGEST = 0.2
# Steps along a family at most: a hundred times as large or small takes twenty-five.
MAX_STEPS = 50
# A step is the last if it is this share of the weights: what is left of the distance is of second order in it.
SHORT = 1e-6
# Along a family the loss does not change, and by no more than this share of its difference from the start.
LEVEL = 1e-6


def nearest_member(narrow: NarrowLandscape, point: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    r"""The critical point of a family, such as an orbit of symmetries, that is nearest to the narrow network.

    A search along a valley, as by descent, ends at any member, $(c u, v / c^p)$ instead of $(u, v)$. A flow conserves
    what tells the members apart, and can come to one of them only. Steps along the null space of the Hessian that make
    the distance smaller are followed by Newton's steps back to the family, for as long as they lead to a critical point
    of the same loss and nullity.

    Args:
        narrow: landscape of the narrow network, whose own parameters are where the search began.
        point: a critical point.

    Returns:
        The nearest member that was met, in the metric of the wide network; the point itself if it is alone.
    """
    matrix, (kernel, curvature) = narrow.matrix, _kernel(narrow, point)
    nullity, size = kernel.shape[1], float(np.linalg.norm(point))
    loss, start = (float(narrow.value_and_gradient(theta)[0]) for theta in (point, narrow.theta))
    level = LEVEL * abs(start - loss) + STANDARD.rounding_safety * EPS * (abs(loss) + EPS * curvature * size**2)
    for _ in range(MAX_STEPS if nullity else 0):
        away = matrix @ (narrow.theta - point)
        step = kernel @ np.linalg.lstsq(matrix @ kernel, away, rcond=RANK)[0]
        size, length = float(np.linalg.norm(point)), float(np.linalg.norm(step))
        if not length > SHORT * size:
            break
        trial = polished(narrow, point + min(1.0, LONGEST * size / length) * step)
        kernel, _ = _kernel(narrow, trial)
        closer = np.linalg.norm(matrix @ (narrow.theta - trial)) < np.linalg.norm(away)
        same = kernel.shape[1] == nullity and abs(float(narrow.value_and_gradient(trial)[0]) - loss) <= level
        if not (closer and same and is_critical(narrow, trial, moved=length)):
            break
        point = trial
    return point


def _kernel(narrow: NarrowLandscape, point: Float[np.ndarray, " m"]) -> tuple[Float[np.ndarray, "m k"], float]:
    """The null space of the Hessian, none where that is not finite, and its largest eigenvalue."""
    matrix = narrow.hessian(point)
    if not np.all(np.isfinite(matrix)):
        return np.zeros((len(point), 0)), 0.0
    values, vectors = np.linalg.eigh(matrix)
    largest = float(np.max(np.abs(values), initial=0.0))
    return vectors[:, np.abs(values) <= RANK * largest], largest
