"""The rate of a departure is that of a phase on which it is steady; what is steady for an instant only has none."""

import numpy as np
import pytest
from saddlescope.analysis.visits.steady_rate import steady_rate


def test_exponential_growth_between_other_phases():
    """e^{2t} for three e-folds, after growth like t and before growth like e^{t/2}."""
    ts = np.linspace(0, 6, 6001)
    level = np.where(ts < 1, np.log(0.1 + 0.9 * ts), np.where(ts < 2.5, 2 * (ts - 1), 3 + (ts - 2.5) / 2))
    rate, e_folds = steady_rate(ts, np.exp(level), 2)
    assert rate == pytest.approx(2.0, rel=1e-3) and e_folds == pytest.approx(3.0, abs=0.02)


@pytest.mark.parametrize("order", [3, 4])
def test_algebraic_growth(order):
    """r' = c r^{p−1}, so that r^{2−p} = r(0)^{2−p} − (p − 2) c t."""
    ts = np.linspace(0, 0.9, 901)
    r = (1 - ts) ** (-1 / (order - 2))
    rate, e_folds = steady_rate(ts, r, order)
    assert rate == pytest.approx(1 / (order - 2), rel=1e-9)
    assert e_folds == pytest.approx(np.log(10) / (order - 2), rel=1e-9)


@pytest.mark.parametrize("power", [1, 2, 9])
def test_powers_of_time_have_no_rate(power):
    """The slope k/t of ln t^k is steady within 1 % for 0.01 k e-folds."""
    ts = np.geomspace(1, 2, 2001)
    rate, e_folds = steady_rate(ts, ts**power, 2)
    assert rate is None and e_folds == pytest.approx(0.01 * power, rel=0.1)


def test_what_does_not_grow_has_no_rate():
    ts = np.linspace(0, 1, 11)
    assert steady_rate(ts, np.exp(-ts), 2) == (None, 0.0)
