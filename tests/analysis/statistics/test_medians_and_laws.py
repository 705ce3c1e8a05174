"""Censored medians and fits: a textbook's data, exact intervals, laws that are known, coverage."""

import math

import numpy as np
import pytest
from saddlescope.analysis.statistics.laws import fit_law
from saddlescope.analysis.statistics.mechanism import mechanism
from saddlescope.analysis.statistics.medians import censored_median, share

# Weeks of remission under 6-mercaptopurine (Freireich et al. 1963; Kaplan–Meier in every textbook): S(22) = 0.538,
# S(23) = 0.448, and of the log–log intervals that at 10 weeks is (0.503, 0.889), that at 13 weeks (0.432, 0.849).
WEEKS = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35.0])
CENSORED = np.isin(np.arange(21), [3, 5, 7, 8, 11, 12, 13, 16, 17, 18, 19, 20])


def test_the_textbook_example():
    found = censored_median(WEEKS, CENSORED)
    assert (found.value, found.low, found.high) == (23.0, 13.0, math.inf)
    assert (found.count, found.censored, found.method) == (21, 12, "Kaplan–Meier")
    # Placebo: all relapsed.
    weeks = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23.0])
    found = censored_median(weeks)
    # P(B(21, 1/2) ≤ 5) = 0.0133, P(≤ 6) = 0.039: the sixth value from either end.
    assert (found.value, found.low, found.high, found.method) == (8.0, 4.0, 12.0, "order statistics")


def test_a_common_horizon_leaves_order_statistics_exact():
    values = np.arange(1.0, 21.0)
    whole = censored_median(values)
    assert (whole.value, whole.low, whole.high) == (10.5, 6.0, 15.0) and whole.value == np.median(values)
    cut = censored_median(np.minimum(values, 15.5), values > 15.5)
    assert (cut.value, cut.low, cut.high, cut.method) == (10.5, 6.0, 15.0, "order statistics")
    cut = censored_median(np.minimum(values, 12.5), values > 12.5)
    assert (cut.value, cut.low, cut.high) == (10.5, 6.0, math.inf)
    assert censored_median(np.minimum(values, 5.5), values > 5.5).value == math.inf
    assert math.isnan(censored_median(np.array([math.nan])).value)
    assert (censored_median(np.array([2.0])).low, censored_median(np.array([2.0])).high) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="between 0 and 1"):
        censored_median(values, confidence=95)
    with pytest.raises(ValueError, match="one flag"):
        censored_median(values, np.zeros(3, bool))


def test_medians_cover():
    """With single horizons, drawn at random, the interval holds the median about as often as it says."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        times, horizons = rng.exponential(size=40), rng.exponential(2.0, size=40)
        found = censored_median(np.minimum(times, horizons), times > horizons)
        inside += found.low <= math.log(2) <= found.high
    # Three standard errors of a share of 0.95 of 300.
    assert abs(inside / 300 - 0.95) < 0.038


def test_shares_are_those_of_clopper_and_pearson():
    found = share(0, 10)
    assert found.value == 0 and found.low == 0 and math.isclose(found.high, 1 - 0.025**0.1)


SCALES = np.array([1e-2, 1e-3, 1e-4])


def test_laws_without_noise_are_recovered_beyond_the_horizon():
    times = np.repeat(3 / SCALES[:, None], 4, axis=1) * np.array([1.0, 1.5, 2.0, 3.0])
    fit = fit_law(1 / SCALES, times)
    assert math.isclose(fit.slope, 1, rel_tol=1e-12) and math.isclose(fit.low, 1, rel_tol=1e-12)
    np.testing.assert_allclose(fit.at(1 / SCALES), np.exp(np.mean(np.log(times), axis=1)))
    # A single deterministic flow, whose last time the horizon cut off far below the law.
    cut = np.array([[False], [False], [True]])
    one = fit_law(1 / SCALES, np.minimum(times[:, :1], 2e4), cut)
    assert math.isclose(one.slope, 1, rel_tol=1e-9) and math.isnan(one.low) and one.censored == 1
    line = fit_law(1 / SCALES, 5 + 2 * np.log(1 / SCALES)[:, None] * np.ones(3), law="logarithm")
    assert math.isclose(line.slope, 2, rel_tol=1e-12) and math.isclose(line.intercept, 5, rel_tol=1e-9)


def heavy_cut(rng):
    """Times 2 ε^(−1/2) with a spread of one half of ln t, and a horizon at the median of the smallest ε."""
    times = 2 * SCALES[:, None] ** -0.5 * np.exp(0.5 * rng.standard_normal((3, 30)))
    horizon = 2 * SCALES[-1] ** -0.5
    return np.minimum(times, horizon), times > horizon


def test_censored_times_are_neither_dropped_nor_taken_for_ends():
    """The slope of what is left of the horizon is too small; the censored fit finds it, and covers it."""
    rng, inside, slopes, naive = np.random.default_rng(1), 0, [], []
    for number in range(20):
        times, cut = heavy_cut(rng)
        fit = fit_law(1 / SCALES, times, cut, seed=number)
        slopes.append(fit.slope)
        inside += fit.low <= 0.5 <= fit.high
        naive.append(fit_law(1 / SCALES, np.where(cut, np.nan, times)).slope)
    error = np.std(slopes) / math.sqrt(len(slopes))
    assert abs(np.mean(slopes) - 0.5) < 3 * error < np.abs(np.mean(naive) - 0.5)
    assert inside >= 16  # 19 expected of 20, standard error 1


def test_the_likelihood_is_that_of_the_normal_law():
    from scipy import stats

    times, cut = heavy_cut(np.random.default_rng(2))
    fit = fit_law(1 / SCALES, times, cut)
    law = stats.lognorm(s=fit.spread, scale=np.broadcast_to(fit.at(1 / SCALES)[:, None], times.shape))
    by_hand = np.where(cut, law.logsf(times), law.logpdf(times)).sum()
    assert math.isclose(fit.log_likelihood, by_hand, rel_tol=1e-8)
    for step in (-1e-4, 1e-4):
        moved = fit.at(1 / SCALES)[:, None] * (1 / SCALES[:, None]) ** step
        law = stats.lognorm(s=fit.spread, scale=np.broadcast_to(moved, times.shape))
        assert np.where(cut, law.logsf(times), law.logpdf(times)).sum() < by_hand


def test_laws_refuse_what_determines_none():
    with pytest.raises(ValueError, match="positive"):
        fit_law(SCALES, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="at two values"):
        fit_law(SCALES, np.ones((3, 1)), np.array([[True], [True], [False]]))
    with pytest.raises(ValueError, match="one row per x"):
        fit_law(SCALES, np.ones((2, 1)))


def test_mechanisms_are_told_apart_by_their_laws():
    """Rates that the data decide give ln 1/ε, sizes that chance decides a power; two scales may give neither."""
    rng = np.random.default_rng(3)
    rates = 2 * np.log(1 / SCALES)[:, None] + rng.standard_normal((3, 20))
    sizes = rng.lognormal(size=(1, 20)) / SCALES[:, None]
    assert mechanism(SCALES, rates).name == "data"
    by_size = mechanism(SCALES, sizes)
    # Both laws are of 1/ε: their intercepts are the times from ε = 1.
    exact = mechanism(
        SCALES, np.repeat((2 * np.log(1 / SCALES) + 5)[:, None], 3, axis=1) + 1e-6 * rng.standard_normal((3, 3))
    )
    assert exact.logarithm.intercept == pytest.approx(5, abs=1e-4)
    assert by_size.name == "initialisation" and by_size.power.low <= 1.001 and by_size.power.high >= 0.999
    close = SCALES[0] * np.array([1.0, 0.99])
    times = 2 * np.log(1 / close)[:, None] + rng.standard_normal((2, 5))
    assert mechanism(close, times).name == "undetermined"
    assert "times" in str(by_size) and "median" not in str(by_size)
