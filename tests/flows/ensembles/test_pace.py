"""Which program takes an ensemble's next steps, by what was measured of either."""

import pytest
from saddlescope.flows.ensembles import pace
from saddlescope.flows.ensembles.pace import CALLS, WORTH_TRYING, Choice

COMPILATION, PER_STEP = 2.0, 1e-3


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def called(choice, clock, program, seconds, steps):
    end = choice.begin("BDF", program)
    clock[0] += seconds
    end(steps)


def measured(clock, per_step, program="alone", choice=None):
    choice = choice or Choice("auto", lanes=4, members=8)
    called(choice, clock, program, COMPILATION, 1)
    for _ in range(CALLS):
        called(choice, clock, program, 100 * per_step, 100)
    return choice


@pytest.mark.parametrize(("share", "tried"), [(0.7, False), (1.4, True)])
def test_another_program_is_tried_where_the_steps_to_go_take_longer_than_its_compilation(clock, share, tried):
    choice = measured(clock, PER_STEP)
    steps = share * WORTH_TRYING * COMPILATION / PER_STEP
    assert choice.program("BDF", steps, waiting=8) == ("lanes" if tried else "alone")


@pytest.mark.parametrize(("share", "waiting", "best"), [(0.9, 8, "lanes"), (1.1, 8, "alone"), (0.9, 3, "alone")])
def test_the_faster_program_is_taken_and_empty_lanes_count(clock, share, waiting, best):
    choice = measured(clock, share * PER_STEP, "lanes", measured(clock, PER_STEP))
    assert choice.program("BDF", 0.0, waiting=waiting) == best


def test_a_program_that_compiles_is_waited_for(clock):
    choice = Choice("auto", lanes=4, members=8)
    assert choice.program("BDF", 0.0, waiting=8) == "alone"
    end = choice.begin("BDF", "alone")
    assert choice.program("BDF", 0.0, waiting=8) is None
    clock[0] += COMPILATION
    end(1)
    assert choice.program("BDF", 0.0, waiting=8) == "alone" and choice.program("Tsit5", 0.0, waiting=8) == "lanes"
