"""Processes of this machine, each on its own: where one dies, the others go on."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any

from .worker import follow_parent


class CannotStart(RuntimeError):
    """A worker process that ended before it could compute anything."""


class LocalProcesses(ThreadPoolExecutor):
    """A pool of processes that are started afresh, never forked: JAX's threads do not survive a fork.

    The pool of the standard library ends all of its processes when one dies. Here each thread has a process of its own
    and starts another one when that dies; the call that was lost raises `BrokenExecutor`.

    Args:
        workers: the number of processes.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._own = threading.local()
        self._pids: set[int] = set()
        self._pools: list[ProcessPoolExecutor] = []
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls a function in one of the processes."""
        return super().submit(self._in_process, fn, *args, **kwargs)

    def _in_process(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if getattr(self._own, "pool", None) is None:
            self._own.pool, self._own.pid = self._start()
        try:
            return self._own.pool.submit(fn, *args, **kwargs).result()
        except BrokenExecutor:
            self._pids.discard(self._own.pid)
            self._own.pool.shutdown(wait=False)
            self._own.pool = None
            raise

    def _start(self) -> tuple[ProcessPoolExecutor, int]:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=follow_parent)
        self._pools.append(pool)
        try:
            pid = pool.submit(os.getpid).result()
        except BrokenExecutor as error:
            hint = 'a script must call it below `if __name__ == "__main__":`'
            raise CannotStart(f"a worker process could not be started; {hint}") from error
        self._pids.add(pid)
        if self._ended:
            self.kill()
        return pool, pid

    def kill(self) -> None:
        """Ends all processes at once, whatever they are at."""
        self._ended = True
        for pid in tuple(self._pids):
            with suppress(OSError):
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes, once all calls are answered."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._pools:
            pool.shutdown(wait=wait)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            super().shutdown(wait=False, cancel_futures=True)
            self.kill()
        self.shutdown()
