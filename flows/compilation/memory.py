"""Memory that compilers have freed, returned to the system."""

import ctypes
import functools
from typing import Any


def return_freed_memory() -> None:
    """Returns to the system what is free, where the C library (glibc) keeps it for later.

    XLA's compiler takes hundreds of megabytes for a solver's program, which stay with the process otherwise.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Any:
    """The C library's function, `None` where it has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
