"""Linear algebra of small matrices in one thread."""

import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import numpy as np
import threadpoolctl

# Up to this size a factorisation in one thread takes a millisecond or less, and handing parts of it to other threads
# costs more than it saves: ten times as much where all cores are busy.
SMALL = 400

P = ParamSpec("P")
R = TypeVar("R")


def one_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS uses one thread: where each operation is on little, more threads wait for each other."""
    # NumPy brings a BLAS, and SciPy another.
    return _libraries("scipy.linalg" in sys.modules).limit(limits=1, user_api="blas")


@functools.cache
def _libraries(scipy_too: bool) -> threadpoolctl.ThreadpoolController:
    """The libraries that are loaded by now: to look through all takes a few milliseconds."""
    return threadpoolctl.ThreadpoolController()


def in_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The function, during which BLAS uses one thread if its first argument has few parameters θ."""

    @functools.wraps(function)
    def call(*arguments: P.args, **settings: P.kwargs) -> R:
        theta: Any = getattr(arguments[0] if arguments else None, "theta", None)
        if theta is not None and np.size(theta) > SMALL:
            return function(*arguments, **settings)
        with one_thread():
            return function(*arguments, **settings)

    return call
