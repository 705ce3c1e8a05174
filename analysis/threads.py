"""Linear algebra of small matrices in one thread."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import threadpoolctl

# Up to this size a factorisation in one thread takes a millisecond or less, and handing parts of it to other threads
# costs more than it saves: ten times as much where all cores are busy.
SMALL = 400

P = ParamSpec("P")
R = TypeVar("R")


def in_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The function, during which BLAS uses one thread if its first argument has few parameters θ."""

    @functools.wraps(function)
    def call(*arguments: P.args, **settings: P.kwargs) -> R:
        theta: Any = getattr(arguments[0] if arguments else None, "theta", None)
        if theta is not None and np.size(theta) > SMALL:
            return function(*arguments, **settings)
        with threadpoolctl.threadpool_limits(1, "blas"):
            return function(*arguments, **settings)

    return call
