"""Engines: the same cells whatever computes them, and nothing lost when a process is killed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from saddlescope.experiments.engines.local_processes import CannotStart, LocalProcesses
from saddlescope.experiments.sweeps import provenance as provenances
from saddlescope.experiments.sweeps.collect import collect
from saddlescope.experiments.sweeps.configuration import product
from saddlescope.experiments.sweeps.dispatch import SweepStopped
from saddlescope.experiments.sweeps.folder import Folder, failures
from saddlescope.experiments.sweeps.progress import status
from saddlescope.experiments.sweeps.sweep import sweep

import cheap_cells
from cheap_cells import computations, contents

FLOWS = 2000


@pytest.fixture(autouse=True)
def workers_find_the_cells(monkeypatch):
    """Worker processes import what the tests do."""
    folders = [str(Path(cheap_cells.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    # Cells are compared byte by byte, also where somebody edits the sources meanwhile.
    monkeypatch.setattr(provenances, "commit", lambda _: "the same")


def cheap(configurations, folder, **settings):
    return sweep(configurations, folder, compute=cheap_cells.cell, **settings)


@pytest.mark.slow
def test_a_worker_that_dies_loses_one_cell_which_is_tried_again(tmp_path, log):
    """In processes of their own, which compute in double precision like this one."""
    once = product("cheap", log=str(log), trouble="dies once")
    others = product("cheap", log=str(log), x=range(5))
    assert cheap([*once, *others], tmp_path / "s", engine="processes", workers=1).done == 6
    counted = computations(log)
    assert counted.pop(once[0].identifier) == 2 and set(counted.values()) == {1}
    assert str(os.getpid()) not in {line.split()[1] for line in log.read_text().splitlines()}
    cheap([*once, *others], tmp_path / "alone")
    assert contents(tmp_path / "s") == contents(tmp_path / "alone")


@pytest.mark.slow
def test_programs_are_compiled_once_for_all_workers(tmp_path, log):
    """Two shapes, two workers, each of which computes cells of both."""
    cells = product("compiling", log=str(log), width=(3, 4), factor=(0.5, 1.5, 2.5, 3.5, 4.5))
    assert sweep(cells, tmp_path, compute=cheap_cells.compiling_cell, engine="processes", workers=2).done == 10
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({worker for _, worker, _ in lines}) == 2
    assert sum(int(compiled) for *_, compiled in lines) == 2


@pytest.mark.slow
def test_a_cell_that_always_kills_its_worker_is_a_reason(tmp_path, log):
    bad = product("cheap", log=str(log), trouble="dies")
    others = product("cheap", log=str(log), x=range(5))
    finished = cheap([*others, *bad], tmp_path, engine="processes", workers=2)
    assert (finished.done, finished.failed) == (5, 1) and computations(log)[bad[0].identifier] == 3
    ((_, reason),) = failures(Folder(tmp_path), bad)
    assert "its worker died again and again" in reason


@pytest.mark.slow
def test_eight_writers_killed_twenty_times(tmp_path, log):
    """Each kill loses at most the cell that the worker was at."""
    configurations = product("cheap", log=str(log), seeds=FLOWS // 4, block=5, x=range(4), pause=0.1)
    killed = []

    def kill():
        """Whenever eighteen more cells were begun, one of those at work."""
        while len(killed) < 20:
            time.sleep(0.02)
            lines, counted = log.read_text().splitlines(), computations(log)
            last = {int(line.split()[1]): line.split()[0] for line in lines}
            # A cell at which three workers died would count as failed.
            at_work = [pid for pid in executor._pids - set(killed) if pid in last and counted[last[pid]] < 3]
            if len(lines) >= 18 * (len(killed) + 1) and at_work:
                killed.append(random.choice(at_work))
                os.kill(killed[-1], signal.SIGKILL)

    with LocalProcesses(8) as executor:
        threading.Thread(target=kill, daemon=True).start()
        assert cheap(configurations, tmp_path / "s", engine=executor, workers=8).done == FLOWS // 5
    counted = computations(log)
    print(f"killed {len(killed)}, computed again {counted.total() - len(counted)}")
    assert len(killed) == 20 and len(counted) == FLOWS // 5 and counted.total() <= FLOWS // 5 + len(killed)
    assert not list((tmp_path / "s").rglob("*.part"))
    cheap(configurations, tmp_path / "alone")
    assert contents(tmp_path / "s") == contents(tmp_path / "alone")
    assert collect(tmp_path / "s").identical(collect(tmp_path / "alone"))


def started(*arguments):
    return subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Cluster:
    """A scheduler of Dask and its workers, each a process of its own."""

    def __init__(self, folder, workers):
        file = folder / f"scheduler-{time.time_ns()}.json"
        alone = "--no-dashboard", "--host", "127.0.0.1"
        self.scheduler = started("distributed.cli.dask_scheduler", *alone, "--port", "0", "--scheduler-file", str(file))
        one = "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)
        self.workers = [
            started("distributed.cli.dask_worker", "--scheduler-file", str(file), *one) for _ in range(workers)
        ]
        self.address = None
        while not self.address:
            time.sleep(0.5)
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.address = json.loads(file.read_text())["address"]

    def kill(self):
        for process in (self.scheduler, *self.workers):
            process.kill()
            process.wait()


def when_done(folder, count, act):
    """Does something once there are that many cells."""

    def wait():
        while len(list((folder / "cells").glob("*.npz"))) < count:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_cluster_whose_worker_and_scheduler_are_killed(tmp_path, log):
    pytest.importorskip("distributed")
    configurations = product("cheap", log=str(log), seeds=FLOWS // 4, block=5, x=range(4), pause=0.1)
    out, workers = tmp_path / "s", 3
    (out / "cells").mkdir(parents=True)
    first, second = Cluster(tmp_path, workers), None
    try:
        when_done(out, 40, first.workers[0].kill)
        when_done(out, 150, first.scheduler.kill)
        with pytest.raises(SweepStopped, match="cells are done and kept") as stopped:
            cheap(configurations, out, engine=first.address)
        print(stopped.value)
        first.kill()
        assert 150 <= status(out).done < FLOWS // 5
        second = Cluster(tmp_path, workers)
        assert cheap(configurations, out, engine=second.address).done == FLOWS // 5
    finally:
        for cluster in (first, second):
            if cluster is not None:
                cluster.kill()
    counted = computations(log)
    print(f"computed again {counted.total() - len(counted)}")
    # In flight were one cell of the worker that was killed, and one of each worker when the scheduler was.
    assert len(counted) == FLOWS // 5 and counted.total() <= FLOWS // 5 + 1 + workers
    cheap(configurations, tmp_path / "alone")
    assert contents(out) == contents(tmp_path / "alone")
    assert collect(out).identical(collect(tmp_path / "alone"))


@pytest.mark.slow
def test_a_cluster_of_this_machine(tmp_path, log):
    pytest.importorskip("distributed")
    once = product("cheap", log=str(log), trouble="dies once")
    configurations = [*once, *product("cheap", log=str(log), x=range(12))]
    assert cheap(configurations, tmp_path / "s", engine="dask", workers=2).done == 13
    assert computations(log)[once[0].identifier] == 2
    cheap(configurations, tmp_path / "alone")
    assert contents(tmp_path / "s") == contents(tmp_path / "alone")
    with pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        cheap(configurations, tmp_path / "s", engine="dask://127.0.0.1:9")


@pytest.mark.slow
def test_jobs_of_a_batch_system(tmp_path, log):
    """By submitit's executor of this machine: each worker is a job."""
    pytest.importorskip("submitit")
    configurations = product("cheap", log=str(log), x=range(12))
    options = {"cluster": "local", "timeout_min": 10}
    assert cheap(configurations, tmp_path / "s", engine="slurm", workers=2, options=options).done == 12
    assert set(computations(log).values()) == {1}
    cheap(configurations, tmp_path / "alone")
    assert contents(tmp_path / "s") == contents(tmp_path / "alone")
    with pytest.raises(ValueError, match="jobs cannot be submitted"):
        cheap(configurations, tmp_path / "s", engine="slurm", options={"no_such_parameter": 1, "cluster": "local"})


@pytest.mark.slow
def test_a_job_that_is_preempted_goes_on(tmp_path, log):
    """Submitit's signal of preemption: the job is submitted again, and skips what is done."""
    submitit = pytest.importorskip("submitit")
    configurations = product("cheap", log=str(log), x=range(30), pause=0.3)
    interrupted = []

    def preempt():
        while len(computations(log)) < 10:
            time.sleep(0.1)
        for pid in {int(line.split()[1]) for line in log.read_text().splitlines()}:
            interrupted.append(pid)
            os.kill(pid, signal.SIGUSR2)

    threading.Thread(target=preempt, daemon=True).start()
    options = {"cluster": "local", "timeout_min": 10}
    assert submitit and cheap(configurations, tmp_path / "s", engine="slurm", workers=1, options=options).done == 30
    counted = computations(log)
    assert interrupted and len({line.split()[1] for line in log.read_text().splitlines()}) >= 2
    assert counted.total() <= 30 + len(interrupted)
    cheap(configurations, tmp_path / "alone")
    assert contents(tmp_path / "s") == contents(tmp_path / "alone")


ORPHANED = """
import os, sys, time
from saddlescope.experiments.engines.local_processes import LocalProcesses
if __name__ == "__main__":
    executor = LocalProcesses(1)
    print(executor.submit(os.getpid).result(), flush=True)
    executor.submit(time.sleep, 1000)
    time.sleep(1000)
"""


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ORPHANED)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlives its parent")


UNGUARDED = """
from saddlescope.experiments.engines.local_processes import LocalProcesses
with LocalProcesses(1) as executor:
    print(executor.submit(len, "four").result())
"""


@pytest.mark.slow
def test_a_script_without_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    process = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert process.returncode and CannotStart.__name__ in process.stderr
    assert 'below `if __name__ == "__main__":`' in process.stderr
