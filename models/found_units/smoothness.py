"""Whether a function is twice differentiable along lines, from its values."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# A line is sampled on [−4, 4] in steps of 0.05, which are halved twelve times, to 1e-5, where third differences are
# largest: normalisation with its usual offset of 1e-5 bends within 3e-3. The power is that of the last four halvings.
REACH, POINTS, HALVINGS, LAST, WINDOW = 4.0, 161, 12, 4, 8
# Third differences fall as the step to the power 3 where a function is smooth, and to the power 2 at a jump of the
# curvature, 1 of the slope, 0 of the value.
LEAST_POWER = 2.5
# Third differences of this share of the function's size are its rounding.
ROUNDING = 1e-12

Lines = Callable[[list[Float[np.ndarray, " n"]]], Float[np.ndarray, "k m"]]


def is_smooth(response: Lines, units: list[Float[np.ndarray, " n"]]) -> bool:
    """Whether a response is twice differentiable along two lines, one of them through zero.

    Args:
        response: a function of parameters.
        units: two or more random parameters.

    Returns:
        Whether no value, slope or curvature jumps.
    """
    return all(_smooth_line(response, start, units[1]) for start in (0 * units[0], units[0]))


def _smooth_line(response: Lines, start: np.ndarray, direction: np.ndarray) -> bool:
    times = np.linspace(-REACH, REACH, POINTS)
    step, values = times[1] - times[0], response([start + t * direction for t in times])
    largest, place = _third_difference(values, times)
    found, size = [largest], float(np.max(np.abs(values)))
    if not np.isfinite(size):
        return False
    for _ in range(HALVINGS):
        if largest <= ROUNDING * size:
            return True
        step /= 2
        times = place + step * np.arange(-WINDOW, WINDOW + 1)
        largest, place = _third_difference(response([start + t * direction for t in times]), times)
        found.append(largest)
    return largest <= ROUNDING * size or bool(np.log2(found[-1 - LAST] / largest) / LAST > LEAST_POWER)


def _third_difference(values: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """The largest third difference and the middle of where it is."""
    differences = np.max(np.abs(np.diff(values, 3, axis=0)), axis=1)
    at = int(np.argmax(differences))
    return float(differences[at]), float(times[at] + times[at + 3]) / 2
