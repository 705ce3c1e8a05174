"""Hard use: a right answer or one clear sentence, whatever is asked and whenever it is interrupted.

`python tests/support/fuzz.py` runs thousands of these cases; here some of them have fixed seeds.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from saddlescope.experiments import load_trajectory
from saddlescope.flows import Landscape, files
from saddlescope.flows.simulation.checkpoint import Checkpoint

from fuzzing.cases import outcome
from fuzzing.laws import Broken, lower_nearby, readable, refusal
from fuzzing.mistakes import MISTAKES

# Of whose mistakes none waits for an analysis to be compiled.
QUICK = ("simulate", "TwoLayer", "Deep", "Dense", "effective_width", "load", "evaluate", "model_at_index")


def check(kind, seeds, folder):
    """All laws for some cases, with the sentences of those that break one."""
    endings = {seed: outcome(kind, seed, folder) for seed in seeds}
    broken = {seed: ending["said"] for seed, ending in endings.items() if ending["ended"] == "broken"}
    assert not broken
    return [ending["ended"] for ending in endings.values()]


def mistakes(quick):
    """Numbers of mistakes, as `outcome` counts them."""
    chosen = [k for k, (name, _) in enumerate(MISTAKES) if name.startswith(QUICK) == quick]
    inverse = pow(7919, -1, len(MISTAKES))
    return [k * inverse % len(MISTAKES) for k in chosen]


def test_a_mistake_is_one_sentence(tmp_path):
    endings = check("mistake", mistakes(True)[::2], tmp_path)
    assert endings.count("refused") > 0.7 * len(endings)


@pytest.mark.slow
def test_a_mistake_in_the_analysis_is_one_sentence(tmp_path):
    endings = check("mistake", mistakes(False), tmp_path)
    assert endings.count("refused") > 0.7 * len(endings)


def test_a_damaged_file_is_refused_and_not_executed(tmp_path):
    endings = check("file", range(120), tmp_path)
    assert endings.count("refused") > 0.7 * len(endings)


def test_a_command_line_is_right_or_one_sentence(tmp_path):
    endings = check("command", range(60), tmp_path)
    assert {"answered"} <= set(endings)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_a_drawn_flow_obeys_the_laws(block, tmp_path):
    endings = check("flow", range(50 * block, 50 * (block + 1)), tmp_path)
    assert endings.count("answered") > 0.4 * len(endings)


def test_the_laws_can_be_broken():
    with pytest.raises(Broken):
        readable("loss nan")
    with pytest.raises(Broken, match="SVD did not converge"):
        refusal(lambda: np.linalg.svd(np.full((2, 2), np.nan)))
    with pytest.raises(Broken, match="raised by"):
        refusal(lambda: np.array("ten").astype(float))
    saddle = Landscape({"w": np.zeros(2)}, lambda model, data: model["w"][0] ** 2 - model["w"][1] ** 2, ())
    assert lower_nearby(saddle, np.zeros(2), np.random.default_rng(0)) > 0


def test_two_writers_of_one_file_leave_it_whole(tmp_path):
    path, both = tmp_path / "thing.npz", threading.Barrier(2)

    def write(number):
        with files.replacing(path) as partial:
            partial.write_text(f"{number}" * 1000)
            both.wait(10)

    writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in ("1" * 1000, "2" * 1000)
    assert [item.name for item in tmp_path.iterdir()] == ["thing.npz"]


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    path = tmp_path / "flow.npz"
    Checkpoint(path, {}).write({"path": {}, "solver": {}, "stalls": {}, "result": None}, {"kept": np.zeros(1)})
    with pytest.raises(ValueError, match="is a damaged checkpoint. Delete it to start again"):
        Checkpoint(path, {}).resume(lambda *_: None, 1.0)


RUN = [sys.executable, "-m", "saddlescope", "run", "relu", "--width", "20"]


# A process in the background ignores SIGINT, unless it asks for it.
ASKING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from saddlescope.__main__ import entry_point
entry_point()
"""


def written(folder):
    """The files of a folder, of which none is half-written."""
    found = {path.name: path for path in folder.iterdir()}
    if "relu-seed0.npz" in found:
        assert np.all(np.isfinite(load_trajectory(found["relu-seed0.npz"]).losses))
    assert set(found) <= {"relu-seed0.npz", "relu-seed0.png", "relu-seed0.json"}
    return set(found)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_leaves_whole_files(number, tmp_path):
    """Into a real process, from its first moment to its last; the status says that a signal ended it, or success."""
    began = time.monotonic()
    subprocess.run([*RUN, "--t1", "30", "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    took = time.monotonic() - began
    generator = random.Random(int(number))
    for k in range(4):
        folder = tmp_path / str(k)
        words = [sys.executable, "-c", ASKING, *RUN[3:], "--t1", "30", "--out", str(folder)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        time.sleep(took * generator.random())
        process.send_signal(number)
        said = process.communicate(timeout=120)[1]
        # Before the program has asked for them, signals do what they do to Python.
        assert process.returncode in (0, 128 + number, -number, 1), said
        names = written(folder) if folder.exists() else set()
        assert process.returncode != 0 or len(names) == 3
        assert "Traceback" not in said or "saddlescope: " not in said, said


@pytest.mark.slow
def test_runs_into_one_folder_at_once_leave_whole_files(tmp_path):
    words = [*RUN, "--t1", "30", "--out", str(tmp_path)]
    processes = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len(written(tmp_path)) == 3


@pytest.mark.slow
def test_a_bare_environment_is_enough(tmp_path):
    """No home, no display, ASCII, forty columns, and a reader that leaves after a line."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(home)}
    environment = bare | {"COLUMNS": "40", "LC_ALL": "C", "XDG_CACHE_HOME": str(home / "cache"), "TERM": "dumb"}
    # Python would take UTF-8 for the C locale's encoding.
    environment |= {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [*RUN, "--t1", "30", "--out", str(tmp_path / "runs")]
    process = subprocess.run(words, env=environment, capture_output=True, timeout=300)
    assert process.returncode == 0, process.stderr
    text = process.stdout.decode("ascii")
    assert "minimum" in text and "nan" not in text
    assert len(written(tmp_path / "runs")) == 3
    with subprocess.Popen(
        [*words, "--json", "-"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as one:
        assert one.stdout.readline() == b"{\n"
        one.stdout.close()
        said = one.stderr.read()
        assert one.wait(300) in (0, 141) and b"Traceback" not in said
