"""When a loss reaches a level: on lines between saved times, and on the cubic that the speeds determine."""

import numpy as np
import pytest
from saddlescope.analysis.visits.levels import first_time_below


@pytest.mark.parametrize(
    ("level", "time"), [(3.0, 0.0), (2.5, 0.25), (2.0, 0.5), (1.0, 1.0), (0.75, 4.0), (0.5, 5.0), (0.4, None)]
)
def test_between_saved_times_a_loss_without_speeds_is_linear(level, time):
    ts, losses = np.array([0.0, 1.0, 3.0, 5.0]), np.array([3.0, 1.0, 1.0, 0.5])
    assert first_time_below(ts, losses, level) == (None if time is None else pytest.approx(time, abs=1e-15))


def test_the_first_of_several_times_counts():
    assert first_time_below(np.arange(4.0), np.array([2.0, 1.0, 3.0, 0.0]), 1.5) == 0.5


def test_with_its_speeds_a_cubic_loss_is_exact():
    """L = 2 − t³/3 − t has the speed √(1 + t²)."""
    ts = np.array([0.0, 0.4, 1.1])
    losses, speeds = 2 - ts**3 / 3 - ts, np.sqrt(1 + ts**2)
    for time in (0.1, 0.37, 0.5, 1.0):
        level = 2 - time**3 / 3 - time
        assert first_time_below(ts, losses, level, speeds=speeds) == pytest.approx(time, rel=1e-12)
        assert abs(first_time_below(ts, losses, level) - time) > 1e-4
