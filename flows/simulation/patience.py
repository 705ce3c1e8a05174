"""Long computations beside a caller who stays awake: for Ctrl-C, for a budget, for a progress meter."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import jax

# Seconds of silence after which a user wonders whether anything still happens.
SILENCE = 2.0


class OutOfTime(Exception):
    """The budget was spent before a computation ended."""


class Patience:
    """Has computations done in a thread of their own, and waits for them with an eye on the clock.

    Compiled programs hear nothing until they end, and a step of a large model may take minutes. One that is no longer
    waited for ends by itself, its result unseen: it must not change anything. After that there is no more waiting.

    - `end`: the moment, by `time.monotonic`, at which to raise `OutOfTime`; `idle`: called now and then meanwhile.
    """

    def __init__(self):
        self.end, self.idle = float("inf"), lambda: None
        self._executor = ThreadPoolExecutor(1)
        # Contexts like `jax.enable_x64` hold in their own thread only; within one, nothing is done elsewhere.
        self._alone = self._executor.submit(_settings).result() != _settings()

    def wait(self, function: Callable, *arguments: Any) -> Any:
        """The function's value; raises `OutOfTime`, or `KeyboardInterrupt`, while it is being computed."""
        if time.monotonic() > self.end:
            raise OutOfTime
        if self._alone:
            return function(*arguments)
        future = self._executor.submit(function, *arguments)
        while not wait([future], min(SILENCE, max(self.end - time.monotonic(), 0))).done:
            if time.monotonic() > self.end:
                raise OutOfTime
            self.idle()
        return future.result()

    def __enter__(self) -> "Patience":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._executor.shutdown(wait=False)


def _settings() -> dict[str, Any]:
    """JAX's configuration as this thread sees it."""
    return {name: getattr(jax.config, name, None) for name in jax.config.values}
