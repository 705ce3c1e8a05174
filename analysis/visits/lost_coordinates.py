r"""Unstable coordinates that were lost to rounding: what grows in their place is rounding.

Rounding changes every weight by a share ε of itself, hence the coordinate $r = e \cdot (\theta - \theta^*)$ along e by
$\epsilon \sum_i |e_i \theta_i|$, and not by $\epsilon \|\theta\|$: weights of 1e-40 beside weights of size one are as
exact as these, where e does not mix them. A coordinate that was ever below its own rounding, as the difference of two
weights that were equal to the last place for a while, has forgotten what the flow made it.
"""

import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..thresholds import STANDARD, Thresholds
from .passages import Passage


def lost_to_rounding(
    thetas: Float[np.ndarray, "T n"], point: Float[np.ndarray, " n"], along: Float[np.ndarray, " n"], seeded: float
) -> bool:
    r"""Whether $|e \cdot (\theta(t) - \theta^*)| < s \sum_i |e_i \theta_i(t)|$ at any time.

    Args:
        thetas: the weights θ(t), one row for each time.
        point: the critical point θ*.
        along: the unit vector e.
        seeded: s, a few units in the last place; see `Thresholds`.

    Returns:
        Whether the coordinate was below its rounding.
    """
    size = np.abs(along)
    # Where e is orthogonal to θ* to rounding, its product with it is that rounding, and would hide what is smaller.
    origin = float(point @ along)
    orthogonal = abs(origin) <= seeded * float(np.abs(point) @ size)
    amplitude = np.abs(thetas @ along if orthogonal else (thetas - point) @ along)
    return bool(np.any(amplitude < seeded * (np.abs(thetas) @ size)))


def held_by_rounding(
    trajectory: Trajectory, passage: Passage, point: CriticalPoint, kind: Kind, *, thresholds: Thresholds = STANDARD
) -> bool:
    """Whether a flow stays at a strict saddle all of whose unstable coordinates were lost to rounding.

    Args:
        trajectory: the flow.
        passage: near the saddle.
        point: the saddle.
        kind: of the saddle.
        thresholds: `seeded`.

    Returns:
        Whether the flow has no departure whose time it could know.
    """
    spectrum = kind.spectrum
    if passage.departure is not None or kind.name != "strict saddle" or spectrum is None or not spectrum.index:
        return False
    unstable = spectrum.eigenvectors[:, : spectrum.index].T
    return all(lost_to_rounding(trajectory.thetas, point.theta, e, thresholds.seeded) for e in unstable)
