"""Where independent logistic modes cease to be learned one by one, between plateaus."""

import numpy as np

from ...analysis.theory import logistic_mode
from ...analysis.visits.passages import closest_approaches
from ..data.synthetic import power_law

# Modes of the target.
MODES = 3
# Times per curve, and halvings of the interval of ln ε, which leave a per cent.
CURVE_POINTS, BISECTIONS = 1500, 11


def predicted_saddles(scale: float, power: float, width: int) -> int:
    r"""The number of plateaus of independent logistic modes that start at $H \varepsilon^2 / 2$.

    With $a_k(t)$ of `logistic_mode`, $\|\nabla L\|^2 = 2 \sum_k a_k (s_k - a_k)^2$; the criterion of a plateau is that
    of visits. Equal strengths make one transition.

    Args:
        scale: ε.
        power: κ.
        width: H.

    Returns:
        The number, up to K.
    """
    s, start = power_law(MODES, power), width * scale**2 / 2
    if np.any(start >= s):
        return 0
    ts = np.linspace(0.0, np.max(np.log(s / start) / (2 * s)) * 1.5, CURVE_POINTS)[:, None]
    modes = logistic_mode(ts, s, start, s)
    speeds = np.sqrt(2 * np.sum(modes * (s - modes) ** 2, axis=1))
    found = closest_approaches(speeds)
    return int(np.sum(found < len(ts) - 1))


def predicted_boundary(power: float, width: int, scales: tuple[float, float]) -> float:
    """The largest ε at which the closed form visits a saddle of every rank, by bisection; NaN where there is none.

    Args:
        power: κ.
        width: H.
        scales: the interval of ε in which it is sought.

    Returns:
        ε.
    """
    low, high = np.log(scales)
    if predicted_saddles(float(np.exp(low)), power, width) < MODES:
        return float("nan")
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if predicted_saddles(float(np.exp(middle)), power, width) >= MODES:
            low = middle
        else:
            high = middle
    return float(np.exp(low))
