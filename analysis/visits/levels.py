"""When a loss reaches a level."""

import numpy as np
import scipy
from jaxtyping import Float


def first_time_below(
    ts: Float[np.ndarray, " T"],
    losses: Float[np.ndarray, " T"],
    level: float,
    *,
    speeds: Float[np.ndarray, " T"] | None = None,
) -> float | None:
    r"""The first time at which a loss is at or below a level.

    Args:
        ts: saved times.
        losses: at these times; they need not decrease steadily.
        level: the loss to be reached.
        speeds: $\|\nabla L\|$ at these times, for a gradient flow: as $dL/dt = -\|\nabla L\|^2$ is known, the loss is
            a cubic between saved times. Without speeds it is linear.

    Returns:
        The time, or `None` where the loss stays above the level.
    """
    below = losses <= level
    if not np.any(below):
        return None
    k = int(np.argmax(below))
    if k == 0:
        return float(ts[0])
    start, end = float(ts[k - 1]), float(ts[k])
    if speeds is None:
        return start + float((losses[k - 1] - level) / (losses[k - 1] - losses[k])) * (end - start)
    drop = float(losses[k] - losses[k - 1])
    slopes = [-(end - start) * float(speeds[j]) ** 2 for j in (k - 1, k)]
    # Hermite's cubic in the share of the step, from its values and slopes at 0 and 1.
    cubic = [sum(slopes) - 2 * drop, 3 * drop - 2 * slopes[0] - slopes[1], slopes[0], float(losses[k - 1] - level)]
    shares = [float(root.real) for root in np.roots(cubic) if np.isreal(root) and 0 <= root.real <= 1]
    share = min(shares, default=float(losses[k - 1] - level) / -drop)
    return start + share * (end - start)


def time_on_spline(ts: Float[np.ndarray, " T"], losses: Float[np.ndarray, " T"], level: float) -> float:
    """The first time at which the cubic spline through losses on a smooth path is at a level that it reaches."""
    return float(scipy.interpolate.CubicSpline(ts, losses).solve(level, extrapolate=False)[0])
