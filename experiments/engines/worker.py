"""A process that computes for others: set up like the one that it works for."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import jax

from ...flows.compilation.cache import keep_compiled


def set_up(*, double: bool, compiled: str | Path) -> None:
    """Sets up a process that is nobody's but the sweep's, before its first computation.

    Args:
        double: whether JAX computes in double precision.
        compiled: the folder of compiled programs that all workers share; empty: none.
    """
    # Several workers may share a GPU, of which JAX would otherwise take most of the memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("MPLBACKEND", "Agg")
    if setting("enable_x64") != double:
        jax.config.update("jax_enable_x64", double)
    if compiled and not setting("compilation_cache_dir"):
        keep_compiled(compiled)


def setting(name: str) -> Any:
    """A setting of JAX; it makes these attributes when it is imported, which type checkers cannot see."""
    return getattr(jax.config, f"jax_{name}")


def follow_parent() -> None:
    """Leaves signals from the terminal to the parent process, and ends with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
