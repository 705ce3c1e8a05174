"""Laws of dwell times against a swept axis: censored fits with confidence intervals over seeds."""

import math
from typing import Any, Literal

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Bool, Float

# Resamples of the seeds: the ends of a 95 % interval then rest on 25 of them each.
RESAMPLES = 999
# Newton's method on a concave function of three variables; it takes less than ten steps.
STEPS = 60
# Standard deviations below which the logarithm of the normal distribution, half a square, has lost eight digits.
FAR = 1e4
# Share of the largest time below which a spread is taken for rounding, as of times of one deterministic law.
EXACT = 1e-9

Law = Literal["power", "logarithm"]


class LawFit(eqx.Module):
    r"""A fitted law of times t against x: $t \propto x^{slope}$, or $t = intercept + slope \cdot \ln x$.

    Attributes:
        law: "power" or "logarithm".
        slope: the exponent of x, or the slope in ln x.
        low: lower end of its confidence interval; NaN with a single seed.
        high: upper end.
        confidence: level of the interval.
        intercept: of ln t, or of t, at x = 1.
        spread: standard deviation of ln t, or of t, about the law.
        log_likelihood: of the times, comparable between laws.
        count: number of times.
        censored: how many of them are lower bounds.
    """

    law: Law = eqx.field(static=True)
    slope: float
    low: float
    high: float
    confidence: float
    intercept: float
    spread: float
    log_likelihood: float
    count: int
    censored: int

    def at(self, x: Any) -> Float[np.ndarray, "..."]:
        """The law's median time at given x."""
        value = self.intercept + self.slope * np.log(np.asarray(x, dtype=float))
        return np.exp(value) if self.law == "power" else value

    def __str__(self) -> str:
        name = "exponent" if self.law == "power" else "slope in the logarithm"
        cut = f", {self.censored} censored" if self.censored else ""
        return f"{name} {self.slope:.4g} [{self.low:.4g}, {self.high:.4g}] from {self.count} times{cut}"


def fit_law(
    x: Float[np.ndarray, " K"],
    times: Float[np.ndarray, "M B"],
    censored: Bool[np.ndarray, "M B"] | None = None,
    *,
    law: Law = "power",
    confidence: float = 0.95,
    seed: int = 0,
) -> LawFit:
    r"""Fits a law of times with normal errors of ln t ("power") or of t ("logarithm"), by maximum likelihood.

    A censored time contributes the probability that the law exceeds it (Tobit). In the parameters
    $\delta = \beta / \sigma$, $\gamma = 1 / \sigma$ the likelihood is concave, so that its maximum is the only one. The
    interval is the percentile bootstrap over seeds, all times of a seed together, since one seed's initial weights are
    the same at every x.

    Args:
        x: positive values of the axis, such as 1/ε.
        times: positive times, one row per x and one column per seed; NaN where there is none.
        censored: which are lower bounds; by default none.
        law: which law.
        confidence: level of the interval.
        seed: of the resampling.

    Returns:
        The fit.

    A `ValueError` says that an x or a time is not positive, or that fewer than two x have times that are not censored.

    Source: Tobin (1958); Olsen (1978) for the parameters; Efron (1979) for the bootstrap.
    """
    cut = np.zeros(times.shape, bool) if censored is None else np.asarray(censored)
    _check(x, times, cut)
    logs = np.log(x)
    y = np.log(times) if law == "power" else times
    once = np.ones((1, y.shape[1]))
    intercept, slope, spread, likelihood = (float(found[0]) for found in _tobit(logs, y, cut, once))
    if law == "power":
        likelihood -= float(np.sum(y[~np.isnan(y) & ~cut]))
    low, high = _interval(logs, y, cut, confidence, seed)
    return LawFit(
        law=law,
        slope=slope,
        low=low,
        high=high,
        confidence=confidence,
        intercept=intercept,
        spread=spread,
        log_likelihood=likelihood,
        count=int(np.sum(~np.isnan(y))),
        censored=int(np.sum(cut & ~np.isnan(y))),
    )


def _check(x: Any, times: Any, cut: Any) -> None:
    if times.shape != cut.shape or len(x) != len(times):
        raise ValueError(f"times and flags need one row per x; got {times.shape} and {cut.shape} for {len(x)} x.")
    if np.any(~(x > 0)) or np.any(times[~np.isnan(times)] <= 0):
        raise ValueError("x and times must be positive; take 1/ε as x, and leave out times that do not exist as NaN.")
    if not _determined(times, cut, np.ones((1, times.shape[1])))[0]:
        raise ValueError("a law needs times that are not censored at two values of x at least.")


def _determined(y: Any, cut: Any, weights: Any) -> Bool[np.ndarray, " R"]:
    """Of each weighting of the columns, whether at least two rows keep a value that is no bound."""
    return np.sum(weights @ (~np.isnan(y) & ~cut).T > 0, axis=1) >= 2


def _interval(logs: Any, y: Any, cut: Any, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the slope over columns; resamples that determine no law are left out."""
    count = y.shape[1]
    if count < 2:
        return math.nan, math.nan
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
    slopes = _tobit(logs, y, cut, weights[_determined(y, cut, weights)])[1]
    low, high = np.quantile(slopes, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _tobit(logs: Any, y: Any, cut: Any, weights: Float[np.ndarray, "R B"]) -> tuple[Any, Any, Any, Any]:
    """Intercepts, slopes, spreads and log-likelihoods of lines with normal errors, some values being lower bounds."""
    # All resamples are fitted together, each a weighting of the columns: a general optimiser, which takes one at a
    # time, is a hundred times slower.
    known = ~np.isnan(y)
    design = np.column_stack([np.ones(int(known.sum())), np.broadcast_to(logs[:, None], y.shape)[known]])
    values, bound = y[known], cut[known]
    weights = np.broadcast_to(weights[:, None], (len(weights), *y.shape))[:, known]
    free = weights * ~bound
    # Least squares of what is no bound: the maximum, where the bounds lie far below the line.
    normal = np.einsum("rn,ni,nj->rij", free, design, design)
    line = np.linalg.solve(normal, ((free * values) @ design)[..., None])[..., 0]
    residuals = values - line @ design.T
    count, floor = np.sum(free, axis=1), EXACT * float(np.max(np.abs(values)))
    first = np.hypot(np.sqrt(np.sum(free * residuals**2, axis=1) / count), floor)
    shift, gamma, likelihood = _maximise(design, residuals / first[:, None], free, weights - free, floor / first)
    line, spread = line + shift * first[:, None] / gamma[:, None], first / gamma
    return line[:, 0], line[:, 1], spread, likelihood - count * (np.log(first) + 0.5 * math.log(2 * math.pi))


def _mills(z: Any) -> Any:
    """The normal density over its distribution function, which for very negative z is −z."""
    near = np.maximum(z, -FAR)
    return np.where(z < -FAR, -z, np.exp(-0.5 * near**2 - 0.5 * math.log(2 * math.pi) - scipy.special.log_ndtr(near)))


def _maximise(design: Any, residuals: Any, free: Any, tied: Any, floor: Any) -> tuple[Any, Any, Any]:
    r"""Newton's method in $(\delta, \gamma)$ from (0, 1), for $z = \delta \cdot x - \gamma e$ with residuals e."""
    rows = np.concatenate([np.broadcast_to(design, (*residuals.shape, 2)), -residuals[..., None]], axis=2)
    count = np.sum(free, axis=1)

    def value(p: Any) -> Any:
        z, gamma = np.einsum("rni,ri->rn", rows, p), np.maximum(p[:, -1], np.finfo(float).tiny)
        terms = np.sum(tied * scipy.special.log_ndtr(z) - 0.5 * free * z**2, axis=1)
        return np.where(p[:, -1] > 0, terms + count * (np.log(gamma) - 0.5 * (floor * gamma) ** 2), -math.inf)

    p = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(rows), 3))
    for _ in range(STEPS):
        z = np.einsum("rni,ri->rn", rows, p)
        ratio = _mills(z)
        gradient = np.einsum("rn,rni->ri", tied * ratio - free * z, rows)
        gradient[:, -1] += count * (1 / p[:, -1] - floor**2 * p[:, -1])
        hessian = np.einsum("rn,rni,rnj->rij", tied * ratio * (z + ratio) + free, rows, rows)
        hessian[:, -1, -1] += count * (1 / p[:, -1] ** 2 + floor**2)
        step, size = np.linalg.solve(hessian, gradient[..., None])[..., 0], np.ones(len(p))
        # A step may lose what is rounding of a sum of this size.
        least = value(p) - EXACT * count
        while np.any(worse := (value(p + size[:, None] * step) < least) & (size > EXACT)):
            size = np.where(worse, size / 2, size)
        p = p + size[:, None] * step
        if np.all(np.abs(size[:, None] * step) <= EXACT):
            break
    return p[:, :2], p[:, 2], value(p)
