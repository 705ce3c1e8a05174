"""Whether a critical point is the one that a start belongs to, or a network made narrow for no good reason."""

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..thresholds import Thresholds
from .refine import RANK

# A critical point explains a start if it lies no farther away than so many Newton steps, or its loss differs by no more
# than so many times what a step changes: a point of order p lies p − 1 steps away.
EXPLAINED = 10.0
# The weights are the distance from the zero network, or from one of which only some null directions are left, if
# at least half of them is.
ALL_OF_IT = 0.5
# Networks of more parameters are not examined for it: it takes a Hessian and its decomposition at each visit.
WHOLE_LIMIT = 1000


def vanishes(start: Float[np.ndarray, " n"], theta: Float[np.ndarray, " n"]) -> bool:
    """Whether most of the weights vanish at a critical point: then none of the start's units is small beside another.

    Args:
        start: the wide network at the closest approach.
        theta: a reduced network's critical point, embedded.

    Returns:
        Whether the point is no farther from zero weights than from the start, for networks of up to 1000 parameters.
    """
    return start.size <= WHOLE_LIMIT and float(np.linalg.norm(theta)) <= float(np.linalg.norm(theta - start))


def explains(
    landscape: Landscape, start: Float[np.ndarray, " n"], theta: Float[np.ndarray, " n"], thresholds: Thresholds
) -> bool:
    """Whether a reduced network's critical point is what the start is near, as far as Newton's step there tells.

    A flow may have converged with units that are almost but not exactly equal: the critical point at which they are
    equal is then another one.

    Args:
        landscape: of the wide network.
        start: the wide network at the closest approach.
        theta: the reduced network's critical point, embedded.
        thresholds: `near`.

    Returns:
        Whether it is: not if Newton's step at the start is short, the point far away and its loss another one.
    """
    distance, near = float(np.linalg.norm(theta - start)), thresholds.near * float(np.linalg.norm(start))
    if distance <= near or start.size > WHOLE_LIMIT:
        return True
    (value, gradient), matrix = landscape.value_and_gradient(start), landscape.hessian(start)
    if not (np.all(np.isfinite(gradient)) and np.all(np.isfinite(matrix))):
        return True
    values, vectors = np.linalg.eigh(matrix)
    sized = np.abs(values) > RANK * np.max(np.abs(values), initial=0.0)
    step = float(np.linalg.norm((vectors.T @ gradient)[sized] / values[sized]))
    change = abs(float(landscape.value(theta) - value))
    expected = float(np.linalg.norm(gradient)) * step + np.finfo(start.dtype).eps * abs(float(value))
    return bool(step > near or distance <= EXPLAINED * step or change <= EXPLAINED * expected)
