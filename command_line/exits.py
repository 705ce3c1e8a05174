"""How a command ends: its exit status, what could be written, and how the process is set up before it computes."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from ..terminal import complain

# Exit status: something could not be written; a mistake of the user, as argument parsers have it; and what a shell
# gives processes that a signal ended: 128 and the signal's number, 13 for SIGPIPE, which Windows does not know.
NOT_WRITTEN, USER_ERROR, BY_SIGNAL = 1, 2, 128
BROKEN_PIPE, INTERRUPTED = BY_SIGNAL + 13, BY_SIGNAL + signal.SIGINT
NOTHING = "before anything was computed; nothing was written"


def configure() -> None:
    """What holds for the whole process. Called when the arguments are known to be right, since it imports JAX.

    Raises:
        ValueError: when JAX cannot start.
    """
    import jax

    # Exact flows need double precision; the library itself never touches this switch.
    jax.config.update("jax_enable_x64", True)
    from ..flows import keep_compiled

    keep_compiled()
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        jax.devices()
    except RuntimeError as error:
        raise ValueError(f"JAX cannot start: {str(error).splitlines()[0]}") from error


def keep(path: Path, write: Callable[[Path], object]) -> list[Path]:
    """Writes a file; the file, or nothing but a sentence on standard error where that fails."""
    try:
        write(path)
    except OSError as error:
        complain(str(error))
        return []
    return [path]
