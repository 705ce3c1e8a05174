"""`saddlescope sweep`, end to end on the smallest set-up."""

import importlib

import numpy as np
import pytest
import xarray as xr
from saddlescope.__main__ import main
from saddlescope.command_line.axes import integers, numbers
from saddlescope.experiments.sweeps.collect import collect

sweeping = importlib.import_module("saddlescope.experiments.sweeps.sweep")

SMALL = ["sweep", "--experiment", "relu", "--width", "3,4", "--t1", "1", "--seeds", "2"]


def test_axes_as_they_are_written():
    assert integers("5,10,25") == (5, 10, 25) and integers("2:4,9") == (2, 3, 9)
    assert numbers("1e-6:1e-1:log6") == (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    np.testing.assert_allclose(numbers("1e-6:1e-1:log7"), np.geomspace(1e-6, 1e-1, 7), rtol=1e-11)
    assert numbers("0:1:lin5, 3") == (0.0, 0.25, 0.5, 0.75, 1.0, 3.0)
    for read, text in (
        (integers, "a"),
        (integers, "5:2"),
        (integers, ""),
        (integers, "0:99999999999"),
        (numbers, "1:2"),
        (numbers, "0:1:log3"),
        (numbers, "0:1:log1"),
        (numbers, "0:1:exp3"),
    ):
        with pytest.raises(ValueError):
            read(text)


def test_a_sweep_and_its_store(tmp_path, capsys):
    out = tmp_path / "s"
    assert main([*SMALL, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "2 of 2 cells done" in said.out and f"wrote {out / 'store.zarr'}" in said.err
    store = xr.open_zarr(out / "store.zarr").load()
    assert dict(store.sizes) == {"width": 2, "seed": 2, "visit": store.sizes["visit"]} and np.all(store.result != "")
    # The same from a file, from which nothing is left to compute; what the command line says comes first.
    file = tmp_path / "sweep.toml"
    file.write_text(f'experiment = "relu"\nwidth = [3, 4]\nt1 = 1\nseeds = 2\nout = "{out}"\nengine = "nonsense"\n')
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert main(["sweep", str(file), "--engine", "processes"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == before
    capsys.readouterr()
    assert main(["sweep", "--status", "--out", str(out)]) == 0
    assert capsys.readouterr().out == "2 of 2 cells done, 0 running, 0 failed\n"


def test_ctrl_c_leaves_a_folder_that_the_same_command_completes(tmp_path, capsys, monkeypatch):
    original, unchanged = sweeping.compute_cell, sweeping.sweep
    calls = []

    def interrupted(configuration):
        calls.append(configuration)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(configuration)

    def swept(*arguments, **settings):
        return unchanged(*arguments, compute=interrupted, **settings)

    monkeypatch.setattr(sweeping, "sweep", swept)
    out = tmp_path / "s"
    assert main([*SMALL, "--out", str(out)]) == 130
    assert f"interrupted; what is done is kept in {out}" in capsys.readouterr().err
    monkeypatch.undo()
    assert len(list((out / "cells").iterdir())) == 1
    assert main([*SMALL, "--out", str(out)]) == 0
    assert collect(out).sizes["width"] == 2 and len(calls) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--experiment relu --width 0", "width must be at least 1"),
        ("--experiment relu --seeds 0", "a range runs from the smaller to the larger"),
        ("--experiment relu --engine clustre", "unknown engine 'clustre'"),
        ("--experiment relu --slurm timeout_min=3", "only the engine slurm takes options"),
        ("--experiment relu --engine slurm --slurm timeout", "write name=value"),
        ("--experiment relu --workers 0", "workers must be at least 1"),
        ("--status", "there is no sweep in"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, line, words):
    assert main(["sweep", *line.split(), "--out", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_file_with_a_word_too_many_is_refused(tmp_path, capsys):
    file = tmp_path / "sweep.toml"
    file.write_text("experiment = 'relu'\nwidths = [1]\n")
    assert main(["sweep", str(file)]) == 2
    assert "has 'widths'; there are: out, experiment, seeds" in capsys.readouterr().err
    assert main(["sweep", str(tmp_path / "none.toml")]) == 2
    assert "cannot read" in capsys.readouterr().err
