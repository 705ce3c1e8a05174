"""The command line, end to end on the smallest set-up."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from saddlescope.__main__ import main
from saddlescope.experiments import experiment_names, load_trajectory, run
from saddlescope.experiments.runs.find import runs_in
from saddlescope.flows.simulation.integration import Integration


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    record = folder / "copy.json"
    assert main(["run", "relu", "--out", str(folder), "--json", str(record), "--width", "20", "--t1", "30"]) == 0
    return folder, json.loads(record.read_text())


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines] == list(experiment_names())


def test_run_writes_figure_record_and_trajectory(finished):
    folder, record = finished
    assert {path.name for path in folder.iterdir()} == {
        "relu-seed0.png",
        "relu-seed0.json",
        "relu-seed0.npz",
        "copy.json",
    }
    assert json.loads((folder / "relu-seed0.json").read_text()) == record
    assert (folder / "relu-seed0.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_record_has_its_fields(finished):
    record = finished[1]
    assert (record["schema"], record["experiment"], record["seed"]) == (1, "relu", 0)
    assert record["settings"]["width"] == 20 and record["settings"]["t1"] == 30
    assert {"python", "jax", "diffrax", "equinox"} <= set(record["versions"])
    assert record["energy_error"] < 1e-8 and record["conserved_drift"] < 1e-8
    assert [visit["effective_width"] for visit in record["visits"]] == [0, 1, 2]
    assert [visit["kind"] for visit in record["visits"]] == ["non-smooth saddle", "non-smooth saddle", "minimum"]
    first, last = record["visits"][0], record["visits"][-1]
    # What does not exist is null, not 0.
    assert first["index"] is None and first["nullity"] is None and first["order"] == 2
    assert last["departure"] is None and last["dwell"] is None and last["escape"] is None
    assert first["critical_point"]["converged"] is True
    assert first["escape"]["overlap"] > 0.999
    assert first["embedding"] == "iii"


def test_the_trajectory_is_reloadable(finished):
    folder, record = finished
    flow = load_trajectory(folder / "relu-seed0.npz")
    assert flow.losses[-1] < 1e-15
    assert flow.energy_error == record["energy_error"]
    middle = record["visits"][1]
    assert flow.record(middle["time"]).losses[0] == middle["loss"]


def test_json_to_standard_output(capsys, tmp_path):
    arguments = ["run", "relu", "--out", str(tmp_path), "--json", "-", "--width", "20", "--t1", "30"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["experiment"] == "relu"


INTERRUPTED = """
import os, signal, sys
from saddlescope.__main__ import main
from saddlescope.experiments.runs.find import runs_in
from saddlescope.flows.simulation.integration import Integration

# A test run in the background ignores SIGINT, and so would its children if they did not ask for it.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
number, left, advance = int(sys.argv.pop(1)), 6, Integration.advance

def interrupted(*arguments):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), number)
    return advance(*arguments)

Integration.advance = interrupted
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGHUP))]
)
def test_signals_end_a_run_that_keeps_what_was_computed(tmp_path, number):
    """A real signal to a real process, in its sixth call for steps: Ctrl-C, a batch system's, a lost terminal's."""
    arguments = ["run", "linear", "--t1", "1e7", "--out", str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(int(number)), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
        timeout=300,
    )
    assert process.returncode == 128 + number, process.stderr
    assert "interrupted at t = " in process.stderr and "kept until there" in process.stderr
    assert "strict saddle" in process.stdout
    flow = load_trajectory(tmp_path / "linear-seed0.npz")
    assert 0 < flow.ts[-1] < 1e7
    assert np.all(np.isfinite(flow.losses))
    assert not list(tmp_path.glob("*.part"))


UNFINISHED = """
import time
from saddlescope import __main__ as command_line
from saddlescope.flows.simulation.patience import OutOfTime, Patience, still_computing

def out_of_time():
    with Patience() as patience:
        patience.end = time.monotonic() + 0.2
        try:
            patience.wait(time.sleep, 1000)
        except OutOfTime:
            print("written")
    return 3 if still_computing() else 4

command_line.main = out_of_time
command_line.entry_point()
"""


def test_nobody_waits_for_what_the_budget_has_dropped():
    process = subprocess.run([sys.executable, "-c", UNFINISHED], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout) == (3, "written\n"), process.stderr


def test_ctrl_c_before_the_first_step_writes_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Integration, "advance", interrupted)
    assert main(["run", "relu", "--out", str(tmp_path)]) == 130
    assert "interrupted before anything was computed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_the_analysis_keeps_the_flow(tmp_path, monkeypatch, capsys):
    module = sys.modules[run.__module__]

    def interrupted(trajectory, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "itinerary", interrupted)
    assert main(["run", "relu", "--out", str(tmp_path), "--width", "20", "--t1", "30"]) == 130
    assert "interrupted in the analysis; the trajectory is in" in capsys.readouterr().err
    assert load_trajectory(tmp_path / "relu-seed0.npz").ts[-1] == 30


def test_a_run_writes_itself(tmp_path):
    """From Python: the same three files, which the command's own record and trajectory equal."""
    finished = run("relu", width=20, t1=30.0)
    paths = finished.write(tmp_path / "new")
    assert json.loads(paths.record.read_text()) == finished.record
    assert paths.figure.read_bytes()[:4] == b"\x89PNG"
    drawn = {ending: tmp_path / f"figure.{ending}" for ending in ("pdf", "svg")}
    for path in drawn.values():
        finished.write_figure(path)
    assert drawn["pdf"].read_bytes()[:5] == b"%PDF-" and b"<svg" in drawn["svg"].read_bytes()
    flow = load_trajectory(paths.trajectory)
    np.testing.assert_array_equal(flow.thetas, finished.trajectory.thetas)
    assert str(paths) == ", ".join(str(path) for path in paths.all)


def test_runs_are_found_by_folder_and_by_any_of_their_files(finished, tmp_path):
    folder, expected = finished[0], (finished[0] / "relu-seed0.npz",)
    assert runs_in(folder) == runs_in(folder / "relu-seed0.png") == runs_in(folder / "relu-seed0.npz") == expected
    np.savez(tmp_path / "foreign.npz", theta=np.ones(3))
    with pytest.raises(ValueError, match="not the trajectory of an experiment"):
        runs_in(tmp_path / "foreign.npz")
    with pytest.raises(ValueError, match="holds no run"):
        runs_in(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        runs_in(tmp_path / "nothing.json")


@pytest.mark.parametrize("command", ["report nowhere", "animate liner"])
def test_reports_and_films_of_nothing_are_refused(command, capsys):
    assert main(command.split()) == 2
    assert command.split()[1] in capsys.readouterr().err


@pytest.mark.slow
def test_report_and_film_of_a_run(finished, tmp_path, capsys):
    folder, record = finished
    assert main(["report", str(folder), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "relu-seed0.html").read_text()
    assert record["visits"][1]["kind"] in page and record["versions"]["jax"] in page and len(page.encode()) < 2e6
    assert main(["animate", str(folder), "--out", str(tmp_path), "--format", "gif"]) == 0
    assert (tmp_path / "relu-seed0.gif").read_bytes()[:3] == b"GIF"
