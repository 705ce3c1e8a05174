"""What goes wrong around the command line: settings, streams, disks, platforms and signals."""

import errno
import gc
import importlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from saddlescope.__main__ import main
from saddlescope.experiments import load_trajectory, run
from saddlescope.experiments.reproductions.panel import Panel, Reproduction
from saddlescope.flows.simulation.integration import Integration
from saddlescope.terminal import Stopped, ending_on_signals, to_ascii

QUICK = ["run", "relu", "--width", "20", "--t1", "30"]


def command(*arguments, **options):
    """The command in a process of its own, at most for a minute."""
    settings = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run([sys.executable, "-m", "saddlescope", *arguments], **settings)


@pytest.fixture
def no_flow(monkeypatch):
    """Whatever is said is said before the flow starts."""

    def started(*_):
        raise AssertionError("the flow was started")

    monkeypatch.setattr(Integration, "advance", started)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [("relu --width 1 --t1 10", "undetermined"), ("quadratic --scale 0 --t1 5 --width 3", "degenerate saddle")],
)
@pytest.mark.fast_for("quadratic --scale 0 --t1 5 --width 3-degenerate saddle")
def test_a_flow_that_starts_at_a_critical_point_has_an_answer(tmp_path, capsys, settings, kind):
    assert main(["run", *settings.split(), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert kind in printed.out and "warning" not in printed.err
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("--seed 99999999999999999999", "seed must lie between"),
        ("--seed -9223372036854775809", "seed must lie between"),
        ("--width 100000000000", "width must be at most 1000000"),
        ("--width 0", "width must be at least 1"),
        ("--scale -1", "scale must be finite and not negative"),
        ("--scale nan", "scale must be finite and not negative"),
        ("--t1 0", "t1 must be positive and finite"),
        ("--t1 inf", "t1 must be positive and finite"),
    ],
)
def test_settings_out_of_range_are_one_sentence(tmp_path, capsys, no_flow, setting, words):
    folder = tmp_path / "runs"
    assert main(["run", "relu", *setting.split(), "--out", str(folder)]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not folder.exists()
    name, value = setting.removeprefix("--").split()
    with pytest.raises(ValueError, match=words):
        run("relu", **{name: float(value) if name in ("scale", "t1") else int(value)})


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**63 - 1])
def test_all_seeds_of_64_bits_make_data(seed):
    from saddlescope.experiments import experiment

    assert np.all(np.isfinite(experiment("linear").setup(seed, width=1).data[0]))


def test_a_reader_that_leaves_is_no_error():
    """As `saddlescope list | head`, whose pipe nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    process = command("list", capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("line", ["list", "--help"])
def test_a_full_device_is_one_sentence(line):
    with open("/dev/full", "w") as full:
        process = command(line, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert process.returncode == 1
        assert process.stderr == "saddlescope: the output could not be written: No space left on device.\n"
        # Where there is nobody to tell it to, the status does.
        assert command(line, capture_output=False, stdout=full, stderr=full).returncode == 1


@pytest.mark.slow
def test_a_terminal_without_unicode_gets_similar_characters(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main([*QUICK, "--out", str(tmp_path)]) == 0
    text = stream.buffer.getvalue().decode("ascii")
    assert "|dL|" in text and "loss 1 > " in text and "-----" in text
    # Characters that are in the encoding stay as they are.
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="similar")
    latin.write("½ ε²")
    latin.flush()
    assert latin.buffer.getvalue().decode("latin-1") == "½ e²"


def test_ascii_keeps_the_length():
    text = "‖∇L‖∞ ≤ ½ Σ λ₁² – “é” 日\udcff"
    assert to_ascii(text) == '|dL|  < h S l12 - "e" ??'
    assert len(to_ascii(text)) == len(text)


@pytest.mark.parametrize("name", ["relu-seed0.png", "relu-seed0.json", "relu-seed0.npz"])
def test_a_folder_in_the_place_of_a_file_is_seen_before_the_flow(tmp_path, capsys, no_flow, name):
    (tmp_path / name).mkdir()
    assert main([*QUICK, "--out", str(tmp_path)]) == 2
    assert f"cannot write {tmp_path / name}: it is a folder." in capsys.readouterr().err


def test_places_that_cannot_be_written_are_seen_before_the_flow(tmp_path, capsys, no_flow):
    file = tmp_path / "file"
    file.write_text("")
    assert main([*QUICK, "--out", str(file / "below")]) == 2
    assert "cannot write to the folder" in capsys.readouterr().err
    for target in (tmp_path, "/dev/null"):
        assert main([*QUICK, "--out", str(tmp_path / "runs"), "--json", str(target)]) == 2
        assert f"cannot write {target}: it is " in capsys.readouterr().err
    (tmp_path / "1B.npz").mkdir()
    assert main(["reproduce", "1B", "--out", str(tmp_path)]) == 2
    assert "it is a folder" in capsys.readouterr().err


def test_a_disk_that_fills_loses_only_what_does_not_fit(tmp_path, capsys):
    """Files of at most ten thousand bytes: too few for the figure and the trajectory, enough for the record."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        status = main([*QUICK, "--out", str(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    printed = capsys.readouterr()
    assert {path.name for path in tmp_path.iterdir()} == {"relu-seed0.json"}
    assert status == 1 and "non-smooth saddle" in printed.out
    for ending in ("png", "npz"):
        assert f"cannot write {tmp_path / f'relu-seed0.{ending}'}: {os.strerror(errno.EFBIG)}." in printed.err
    assert f"wrote {tmp_path / 'relu-seed0.json'}\n" in printed.err


def test_a_flow_that_cannot_be_analysed_is_kept(tmp_path, capsys, monkeypatch):
    def nothing(trajectory, **settings):
        raise ValueError("there is nothing to analyse.")

    monkeypatch.setattr(sys.modules[run.__module__], "itinerary", nothing)
    assert main([*QUICK, "--out", str(tmp_path)]) == 2
    path = tmp_path / "relu-seed0.npz"
    assert f"there is nothing to analyse. The trajectory is in {path}." in capsys.readouterr().err
    assert load_trajectory(path).ts[-1] == 30


def test_a_platform_that_is_not_there_is_one_sentence(tmp_path):
    process = command(*QUICK, "--out", str(tmp_path), env={**os.environ, "JAX_PLATFORMS": "nonsense"})
    assert process.returncode == 2
    assert process.stderr.startswith("saddlescope: JAX cannot start: ") and process.stderr.count("\n") == 1


def test_signals_end_a_reproduction_between_what_it_writes(tmp_path, capsys, monkeypatch):
    """Of a figure that is under way nothing is kept; those before it are, with their page."""

    def make(seeds, quick):
        if seeds == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return (Panel(title="left", draw=lambda ax: ax.plot([0, 1]), data={"x": np.arange(2)}),)

    def fake(name):
        return Reproduction(name=name, title="", source="", make=make, seeds=7 if name == "1C" else 1)

    module = importlib.import_module("saddlescope.experiments.reproductions.reproduce")
    monkeypatch.setattr(module, "reproduction", fake)
    folder = tmp_path / "figures"
    assert main(["reproduce", "1B", "1C", "1D", "--out", str(folder)]) == 128 + signal.SIGTERM
    assert "interrupted in figure 1C; those before it are written." in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"1B.png", "1B.npz", "1B.json"}
    assert (tmp_path / "figures.md").exists()


# A process that waits at its sixth call for steps, so that it cannot end before its terminal does.
WAITING = """
import signal, sys, time
from saddlescope.__main__ import main
from saddlescope.flows.simulation.integration import Integration

# Under `nohup` the signal is ignored, and would be by this process.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
left, advance = 6, Integration.advance

def waiting(*arguments):
    global left
    left -= 1
    if left == 0:
        print("waiting", flush=True)
        time.sleep(120)
    return advance(*arguments)

Integration.advance = waiting
sys.exit(main(sys.argv[1:]))
"""

CLOSED = """
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
said = b""
while b"waiting" not in said:
    said += os.read(terminal, 1000)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_terminal_that_is_closed_leaves_the_files(tmp_path):
    """A real terminal, closed while the progress bar is shown: nothing can be written to it any more."""
    arguments = ["run", "linear", "--t1", "1e7", "--out", str(tmp_path)]
    process = subprocess.run([sys.executable, "-c", CLOSED, WAITING, *arguments], capture_output=True, timeout=300)
    assert process.returncode == 128 + signal.SIGHUP, process.stderr
    assert len(list(tmp_path.iterdir())) == 3


def test_what_ignores_a_signal_goes_on_ignoring_it():
    """As under `nohup`; and handlers are as before afterwards."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_on_signals(Stopped) as came:
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGTERM)
        assert came == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def collect(ends):
    """A collection in which the signal comes within a callback of the collector's."""

    def callback(phase, info):
        if phase == "start":
            ends()

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def delete(ends):
    """The end of an object that the signal comes in."""

    class Ending:
        def __del__(self):
            ends()

    Ending()


def forget(ends):
    """The callback of a weak reference."""

    class Referred:
        pass

    thing = Referred()
    _ = weakref.ref(thing, lambda reference: ends())
    del thing


@pytest.mark.parametrize("within", [collect, delete, forget])
def test_a_signal_where_python_forgets_exceptions_is_not_lost(within):
    """Python prints and forgets what is raised in callbacks of its memory's; JAX has one of the collector's."""
    with pytest.raises(Stopped), ending_on_signals(Stopped) as came:
        within(lambda: os.kill(os.getpid(), signal.SIGTERM))
        time.sleep(10)
    assert came == [signal.SIGTERM]
