"""A flow answers within three seconds, however long a gradient takes."""

import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import Result, simulate
from saddlescope.flows.simulation.patience import OutOfTime, Patience

from vector import Vector

SECONDS = 1.0


@jax.custom_jvp
def delayed(value):
    def sleep(value):
        time.sleep(SECONDS)
        return np.asarray(value)

    return jax.pure_callback(sleep, jax.ShapeDtypeStruct(value.shape, value.dtype), value)


@delayed.defjvp
def _(primals, tangents):
    value = delayed(*primals)
    # The derivative takes as long.
    return value, tangents[0] + 0 * value


def slow_loss(model, data):
    return delayed(jnp.sum(model.x**2) / 2)


def slow_flow(**options):
    """A step of Tsit5 takes seven gradients."""
    return simulate(Vector(jnp.array([1.0, 2.0])), slow_loss, (), t1=1e3, **options)


def test_budget_and_progress_meter_within_a_step():
    told = []
    with pytest.warns(UserWarning, match="budget"):
        began = time.monotonic()
        flow = slow_flow(budget=5.0, progress=lambda t, loss: told.append(time.monotonic()))
    assert time.monotonic() - began < 5.0 + 3.0
    assert flow.result is Result.budget
    assert flow.losses[0] == 2.5
    assert len(told) > 0 and np.max(np.diff([*told, time.monotonic()])) < 3.0


@pytest.fixture
def interruptible():
    """A shell starts processes in the background with interruptions ignored, which the flow would respect."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_within_a_step(interruptible):
    told = []

    def progress(t, loss):
        # The flow runs by now, however long it took to compile.
        told.append(time.monotonic())
        if len(told) == 1:
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.warns(UserWarning, match="interrupted"):
        flow = slow_flow(progress=progress)
    assert time.monotonic() - told[0] < 1.0 + 3.0
    assert flow.result is Result.interrupted and flow.losses[0] == 2.5


def test_settings_of_a_thread_hold():
    """Where the caller has settings of his own, the computation is not sent away from them."""
    for context in (jax.default_matmul_precision("float32"), jax.enable_x64(False)):
        with context, Patience() as patience:
            assert patience.wait(threading.get_ident) == threading.get_ident()
    with Patience() as patience:
        assert patience.wait(threading.get_ident) != threading.get_ident()


def test_errors_and_the_end_of_time():
    with Patience() as patience:
        with pytest.raises(ZeroDivisionError):
            patience.wait(lambda: 1 / 0)
        patience.end = time.monotonic() + 0.1
        with pytest.raises(OutOfTime):
            patience.wait(time.sleep, 0.5)
        with pytest.raises(OutOfTime):
            patience.wait(lambda: 1)
