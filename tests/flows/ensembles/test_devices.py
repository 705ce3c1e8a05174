"""Ensembles on several devices and in several processes: the flows of a single one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chains import columns, integrated
from solver_cases import SOLVERS

SUPPORT = Path(__file__).parents[2] / "support"
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


def started(script, *arguments, **environment):
    """A process that runs a script of tests/support in double precision."""
    variables = os.environ | {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"} | environment
    command = [sys.executable, str(SUPPORT / script), *map(str, arguments)]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors[-3000:]
    return out


def assert_same_flows(file, devices, processes):
    """All members of a single process's ensemble, in order, up to the rounding of another program."""
    found, expected = np.load(file), columns(integrated("vectorised"))
    assert (found["devices"], found["processes"]) == (devices, processes)
    assert found["names"].tolist() == expected["names"].tolist()
    assert "BDF" in " ".join(expected["names"]) or "Rodas5P" in " ".join(expected["names"])
    for name in expected.keys() - {"names"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4 if "ts" in name else 1e-9, err_msg=name)


@pytest.mark.slow
def test_two_devices_integrate_the_flows_of_one(tmp_path):
    finished(started("chains.py", tmp_path / "found.npz", **TWO_DEVICES))
    assert_same_flows(tmp_path / "found.npz", devices=2, processes=1)


@pytest.mark.slow
def test_two_processes_integrate_the_flows_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    files = [tmp_path / f"found-{k}.npz" for k in range(2)]
    processes = [started("chains.py", file, "--process", k, port) for k, file in enumerate(files)]
    for process in processes:
        finished(process)
    for file in files:
        assert_same_flows(file, devices=1, processes=2)


@pytest.mark.slow
def test_every_solver_runs_within_shard_map():
    """Diffrax's own checks of what varies between devices are off, as `ensemble` has them."""
    assert finished(started("solvers_on_devices.py", **TWO_DEVICES)).split() == [*SOLVERS, "kvaerno5"]
