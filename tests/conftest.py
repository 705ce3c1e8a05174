"""Double precision, annotations that CI executes, and a hypothesis profile for all tests."""

import gc
import os
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# Several test processes share few cores: threads of BLAS would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

# Annotations of types and shapes are executed where this is set, as in CI: they make the tests a quarter slower.
if os.environ.get("SADDLESCOPE_TYPES") == "on":
    install_import_hook("saddlescope", "executed_annotations.check")

from saddlescope.flows import keep_compiled  # noqa: E402

from unoptimised import set_flags  # noqa: E402

jax.config.update("jax_enable_x64", True)
# A second run of the tests finds what the first compiled.
keep_compiled()
# Traced programs are many small objects, hardly any of them garbage: looking through them all took a tenth of the time.
gc.set_threshold(200_000, 20, 50)
# Compilation makes the first example slow; few examples, since each integrates a flow.
hypothesis.settings.register_profile("saddlescope", deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.load_profile("saddlescope")


def pytest_configure(config):
    """The fast tests' programs are compiled as users' small landscapes are, those of the slow tests as any other."""
    if "not slow" in (config.option.markexpr or ""):
        set_flags()


def pytest_itemcollected(item):
    """Of a test that is marked `fast_for` some cases, all others are slow."""
    if (fast := item.get_closest_marker("fast_for")) and item.callspec.id not in fast_ids(fast):
        item.add_marker(pytest.mark.slow)


def pytest_collection_modifyitems(config, items):
    """A case that is to be fast but does not exist would be left out without a word."""
    if any("::" in chosen for chosen in config.args):
        return
    ids, fast = defaultdict(set), {}
    for item in items:
        if mark := item.get_closest_marker("fast_for"):
            ids[item.function].add(item.callspec.id)
            fast[item.function] = set(fast_ids(mark))
    for test, named in fast.items():
        if unknown := named - ids[test]:
            raise pytest.UsageError(f"{test.__module__}.{test.__name__} is `fast_for` no case of its: {unknown}")


def fast_ids(mark):
    """The cases that a mark names, as pytest writes them."""
    return [name.encode("unicode_escape").decode("ascii") for name in mark.args]


# One file of tests adds up to some twenty thousand memory maps.
MAPS_OF_A_FILE = 30_000


@pytest.fixture(scope="module", autouse=True)
def let_go_of_compiled_functions():
    """Compiled functions hold memory maps, of which Linux grants a process so many: beyond, the compiler aborts."""
    yield
    maps, granted = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
    if not maps.exists() or len(maps.read_text().splitlines()) > int(granted.read_text()) - MAPS_OF_A_FILE:
        jax.clear_caches()
        gc.collect()
