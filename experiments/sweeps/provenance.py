"""What computed a cell: versions of the packages, precision, and the commit of the code."""

import inspect
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ..engines.worker import setting
from ..runs.record import versions


def provenance(compute: Callable[..., Any]) -> dict[str, Any]:
    """What the digits of a cell depend on besides its configuration.

    Args:
        compute: the function that computes cells.

    Returns:
        `versions` of Python, packages, JAX's precision and platform, and `commit`, the state of the repository that
        tracks the function's source, with "-dirty" where files were changed since; empty where there is none.
    """
    precision = "float64" if setting("enable_x64") else "float32"
    return {
        "versions": {**versions(), "precision": precision, "platform": jax.default_backend()},
        "commit": commit(compute),
    }


def commit(function: Callable[..., Any]) -> str:
    """The commit of the repository that tracks a function's source."""
    try:
        source = Path(inspect.getsourcefile(inspect.unwrap(function)) or "").resolve()
        _git(source.parent, "ls-files", "--error-unmatch", source.name)
        return _git(source.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, TypeError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
