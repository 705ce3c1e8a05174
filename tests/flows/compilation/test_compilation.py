"""Compiled programs are kept for the next process, unless that is unwanted or impossible."""

import os
import resource
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from saddlescope.flows import keep_compiled
from saddlescope.flows.compilation.cache import PAGE, ROOM

# Prints the folder, the answer, and how many programs were found in the folder and how many were not.
PROGRAM = """
import collections, sys
import jax, jax.numpy as jnp
from saddlescope.flows import keep_compiled
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counts.update([name.split("/")[-1]]))
folder = keep_compiled(sys.argv[1])
answer = jax.jit(lambda x: jnp.linalg.norm(jnp.tanh(x @ x.T)))(jnp.arange(12.0).reshape(3, 4) / 10)
print(folder, float(answer), counts["cache_hits"], counts["cache_misses"], sep="|")
"""
# Prints how many programs of a flow were not found.
FLOW = """
import collections, sys
import jax, jax.numpy as jnp
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counts.update([name.split("/")[-1]]))
from saddlescope.flows import half_squared_error, keep_compiled, simulate
from saddlescope.models import Dense, TwoLayer, relu
keep_compiled(sys.argv[1])
model = TwoLayer(Dense(relu, inputs=2), width=3, scale=1e-2, key=jax.random.key(0))
flow = simulate(model, half_squared_error, (jnp.eye(2), jnp.ones((2, 1))), t1=float(sys.argv[2]))
print(counts["compile_requests_use_cache"] - counts["cache_hits"])
"""
X = np.arange(12.0).reshape(3, 4) / 10
VARIABLES = ("SADDLESCOPE_CACHE", "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
SETTINGS = ("compilation_cache_dir", "enable_compilation_cache")


def start(folder, *arguments, program=PROGRAM, **options):
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    return subprocess.Popen([sys.executable, "-c", program, str(folder), *arguments], **options)


def finish(process):
    """(folder, programs found, programs compiled, standard error) of a process, whose answer is checked."""
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    folder, answer, found, compiled = out.strip().split("|")
    np.testing.assert_allclose(float(answer), np.linalg.norm(np.tanh(X @ X.T)), rtol=1e-6)
    return folder, int(found), int(compiled), said


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder that two processes filled at once, and the number of their programs."""
    folder = tmp_path_factory.mktemp("cache") / "compiled"
    answers = [finish(process) for process in [start(folder), start(folder)]]
    assert {answer[::3] for answer in answers} == {(str(folder), "")}
    return folder, sum(answers[0][1:3])


@pytest.fixture
def unset(monkeypatch):
    """No cache is set up in this process, neither by the tests nor by the environment."""
    before = {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in zip(SETTINGS, (None, True), strict=True):
        jax.config.update(f"jax_{name}", value)
    yield
    for name, value in before.items():
        jax.config.update(f"jax_{name}", value)


def test_another_process_compiles_nothing_and_says_nothing(filled, tmp_path):
    """Even if the folder has been moved meanwhile."""
    folder, number = filled
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert number > 1 and finish(start(moved)) == (str(moved), number, 0, "")


@pytest.mark.slow
def test_what_was_cut_off_is_compiled_again(filled, tmp_path):
    folder, number = filled
    torn = shutil.copytree(folder, tmp_path / "torn")
    first, *others = torn.glob("*-cache")
    first.write_bytes(first.read_bytes()[:100])
    for path in others:
        path.write_bytes(bytes(PAGE))
    assert finish(start(torn)) == (str(torn), 0, number, "")
    assert finish(start(torn))[1] == number - 1


@pytest.mark.slow
def test_a_full_disk_costs_a_remark(tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM // 2, ROOM // 2))  # noqa: E731
    folder, found, compiled, said = finish(start(tmp_path, preexec_fn=limit))
    assert (folder, found, compiled) == ("None", 0, 0)
    assert said.count("compiled programs are not kept for the next run") == 1 and "SADDLESCOPE_CACHE" in said
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/compiled"])
def test_a_folder_that_cannot_be_written_gives_a_remark(unset, tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="are not kept for the next run"):
        assert keep_compiled(tmp_path / place) is None
    assert jax.config.jax_compilation_cache_dir is None


def test_the_folder_is_given_or_named_or_among_the_users_caches(unset, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    assert keep_compiled().name == "saddlescope" and tmp_path in keep_compiled().parents
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("SADDLESCOPE_CACHE", str(tmp_path / "named"))
    assert keep_compiled() == tmp_path / "named"
    jax.config.update("jax_compilation_cache_dir", None)
    assert keep_compiled(tmp_path / "given") == tmp_path / "given"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "given")


def test_it_can_be_switched_off(unset, tmp_path, monkeypatch):
    jax.config.update("jax_enable_compilation_cache", False)
    assert keep_compiled(tmp_path) is None
    jax.config.update("jax_enable_compilation_cache", True)
    monkeypatch.setenv("SADDLESCOPE_CACHE", "off")
    assert keep_compiled(tmp_path) is None and jax.config.jax_compilation_cache_dir is None


def test_a_setting_of_the_users_own_stays(unset, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert keep_compiled(tmp_path / "ours") is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own") and not os.listdir(tmp_path)


def test_what_was_not_used_for_longest_is_deleted(unset, tmp_path):
    for age in range(10):
        path = tmp_path / f"{age}-cache"
        path.write_bytes(bytes(1000))
        os.utime(path, (1e9 - age, 1e9 - age))
    keep_compiled(tmp_path, limit=4500)
    assert sorted(os.listdir(tmp_path)) == ["0-cache", "1-cache", "2-cache", "3-cache"]
    with pytest.raises(ValueError, match="must not be negative"):
        keep_compiled(tmp_path, limit=-1)


@pytest.mark.slow
def test_a_flow_of_another_process_is_not_compiled_again(tmp_path):
    """No program of it calls back to Python, as those do that JAX does not keep."""

    def compiled(t1):
        return int(start(tmp_path, t1, program=FLOW).communicate(timeout=300)[0])

    assert compiled("2") > 1
    assert compiled("3") == 0
