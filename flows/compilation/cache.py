"""Compiled programs outlive their process: JAX's persistent compilation cache, for many small programs."""

import os
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

# Names a folder for compiled programs, or switches their keeping off.
VARIABLE = "SADDLESCOPE_CACHE"
OFF = ("off", "no", "false", "0")
# Bytes in all. A program takes about ten kilobytes, a run or an analysis about a megabyte.
LIMIT = 2**28
# A folder must have room for what one run writes, and more.
ROOM = 2**22
# Files grow by pages: one of whole pages was cut off, by a full disk or a kill. (One in 4096 is so by chance.)
PAGE = 4096


def keep_compiled(folder: str | Path | None = None, *, limit: int = LIMIT) -> Path | None:
    """Keeps compiled programs in a folder, so that another process does what this one did without compiling again.

    For scripts and notebooks, at their beginning; the command line does it by itself. What is kept of JAX's compiling
    depends on program, shapes, versions and processor, so that results are the same. Several processes may share a
    folder; nobody else should be able to write to it, since what is in it is run. Nothing changes where JAX's own cache
    has been set up or switched off, or where the environment variable SADDLESCOPE_CACHE is "off".

    **Arguments:** `folder`: by default what SADDLESCOPE_CACHE names, or else `saddlescope` in the user's folder for
    caches; `limit`: bytes beyond which what was not used for longest is deleted, now, not while programs are added.

    **Returns:** the folder, or `None` where nothing is kept.

    **Raises:** `ValueError` for a negative limit.

    **Warns** where the folder cannot be written; programs are then compiled as if this had not been called.
    """
    if limit < 0:
        raise ValueError(f"the limit must not be negative; got {limit} bytes.")
    named = os.environ.get(VARIABLE, "")
    if named.lower() in OFF or not _setting("enable_compilation_cache"):
        return None
    try:
        kept = Path(folder or named or _user_caches() / "saddlescope").expanduser().absolute()
        if _setting("compilation_cache_dir") not in (None, str(kept)):
            return None
        _prepare(kept)
    except (OSError, RuntimeError) as error:
        hint = f"set {VARIABLE} to a folder that can be written, or to off"
        warnings.warn(f"compiled programs are not kept for the next run: {error}; {hint}.", stacklevel=2)
        return None
    _prune(kept, limit)
    _configure(kept)
    return kept


def _setting(name: str) -> Any:
    # JAX makes these attributes when it is imported, which type checkers cannot see.
    return getattr(jax.config, f"jax_{name}")


def _user_caches() -> Path:
    """Where the operating system wants caches to be; a `RuntimeError` where the user has no home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _prepare(folder: Path) -> None:
    """Makes the folder if need be; an `OSError` where it cannot be written, for want of rights, room or quota."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))


def _prune(folder: Path, limit: int) -> None:
    """Deletes what was cut off, and what was not used for longest until the rest is within the limit.

    JAX can do the latter itself, but takes a lock for every program that it reads and goes through the whole folder for
    every one that it writes.
    """
    files = []
    for path in folder.glob("*-cache"):
        # Another process may delete it meanwhile.
        with suppress(OSError):
            status = path.stat()
            # Most file systems note when a file was read, if only once a day.
            files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = 0
    for _, size, path in sorted(files, reverse=True):
        total += size
        if size % PAGE == 0 or total > limit:
            with suppress(OSError):
                path.unlink()


def _configure(folder: Path) -> None:
    settings = {
        "jax_compilation_cache_dir": str(folder),
        # However quickly compiled: a run consists of a hundred programs, most of which take a tenth of a second.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        # XLA's own caches for GPUs would not be pruned, and their paths be part of what identifies a program, which
        # would not be found again in a folder that was moved.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    # A program that another process is writing is not yet readable, one that no longer fits is not written: it is
    # compiled, which takes time but changes nothing.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
