"""Medians of observations some of which are only bounded from below, and shares, with confidence intervals."""

import math
from typing import Any

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Bool, Float

# Survival probabilities are products of ratios of counts: below this difference they are equal.
ROUNDING = 1e-12


class Median(eqx.Module):
    """A median with its confidence interval.

    Attributes:
        value: the median; infinite where fewer than half of the observations are known to end, NaN without any.
        low: lower end of the interval.
        high: upper end, infinite where the data do not bound it.
        confidence: its level.
        method: how the interval was found: "order statistics" or "Kaplan–Meier".
        count: number of observations.
        censored: how many of them are lower bounds.
    """

    value: float
    low: float
    high: float
    confidence: float
    method: str
    count: int
    censored: int

    def __str__(self) -> str:
        cut = f", {self.censored} censored" if self.censored else ""
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] of {self.count}{cut}"


def censored_median(
    values: Float[np.ndarray, " n"], censored: Bool[np.ndarray, " m"] | None = None, *, confidence: float = 0.95
) -> Median:
    r"""The Kaplan–Meier median of right-censored observations, and a confidence interval.

    The median is where the estimated survival function S falls to one half; where S equals one half on a whole
    interval, its middle. If no observation is censored below the upper end, the interval
    $[x_{(l)}, x_{(n + 1 - l)}]$ of order statistics is exact: it holds the median with the probability that a binomial
    variable $B(n, 1/2)$ lies in [l, n − l], whatever the distribution. Otherwise it is that of Brookmeyer and Crowley:
    all times at which the log–log interval of S holds one half.

    Args:
        values: observations, or lower bounds of them; NaN are left out.
        censored: which are lower bounds; by default none.
        confidence: level of the interval, between 0 and 1.

    Returns:
        The median with its interval.

    Raises:
        ValueError: for a level outside (0, 1), or as many flags as there are not values.

    Source: Kaplan & Meier (1958); Brookmeyer & Crowley (1982).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence}.")
    cut = np.zeros(len(values), bool) if censored is None else np.asarray(censored)
    if cut.shape != values.shape:
        raise ValueError(f"each value needs one flag; got {cut.size} flags for {values.size} values.")
    known = ~np.isnan(values)
    values, cut = values[known], cut[known]
    if len(values) == 0:
        nothing = math.nan
        return Median(
            value=nothing, low=nothing, high=nothing, confidence=confidence, method="none", count=0, censored=0
        )
    times, survival, error = _survival(values, cut)
    low, high, method = *_order_statistics(values, confidence), "order statistics"
    if np.any(cut & (values < high)):
        low, high, method = *_brookmeyer_crowley(times, survival, error, confidence), "Kaplan–Meier"
    elif np.any(cut):
        # A bound at or above the upper end is a number only if it was observed.
        high = high if np.any(~cut & (values == high)) else math.inf
    return Median(
        value=_half(times, survival),
        low=low,
        high=high,
        confidence=confidence,
        method=method,
        count=len(values),
        censored=int(np.sum(cut)),
    )


def _survival(values: Any, cut: Any) -> tuple[Any, Any, Any]:
    """Kaplan–Meier: times of events, survival after them, and Greenwood's standard error of ln(−ln S)."""
    data = scipy.stats.CensoredData(uncensored=values[~cut], right=values[cut])
    found = scipy.stats.ecdf(data).sf
    times, survival = found.quantiles, found.probabilities
    events = np.array([np.sum(~cut & (values == time)) for time in times])
    at_risk = np.array([np.sum(values >= time) for time in times])
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events))))
        error = greenwood / np.abs(np.log(survival))
    # An event is where S falls; scipy lists the times of censoring as well.
    return times[events > 0], survival[events > 0], error[events > 0]


def _half(times: Any, survival: Any) -> float:
    """Where a survival function that falls at given times passes one half."""
    below = np.flatnonzero(survival <= 0.5 + ROUNDING)
    if below.size == 0:
        return math.inf
    first = below[0]
    level = abs(survival[first] - 0.5) <= ROUNDING
    return float((times[first] + times[first + 1]) / 2 if level and first + 1 < len(times) else times[first])


def _order_statistics(values: Any, confidence: float) -> tuple[float, float]:
    """The narrowest symmetric interval of order statistics that holds the median with this probability at least."""
    # Ranks 1 … n; P(fewer than l of n fair coins) ≤ (1 − confidence) / 2.
    rank = int(scipy.stats.binom.ppf((1 - confidence) / 2, len(values), 0.5))
    if rank == 0:
        return -math.inf, math.inf
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[-rank])


def _brookmeyer_crowley(times: Any, survival: Any, error: Any, confidence: float) -> tuple[float, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.log(-np.log(survival))
        reach = scipy.stats.norm.ppf((1 + confidence) / 2) * error
        lower, upper = np.exp(-np.exp(centre + reach)), np.exp(-np.exp(centre - reach))
    # After the last event, if nothing outlives it, S is zero without an error.
    lower, upper = np.where(survival <= 0, 0.0, lower), np.where(survival <= 0, 0.0, upper)
    return _first(times, lower <= 0.5), _first(times, upper <= 0.5)


def _first(times: Any, chosen: Any) -> float:
    return float(times[np.argmax(chosen)]) if np.any(chosen) else math.inf


class Share(eqx.Module):
    """A share of flows with its confidence interval.

    Attributes:
        value: the share.
        low: lower end of the interval.
        high: upper end.
        confidence: its level.
        count: number of flows.
    """

    value: float
    low: float
    high: float
    confidence: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.0%} [{self.low:.0%}, {self.high:.0%}] of {self.count}"


def share(number: int, count: int, *, confidence: float = 0.95) -> Share:
    """The share of flows of which something holds, with the exact interval of Clopper and Pearson (1934).

    Args:
        number: of how many it holds.
        count: number of flows, at least 1.
        confidence: level of the interval.

    Returns:
        The share.
    """
    interval = scipy.stats.binomtest(number, count).proportion_ci(confidence, method="exact")
    return Share(
        value=number / count, low=float(interval.low), high=float(interval.high), confidence=confidence, count=count
    )
