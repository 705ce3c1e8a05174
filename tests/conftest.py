"""Double precision and a hypothesis profile for all tests."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import gc

import equinox as eqx
import hypothesis
import jax
import pytest

jax.config.update("jax_enable_x64", True)
# Compilation makes the first example slow; few examples, since each integrates a flow.
hypothesis.settings.register_profile("saddlescope", deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.load_profile("saddlescope")


@pytest.fixture(autouse=True, scope="module")
def released():
    """Lets go of compiled functions after each file: Linux allows a process 65530 memory maps, and each takes some."""
    yield
    eqx.clear_caches()
    gc.collect()
