"""When a flow no longer advances, and when a checkpoint is due: by the rules, without a flow."""

import numpy as np
import pytest
from saddlescope.flows import Result
from saddlescope.flows.simulation import checkpoint
from saddlescope.flows.simulation.stalls import STALLED_ROUNDS, StallDetector
from saddlescope.flows.simulation.steps import Steps


def record(t, size=2.0, speed=4.0):
    """One record whose time scale is size / speed."""
    one = np.ones(1)
    return Steps(ts=t * one, thetas=size * one[:, None], energies=one, losses=one, speeds=speed * one)


def rounds(detector, times):
    """The first reason to stop after rounds that end at these times, and the number of rounds until then."""
    for k, now in enumerate(map(float, times), 1):
        if (result := detector.reason_to_stop(now)) is not None:
            return result, k
        detector.begin_round(now)
    return None, len(times)


def detector(stops=(1.0,), rtol=1e-12):
    return StallDetector(record(0.0), np.array(stops), rtol)


# The share is 1e4 rtol of the time scale 1/2: 5e-9 per round.
@pytest.mark.parametrize(("step", "reason"), [(4.9e-9, Result.sliding), (5.1e-9, None)])
def test_rounds_are_stalled_below_a_share_of_the_time_scale(step, reason):
    result, count = rounds(detector(), step * np.arange(1, 11))
    assert result is reason
    assert count == (STALLED_ROUNDS if reason else 10)


def test_one_round_that_advances_starts_the_count_again():
    times = np.cumsum([1e-9] * 3 + [1e-3] + [1e-9] * 3 + [1e-3])
    assert rounds(detector(), times) == (None, 8)


def test_rounds_that_reach_a_stop_do_not_count():
    times = 1e-9 * np.arange(1, 11)
    assert rounds(detector(stops=[*times, 1.0]), times) == (None, 10)


def test_faster_flows_have_a_shorter_time_scale():
    fast = detector()
    fast.observe(record(0.0, size=2.0, speed=400.0))
    assert fast.time_scale == 0.005
    fast.observe(record(0.0, size=2.0, speed=4.0))
    assert rounds(fast, 1e-9 * np.arange(1, 11)) == (None, 10)


def test_a_round_without_any_step_ends_the_flow():
    assert detector().reason_to_stop(0.0) is Result.not_finite


def test_the_state_of_a_detector_is_restored():
    first, second = detector(), detector()
    rounds(first, [1e-9, 2e-9])
    second.restore(first.state())
    assert rounds(second, [3e-9, 4e-9]) == (Result.sliding, 2)


def test_checkpoints_are_due_by_the_minute_and_take_a_share_of_the_time(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    saving = checkpoint.Checkpoint(tmp_path / "flow.npz", {})
    clock[0] += checkpoint.INTERVAL - 1
    assert not saving.due
    clock[0] += 2
    assert saving.due

    def slow_write(*arguments, **options):
        clock[0] += 30.0

    monkeypatch.setattr(checkpoint.files, "write", slow_write)
    saving.write({}, {})
    clock[0] += 30.0 / checkpoint.SHARE - 1
    assert not saving.due
    clock[0] += 2
    assert saving.due
