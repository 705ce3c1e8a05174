"""Long computations beside a thread that stays responsive: to Ctrl-C, a budget and a progress meter."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax

# Seconds of silence after which a user wonders whether anything still happens.
SILENCE = 2.0

# Computations that are no longer waited for.
_DROPPED: list[Future[Any]] = []


def still_computing() -> bool:
    """Whether a computation that is no longer waited for still runs, for whose end Python waits before it exits."""
    return any(not future.done() for future in _DROPPED)


def drop(future: Future[Any]) -> None:
    """Notes that a computation under way is no longer waited for."""
    _DROPPED.append(future)


class OutOfTime(Exception):
    """The budget was spent before a computation ended."""


class Patience:
    """Runs computations in a thread of their own, and waits for them while it watches the clock.

    Compiled programs do not see signals until they end, and a step of a large model may take minutes. A computation
    that is no longer waited for ends by itself and its result is dropped: it must not change anything. After that
    nothing more can be run.

    Attributes:
        end: the moment, by `time.monotonic`, at which to raise `OutOfTime`.
        idle: called at least every two seconds while waiting.
    """

    end: float
    idle: Callable[[], None]

    def __init__(self):
        self.end, self.idle = float("inf"), lambda: None
        self._executor = ThreadPoolExecutor(1)
        # Contexts like `jax.enable_x64` hold in their own thread only; within one, everything runs in this thread.
        self._alone = self._executor.submit(settings_of_thread).result() != settings_of_thread()

    def wait(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a computation.

        Args:
            function: without side effects.
            *arguments: its arguments.

        Returns:
            The function's value.

        Raises:
            OutOfTime: when the budget is spent before or while it is computed.
        """
        if time.monotonic() > self.end:
            raise OutOfTime
        if self._alone:
            return function(*arguments)
        future = self._executor.submit(function, *arguments)
        try:
            while not wait([future], min(SILENCE, max(self.end - time.monotonic(), 0))).done:
                if time.monotonic() > self.end:
                    raise OutOfTime
                self.idle()
        except BaseException:
            drop(future)
            raise
        return future.result()

    def __enter__(self) -> "Patience":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._executor.shutdown(wait=False)


class Directly(Patience):
    """Runs computations at once, in the caller's thread, for one of many flows that take their steps elsewhere."""

    def __init__(self):
        self.end: float = float("inf")
        self.idle: Callable[[], None] = lambda: None

    def wait(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's value."""
        return function(*arguments)

    def __exit__(self, *exception: Any) -> None:
        return


def settings_of_thread() -> dict[str, Any]:
    """JAX's configuration as this thread sees it."""
    return {name: getattr(jax.config, name, None) for name in jax.config.values}
