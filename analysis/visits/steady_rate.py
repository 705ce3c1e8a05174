"""The rate at which a flow leaves a saddle, where that is steady."""

import numpy as np
from jaxtyping import Float

from ..thresholds import STANDARD

# Norms below this are zero: it keeps logarithms and quotients finite.
TINY = 1e-300
# The slope of ln t^k stays within a share s of itself while t^k grows by ks e-folds: on a shorter phase than this many
# times s, powers up to the tenth pass for exponential growth, and any smooth amplitude for steady.
PHASE = 10


def steady_rate(
    ts: Float[np.ndarray, " T"], r: Float[np.ndarray, " T"], order: int, *, steady: float = STANDARD.steady
) -> tuple[float | None, float]:
    r"""The coefficient c of $\dot r = c\,r^{p-1}$ on the longest phase (in ln r) on which it is steady.

    Args:
        ts: times.
        r: amplitude at these times.
        order: p.
        steady: share by which the slope of $\ln r$ (p = 2) or $r^{2-p} / (2 - p)$ between neighbouring times may vary
            over the phase; see `Thresholds`.

    Returns:
        c (`None` without growth, or where no phase is long enough to tell it) and the e-folds of r over the phase.
    """
    r = np.maximum(r, TINY)
    level = np.log(r)
    straight = level if order == 2 else r ** (2.0 - order) / (2.0 - order)
    slopes = np.diff(straight) / np.diff(ts)
    best: tuple[float | None, float] = (None, 0.0)
    for i in range(len(slopes)):
        if slopes[i] <= 0:
            continue
        highest, lowest = np.maximum.accumulate(slopes[i:]), np.minimum.accumulate(slopes[i:])
        within = highest - lowest <= steady * lowest
        j = i + (len(within) if np.all(within) else int(np.argmin(within)))
        if level[j] - level[i] > best[1]:
            best = (float((straight[j] - straight[i]) / (ts[j] - ts[i])), float(level[j] - level[i]))
    return best if best[1] >= PHASE * steady else (None, best[1])
