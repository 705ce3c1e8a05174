"""Jobs of Slurm, by way of submitit."""

import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

# Seconds between looks at the jobs; submitit itself asks Slurm less often.
LOOK = 1.0
# Minutes that a job may take, where nothing else is said.
MINUTES = 240


class Requeued:
    """A call that submitit sends back to the queue when its job is preempted or out of time.

    Whoever is called must find on its own what is done already, as a sweep does by its cells.

    Args:
        function: what is called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        return self.function(*args, **kwargs)

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """What submitit asks for: the same call, to be submitted again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *args, **kwargs)


class BatchJobs(Executor):
    """Submits each call as a job; looks after the jobs in a thread.

    Args:
        submitting: submitit's executor.
    """

    def __init__(self, submitting: Any) -> None:
        self._submitting = submitting
        self._jobs: dict[Future[Any], Any] = {}
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submits a call."""
        future: Future[Any] = Future()
        self._jobs[future] = self._submitting.submit(Requeued(fn), *args, **kwargs)
        return future

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            for future, job in tuple(self._jobs.items()):
                if future.cancelled() or not job.done():
                    continue
                del self._jobs[future]
                try:
                    result = job.result()
                except Exception as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancels the jobs that are not done."""
        del wait, cancel_futures
        self._ended.set()
        self._watching.join()
        for future, job in self._jobs.items():
            future.cancel()
            with suppress(Exception):
                job.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


@contextmanager
def batch_jobs(folder: Path, options: Mapping[str, Any]) -> Generator[BatchJobs, None, None]:
    """An executor whose calls are jobs, which are cancelled at the end of the block.

    Args:
        folder: where submitit keeps what it submits, and the output of the jobs.
        options: submitit's parameters, such as `timeout_min` and `slurm_partition`; `cluster="local"` runs the jobs on
            this machine.

    Yields:
        The executor.

    Raises:
        ValueError: when submitit is not installed, there is no Slurm, or an option is unknown.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError("the engine slurm needs submitit: pip install 'saddlescope[cluster]'.") from None
    asked: dict[str, Any] = {"timeout_min": MINUTES, "name": "saddlescope", **options}
    try:
        submitting = submitit.AutoExecutor(folder, cluster=asked.pop("cluster", "slurm"))
        submitting.update_parameters(**asked)
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise ValueError(f"jobs cannot be submitted: {error}.") from error
    with BatchJobs(submitting) as executor:
        yield executor
