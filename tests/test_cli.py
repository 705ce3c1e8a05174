"""The command line, end to end on the smallest set-up."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from saddlescope.__main__ import main
from saddlescope.experiments import load_run, names, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    record = folder / "copy.json"
    assert main(["run", "relu", "--out", str(folder), "--json", str(record), "--width", "20", "--t1", "30"]) == 0
    return folder, json.loads(record.read_text())


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines] == list(names())


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
    flow = load_run(folder / "relu-seed0.npz")
    assert flow.losses[-1] < 1e-15
    assert flow.energy_error == record["energy_error"]
    middle = record["visits"][1]
    assert flow.steps_at(middle["time"]).losses[0] == middle["loss"]


def test_json_to_standard_output(capsys, tmp_path):
    arguments = ["run", "relu", "--out", str(tmp_path), "--json", "-", "--width", "20", "--t1", "30"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["experiment"] == "relu"


def interrupt(arguments, delay):
    """A real interrupt to a real process, `delay` seconds after its start."""
    # A test run in the background ignores SIGINT, and so would its children if they did not ask for it.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += f"from saddlescope.__main__ import main; sys.exit(main({arguments!r}))"
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    return output, errors


def test_ctrl_c_keeps_what_was_computed(tmp_path):
    arguments = ["run", "linear", "--width", "300", "--t1", "1e7", "--out", str(tmp_path)]
    for delay in (15, 30, 60):  # until the machine is past its imports and compilation
        output, errors = interrupt(arguments, delay)
        if "before anything was computed" not in errors:
            break
        assert not list(tmp_path.iterdir())
    assert "interrupted at t = " in errors and "kept until there" in errors
    assert "strict saddle" in output
    flow = load_run(tmp_path / "linear-seed0.npz")
    assert 0 < flow.ts[-1] < 1e7
    assert np.all(np.isfinite(flow.losses))
    assert not list(tmp_path.glob("*.part"))


def test_ctrl_c_in_the_analysis_keeps_the_flow(tmp_path, monkeypatch, capsys):
    module = sys.modules[run.__module__]

    def interrupted(trajectory):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "itinerary", interrupted)
    assert main(["run", "relu", "--out", str(tmp_path), "--width", "20", "--t1", "30"]) == 130
    assert "interrupted in the analysis; the trajectory is in" in capsys.readouterr().err
    assert load_run(tmp_path / "relu-seed0.npz").ts[-1] == 30
