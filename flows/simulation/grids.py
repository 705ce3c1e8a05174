"""Times to step onto."""

import numpy as np
from jaxtyping import Float


def linear_grid(t1: float, count: int) -> Float[np.ndarray, " count"]:
    """`count` equal intervals' end points in (0, t1]."""
    _check(t1, count)
    return t1 * np.arange(1, count + 1) / count


def logarithmic_grid(first: float, t1: float, count: int) -> Float[np.ndarray, " count"]:
    """`count` times from `first` > 0 to t1 in equal ratios."""
    _check(t1, count)
    if not 0 < first < t1:
        raise ValueError(f"a logarithmic grid needs 0 < first < t1; got first={first}, t1={t1}.")
    times = np.geomspace(first, t1, count)
    times[-1] = t1
    return times


def _check(t1: float, count: int) -> None:
    if not (np.isfinite(t1) and t1 > 0):
        raise ValueError(f"t1 must be positive and finite; got {t1}.")
    if count < 1:
        raise ValueError(f"a grid needs at least one time; got count={count}.")
