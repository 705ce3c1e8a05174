"""Compiled programs outlive their process: JAX's persistent compilation cache, for many small programs."""

import os
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

# Environment variable that names the folder of compiled programs, or switches it off.
VARIABLE = "SADDLESCOPE_CACHE"
OFF = ("off", "no", "false", "0")
# Bytes in all. A program takes about ten kilobytes, a run or an analysis about a megabyte.
LIMIT = 2**28
# A folder must have room for what one run writes, and more.
ROOM = 2**22
# Files grow by pages: one of whole pages was truncated, by a full disk or a kill (or is so by chance, one in 4096).
PAGE = 4096


def keep_compiled(folder: str | Path | None = None, *, limit: int = LIMIT) -> Path | None:
    """Keeps compiled programs in a folder, so that another process need not compile them again.

    For scripts and notebooks, at their beginning; the command line calls it by itself. JAX identifies a program by its
    operations, shapes, versions and processor, so that results are the same. Several processes may share a folder;
    nobody else should be able to write to it, since its contents are executed. Nothing changes where JAX's own cache
    has been set up or switched off, or where the environment variable SADDLESCOPE_CACHE is "off". A warning is given
    where the folder cannot be written; programs are then compiled as if this had not been called.

    Args:
        folder: by default what SADDLESCOPE_CACHE names, or else `saddlescope` in the user's folder for caches.
        limit: bytes beyond which the least recently used programs are deleted, now, not while programs are added.

    Returns:
        The folder, or `None` where nothing is kept.

    Raises:
        ValueError: when the limit is negative.
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
    """The operating system's folder for caches; a `RuntimeError` where the user has no home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _prepare(folder: Path) -> None:
    """Makes the folder if it is missing; an `OSError` where rights, room or quota do not allow to write to it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))


def _prune(folder: Path, limit: int) -> None:
    """Deletes truncated files, and the least recently used ones until the rest is within the limit.

    JAX can do the latter itself, but takes a lock for every program that it reads and searches the whole folder for
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
        # Also what compiles quickly: a run consists of a hundred programs, most of which take a tenth of a second.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        # XLA's own caches for GPUs would not be pruned, and their paths would be part of a program's identity, so that
        # it would not be found again in a folder that was moved.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    # A program that another process is still writing cannot be read, one that does not fit is not written: both are
    # compiled, which takes time but changes no result.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
