"""A cluster of Dask: an existing scheduler, or one of this machine."""

import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

# Seconds in which a scheduler has to answer, and after which one that answers no more is given up.
ANSWER = 10.0


@contextmanager
def dask_cluster(
    address: str | None, workers: int | None
) -> Generator[tuple[Executor, int, Callable[[], str]], None, None]:
    """Connects to a scheduler, or starts one with workers.

    Dask itself repeats what a worker that died was computing, on another worker.

    Args:
        address: of a scheduler, `tcp://host:port`; `None`: one is started on this machine, with its workers.
        workers: how many to start, or to count with.

    Yields:
        An executor, the number of workers' threads, and what says why the cluster is lost, if it is.

    Raises:
        ValueError: when Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("the engine dask needs Dask: pip install 'saddlescope[cluster]'.") from None
    own: dict[str, Any] = {"n_workers": workers or os.cpu_count() or 1, "threads_per_worker": 1}
    own |= {"processes": True, "dashboard_address": None}
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False, **({} if address else own))
    except OSError as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}.") from error
    lost = _Lost(client, address)
    threads: Any = client.nthreads()
    try:
        yield client.get_executor(pure=False), workers or max(sum(threads.values()), 1), lost
    finally:
        client.close(timeout=1 if lost() else ANSWER)


class _Lost:
    """Says why a scheduler is given up: it has not answered for some seconds."""

    def __init__(self, client: Any, address: str | None) -> None:
        self._client, self._address = client, address or "this machine"
        self._since: float | None = None

    def __call__(self) -> str:
        if self._client.status == "running":
            self._since = None
            return ""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        gone = self._client.status in ("closing", "closed") or now - self._since > ANSWER
        return f"the Dask scheduler of {self._address} answers no more" if gone else ""
