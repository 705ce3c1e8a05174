"""A sweep computes what is missing, once, whatever happens to its folder."""

import errno
import json
import os
import subprocess
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from saddlescope.experiments.engines.engine import Engine, InProcess
from saddlescope.experiments.sweeps import cell as cells
from saddlescope.experiments.sweeps import folder as folders
from saddlescope.experiments.sweeps import provenance as provenances
from saddlescope.experiments.sweeps.collect import collect
from saddlescope.experiments.sweeps.configuration import product
from saddlescope.experiments.sweeps.dispatch import SweepStopped, groups
from saddlescope.experiments.sweeps.folder import Folder
from saddlescope.experiments.sweeps.progress import Progress, status
from saddlescope.experiments.sweeps.session import other_sessions, session
from saddlescope.experiments.sweeps.store import write_store
from saddlescope.experiments.sweeps.sweep import sweep

import cheap_cells
from cheap_cells import computations, contents


@pytest.fixture(autouse=True)
def one_commit(monkeypatch):
    """Cells are compared byte by byte, also where somebody edits the sources meanwhile."""
    monkeypatch.setattr(provenances, "commit", lambda _: "the same")


def plan(log, **axes):
    return product("cheap", log=str(log), seeds=4, block=2, **{"x": range(6), **axes})


def cheap(configurations, folder, **settings):
    return sweep(configurations, folder, compute=cheap_cells.cell, **settings)


def test_a_sweep_computes_what_is_missing(tmp_path, log):
    said = []
    assert cheap(plan(log, x=range(3)), tmp_path / "s", progress=said.append).done == 6
    assert [now.done for now in said] == [1, 2, 3, 4, 5, 6] and said[0].total == 6
    before = contents(tmp_path / "s")
    assert cheap(plan(log), tmp_path / "s").done == 12
    assert set(computations(log).values()) == {1} and len(computations(log)) == 12
    after = contents(tmp_path / "s")
    assert {name: after[name] for name in before} == before
    cheap(plan(log), tmp_path / "other")
    assert contents(tmp_path / "other") == after
    assert str(status(tmp_path / "s")) == "12 of 12 cells done, 0 running, 0 failed"


def test_any_executor_is_an_engine(tmp_path, log):
    with ThreadPoolExecutor(3) as threads:
        cheap(plan(log, pause=0.01), tmp_path / "threads", engine=threads, workers=3)
    assert set(computations(log).values()) == {1}
    cheap(plan(log, pause=0.01), tmp_path / "alone")
    assert contents(tmp_path / "threads") == contents(tmp_path / "alone")


def test_groups_are_of_one_shape_and_begin_with_one_cell(log):
    configurations = product("cheap", log=str(log), seeds=12, block=1, width=[5, 10], scale=[0.1, 0.2])
    found = groups(configurations, Engine(executor=InProcess(), workers=2, groups=3))
    assert sorted(each.identifier for group in found for each in group) == sorted(c.identifier for c in configurations)
    assert [len(group) for group in found] == [1, 1, *[8] * 5, 6]
    widths = [{each.parameters["width"] for each in group} for group in found]
    assert widths == [{5}, {10}, {5}, {5}, {5, 10}, {10}, {10}, {10}]
    # In a batch system each worker is a job.
    jobs = groups(product("cheap", log=str(log), x=range(30)), Engine(executor=InProcess(), workers=4, groups=1))
    assert [len(job) for job in jobs] == [8, 8, 8, 6]


def test_damaged_cells_are_computed_again(tmp_path, log):
    cheap(plan(log), tmp_path / "s")
    whole = contents(tmp_path / "s")
    first, second, third = sorted((tmp_path / "s" / "cells").iterdir())[:3]
    first.write_bytes(first.read_bytes()[:200])
    second.write_bytes(second.read_bytes()[:-500] + bytes(500))
    third.write_bytes(b"")
    leftover = first.with_name("half.npz.0123.part")
    leftover.write_bytes(b"half")
    with pytest.warns(UserWarning, match="3 cells of .* are damaged .* will be computed again: "):
        cheap(plan(log), tmp_path / "s")
    assert contents(tmp_path / "s") == whole and sum(computations(log).values()) == 12 + 3
    first.write_bytes(first.read_bytes()[:200])
    with pytest.warns(UserWarning, match="1 damaged cells are left out"):
        assert np.sum(collect(tmp_path / "s").result.values == "") == 2


def test_other_versions_are_said_and_kept(tmp_path, log, monkeypatch):
    cheap(plan(log, x=[1, 2]), tmp_path / "s")
    whole, versions = contents(tmp_path / "s"), provenances.versions
    monkeypatch.setattr(provenances, "versions", lambda: {**versions(), "jax": "99.1"})
    with pytest.warns(UserWarning, match=r"4 cells were computed by other versions \(jax .* → 99.1\): they are kept"):
        cheap(plan(log, x=[1, 2]), tmp_path / "s")
    assert contents(tmp_path / "s") == whole and sum(computations(log).values()) == 4


def test_a_cell_that_fails_is_a_reason_and_is_tried_again(tmp_path, log):
    bad = product("cheap", log=str(log), trouble="fails")
    finished = cheap([*bad, *plan(log)], tmp_path / "s")
    assert (finished.done, finished.failed) == (12, 1)
    ((configuration, reason),) = folders.failures(Folder(tmp_path / "s"), bad)
    assert configuration.identifier == bad[0].identifier
    assert reason == "ArithmeticError: this configuration always fails"
    cheap([*bad, *plan(log)], tmp_path / "s")
    assert computations(log)[bad[0].identifier] == 2 and sum(computations(log).values()) == 14


def test_arrays_that_are_no_cell_are_a_reason(tmp_path):
    configurations = product("mine", seeds=3)
    assert sweep(configurations, tmp_path, compute=lambda _: xr.Dataset({"a": ("b", [1])})).failed == 1
    ((_, reason),) = folders.failures(Folder(tmp_path), configurations)
    assert reason.startswith("ValueError: a cell has a dimension seed of 3")


def test_a_full_disk_ends_a_sweep_that_goes_on_later(tmp_path, log, monkeypatch):
    written, savez = [], np.savez

    def fills(file, **arrays):
        if len(written) == 3:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(file)
        savez(file, **arrays)

    with monkeypatch.context() as patched:
        patched.setattr(cells.np, "savez", fills)
        with pytest.raises(SweepStopped, match="No space left on device; 3 of 12 cells are done and kept"):
            cheap(plan(log), tmp_path / "s")
    assert len(contents(tmp_path / "s")) == 3
    assert cheap(plan(log), tmp_path / "s").done == 12
    assert sum(computations(log).values()) == 13 and len(computations(log)) == 12


def test_a_disk_that_is_really_full(tmp_path, log):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of this size cannot be mounted")
    try:
        with pytest.raises(SweepStopped, match="No space left on device; [1-9][0-9]* of 120 cells are done and kept"):
            cheap(plan(log, x=range(60)), disk / "s")
        done = contents(disk / "s")
        assert not list((disk / "s").rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert cheap(plan(log, x=range(60)), disk / "s").done == 120
        after = contents(disk / "s")
        assert {name: after[name] for name in done} == done
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_seen_before_anything_is_computed(tmp_path, log):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write to the folder"):
        cheap(plan(log), tmp_path / "file" / "s")
    with pytest.raises(ValueError, match="unknown engine 'clustre'; there are: local, processes, dask"):
        cheap(plan(log), tmp_path / "s", engine="clustre")
    with pytest.raises(ValueError, match="unknown experiment 'cheap'"):
        sweep(plan(log), tmp_path / "s")
    with pytest.raises(ValueError, match="there is no sweep in"):
        status(tmp_path / "s2")
    assert not computations(log)


def test_two_sweeps_share_a_folder(tmp_path, log):
    """Begun at the same time; each cell is there once, and few were computed by both."""
    configurations = product("cheap", log=str(log), x=range(60), pause=0.02)
    done = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = lambda: done.append(cheap(configurations, tmp_path / "s"))  # noqa: E731
        both = [threading.Thread(target=run) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    assert [each.done for each in done] == [60, 60]
    assert any("another sweep is at work in" in str(warning.message) for warning in said)
    assert sum(computations(log).values()) <= 60 + 30
    cheap(configurations, tmp_path / "alone")
    assert contents(tmp_path / "s") == contents(tmp_path / "alone")


def test_a_session_whose_process_is_gone_is_none(tmp_path):
    folder = Folder(tmp_path)
    folder.prepare()
    gone = subprocess.Popen(["true"])
    gone.wait()
    with session(folder) as mine:
        facts = json.loads(mine.file.read_text())
        (folder.sessions / "gone.json").write_text(json.dumps({**facts, "pid": gone.pid}))
        (folder.sessions / "far.json").write_text(json.dumps({**facts, "host": "elsewhere"}))
        old = folder.sessions / "silent.json"
        old.write_text(json.dumps({**facts, "host": "elsewhere"}))
        os.utime(old, (0, 0))
        assert [who.host for who, _ in other_sessions(folder, mine)] == ["elsewhere"]
        assert not mine.over and len(list(folder.sessions.glob("*.json"))) == 2
    assert mine.over


def test_an_interrupted_sweep_goes_on(tmp_path, log):
    def interrupted(configuration):
        if len(computations(log)) == 5:
            raise KeyboardInterrupt
        return cheap_cells.cell(configuration)

    with pytest.raises(KeyboardInterrupt):
        sweep(plan(log), tmp_path / "s", compute=interrupted)
    assert str(status(tmp_path / "s")) == "5 of 12 cells done, 0 running, 0 failed, 7 missing, nobody is at work"
    assert cheap(plan(log), tmp_path / "s").done == 12 and set(computations(log).values()) == {1}


def test_progress_is_told_in_words():
    assert str(Progress(total=9, done=2, failed=1, running=2, seconds_left=100.0)) == (
        "2 of 9 cells done, 2 running, 1 failed, 1 min 40 s left"
    )


def test_collecting_puts_every_cell_in_its_place(tmp_path, log):
    """Axes in full, seeds from two blocks, ragged visits, a cell that is missing, a setting that follows."""
    configurations = [
        each
        for x, y in ((1, 0.5), (2, 0.5), (1, 0.25), (2, 0.25))
        for each in product("cheap", log=str(log), seeds=5, block=3, x=x, y=y, t1=10.0 * x)
    ]
    cheap(configurations[:-1], tmp_path)
    folders.write_plan(Folder(tmp_path), configurations)
    whole = collect(tmp_path)
    assert dict(whole.sizes) == {"x": 2, "y": 2, "seed": 5, "visit": 3} and whole.loss.dims == (
        "x",
        "y",
        "seed",
        "visit",
    )
    assert whole.t1.dims == ("x", "y") and list(whole.t1.values[:, 0]) == [10.0, 20.0]
    assert whole.experiment.item() == "cheap" and whole.log.item() == str(log)
    for each in configurations:
        point = whole.sel(x=each.parameters["x"], y=each.parameters["y"], seed=list(each.seeds))
        if each is configurations[-1]:
            assert np.all(point.result == "") and np.all(np.isnan(point.loss)) and np.all(point["index"] == -1)
            continue
        expected = cheap_cells.cell(each)
        visits = expected.sizes["visit"]
        for name, array in expected.items():
            columns = {"visit": slice(0, visits)} if "visit" in array.dims else {}
            np.testing.assert_array_equal(point[name].isel(columns), array)
        assert np.all(np.isnan(point.loss[:, visits:])) and np.all(point["index"][:, visits:] == -1)


def test_settings_that_are_no_grid_are_refused(tmp_path, log):
    configurations = [product("cheap", log=str(log), x=k, y=k // 10, z=k // 20, w=k // 25)[0] for k in range(100)]
    cheap(configurations, tmp_path / "s")
    assert collect(tmp_path / "s").sizes["x"] == 100
    configurations = [product("cheap", log=str(log), x=k // 2, y=k * 37 % 100 // 2)[0] for k in range(100)]
    cheap(configurations, tmp_path / "t")
    with pytest.raises(ValueError, match="are no grid"):
        collect(tmp_path / "t")
    (tmp_path / "u").mkdir()
    with pytest.raises(ValueError, match="there are no cells in"):
        collect(tmp_path / "u")


def test_the_store_is_plain_zarr(tmp_path, log):
    cheap(plan(log, y=[0.5, 0.25]), tmp_path)
    whole, path = collect(tmp_path), tmp_path / "store.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            write_store(whole, path)
        read = xr.open_zarr(path)
    assert read.identical(whole.assign_coords(read.coords)) and read.load().equals(whole)
    assert read.loss.encoding["chunks"] == (1, 1, 2, 3)
    assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3
    assert {each.name for each in tmp_path.iterdir()} >= {"store.zarr"} and not list(tmp_path.glob("*.part"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write"):
        write_store(whole, tmp_path / "file" / "store.zarr")
