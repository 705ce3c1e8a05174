"""Wall time of calls."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


def clock(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call and the wall time that it took, in seconds."""
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """The median wall time of a call, in seconds, after one call that compiles.

    Args:
        run: a function whose result may still be under way: the clock stops when its arrays are there.
        repeats: number of timed calls.
    """

    def whole():
        return jax.block_until_ready(run())

    whole()
    return statistics.median(clock(whole)[1] for _ in range(repeats))
