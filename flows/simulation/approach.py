"""When a function of a flow passes zero, from its values before that time alone."""

from collections.abc import Callable

import numpy as np

from .steps import Steps

# Share of the way between the steps that is gone first, for the slope from before: a value beyond may mislead.
FIRST = 0.01
# Shares of the way to the estimated zero that are gone next, the last of them again and again. Each point is then ten
# times as close as the one before, and the rest far longer than the estimate's error: no stage of a step lies beyond.
SHARES = (0.5, 0.9)
# Points on the way after which the estimate is final: the product of their distances from the zero is then below
# rounding for any step that an integrator accepts.
POINTS = 8
# Points through which the inverse function is interpolated.
DEGREE = 5
# Estimates after which to stop; halving an interval down to rounding takes about fifty.
TRIES = 100


def zero_from_before(value: Callable[[Steps], float], onto: Callable[[Steps, float], Steps], pair: Steps) -> float:
    r"""The time between two accepted steps at which a function of the flow passes zero.

    If the field has a kink where the function is zero, as that of a ReLU unit has, then no step across this time is
    accurate: stages on the far side mix both fields. The zero is therefore approached from before and extrapolated: the
    polynomial $t(g)$ through the last points $(g_k, t_k)$ at $g = 0$, with an error proportional to
    $\prod_k (t^* - t_k)$.

    Args:
        value: the function g of a single record.
        onto: steps from a single record onto a later time.
        pair: the records before and after the zero, between which the sign of g changes.

    Returns:
        The time.
    """
    (lower, upper), record = (float(t) for t in pair.ts), pair[:1]
    resolution = 4 * float(np.finfo(pair.ts.dtype).eps) * upper
    times, values = [lower], [value(record)]
    positive, beyond = values[0] > 0, value(pair[1:])
    if values[0] == 0 or (beyond > 0) == positive:
        # Programs round differently, and one end is zero up to rounding.
        return lower if abs(values[0]) <= abs(beyond) else upper
    estimate, time = upper, lower + FIRST * (upper - lower)
    for _ in range(TRIES):
        if time - lower <= resolution:
            break
        try:
            reached = onto(record, time)
        except FloatingPointError:
            # No step shorter than the accepted one succeeds, as may be where the field is not finite.
            break
        now = value(reached)
        if (now > 0) != positive or now == 0:
            upper = estimate = time
            time = (lower + upper) / 2
            continue
        record, lower = reached, time
        times, values = [*times, time], [*values, now]
        before, found = estimate, _inverse(values[-DEGREE:], times[-DEGREE:])
        between = lower < found < upper
        estimate = found if between else upper if found >= upper else (lower + upper) / 2
        if between and (abs(estimate - before) <= resolution or len(times) > POINTS):
            break
        time = lower + SHARES[min(len(times) - 2, len(SHARES) - 1)] * (estimate - lower)
    return estimate


def _inverse(values: list[float], times: list[float]) -> float:
    """Neville's value at zero of the polynomial t(g) through given points; NaN where g does not move steadily."""
    steps = np.diff(values)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        return float("nan")
    column = list(times)
    for width in range(1, len(values)):
        column = [
            (values[k] * column[k + 1] - values[k + width] * column[k]) / (values[k] - values[k + width])
            for k in range(len(column) - 1)
        ]
    return column[0]
