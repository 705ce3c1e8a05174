"""When a flow no longer advances, and when a checkpoint is due: by the rules, without a flow."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Landscape, Result
from saddlescope.flows.simulation import checkpoint
from saddlescope.flows.simulation.jumps import jumps
from saddlescope.flows.simulation.stalls import CREEPING_ROUNDS, STALLED_ROUNDS, StallDetector
from saddlescope.flows.simulation.stepping import CHUNK
from saddlescope.flows.simulation.steps import Steps

from vector import Vector


def record(t, size=2.0, speed=4.0):
    """One record whose time scale is size / speed."""
    one = np.ones(1)
    return Steps(ts=t * one, thetas=size * one[:, None], energies=one, losses=one, speeds=speed * one)


def rounds(detector, times, accepted=CHUNK):
    """The first reason to stop after rounds that end at these times, and the number of rounds until then."""
    for k, now in enumerate(map(float, times), 1):
        detector.accepted = accepted
        if (result := detector.reason_to_stop(now)) is not None:
            return result, k
        detector.begin_round(now)
    return None, len(times)


def detector(stops=(1.0,), rtol=1e-12, rounds=1000, to_and_fro=True):
    return StallDetector(record(0.0), np.array(stops), rtol, rounds * CHUNK, lambda _: to_and_fro)


# The share is 1e4 rtol of the time scale 1/2: 5e-9 per round.
@pytest.mark.parametrize(("step", "reason"), [(4.9e-9, Result.sliding), (5.1e-9, None)])
def test_rounds_are_stalled_below_a_share_of_the_time_scale(step, reason):
    result, count = rounds(detector(), step * np.arange(1, 11))
    assert result is reason
    assert count == (STALLED_ROUNDS if reason else 10)


# In 40 rounds of 1e-4 the flow comes to 0.004 of 1, and in all those that are left to a tenth or so.
@pytest.mark.parametrize(
    ("most", "accepted", "to_and_fro", "reason"),
    [(900, 110, True, Result.sliding), (1100, 110, True, None), (900, 120, True, None), (900, 110, False, None)],
)
def test_flows_slide_that_creep_where_the_field_jumps(most, accepted, to_and_fro, reason):
    result, count = rounds(detector(rounds=most, to_and_fro=to_and_fro), 1e-4 * np.arange(1, 101), accepted)
    assert result is reason
    assert count == (CREEPING_ROUNDS if reason else 100)


def test_jumps_are_told_from_stiffness():
    """Steps along the flow of a² / 2 from 1, and with every fourth one led astray by a hundred-thousandth of itself."""
    landscape = Landscape(Vector(jnp.ones(1)), lambda m, _: jnp.sum(m.x**2) / 2, ())
    ts = 1e-5 * np.arange(21.0)
    astray = np.cumsum(1e-10 * (np.arange(21) % 4 == 3))
    smooth, jumping = ((np.exp(-ts) + change)[:, None] for change in (0.0, astray))
    steps = lambda thetas: Steps(ts=ts, thetas=thetas, energies=ts, losses=ts, speeds=ts)  # noqa: E731
    assert jumps(landscape, steps(jumping)) and not jumps(landscape, steps(smooth))
    assert not jumps(landscape, steps(jumping)[:15])


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


def test_weights_at_rest_have_no_time_scale():
    still = detector()
    with np.errstate(all="raise"):
        still.observe(record(0.0, size=1e3, speed=0.0))
    assert still.time_scale == detector().time_scale


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
