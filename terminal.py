"""The command line's streams and signals: output that degrades instead of failing, and runs that end when told to."""

import codecs
import io
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

# One character for one, so that tables stay aligned.
SIMILAR = str.maketrans(
    {"–": "-", "−": "-", "─": "-", "→": ">", "≤": "<", "≥": ">", "±": "~", "×": "x", "·": "*", "⊙": "*", "‖": "|"}
    | {"│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "∇": "d", "∞": " ", "√": "v", "½": "h", "…": "."}
    | {"“": '"', "”": '"', "‘": "'", "’": "'"}
)

# Seconds after which a signal that came where nothing can be raised comes again.
SOON = 0.05


class Stopped(BaseException):
    """A signal that asks the process to end, where nothing unfinished is worth keeping."""


def degrade_characters() -> None:
    """Lets standard output and standard error replace what their encoding lacks by similar ASCII characters."""
    codecs.register_error("similar", _similar)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="similar")


def to_ascii(text: str) -> str:
    """A text in ASCII, one character for one: ² as 2, ε as e (by its name), and ? for what is like nothing."""
    return "".join(map(_ascii, text.translate(SIMILAR)))


def _ascii(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character)[0]
    if plain.isascii():
        return plain
    name = unicodedata.name(plain, "").removeprefix("GREEK ").split(" LETTER ")
    letter = name[-1][:1] if len(name) == 2 else "?"
    return letter.lower() if name[0] == "SMALL" else letter


def _similar(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return to_ascii(error.object[error.start : error.end]), error.end


def complain(text: str) -> None:
    """Says a sentence on standard error, in the name of the program."""
    tell(f"saddlescope: {text}")


def tell(text: str) -> None:
    """Writes a line on standard error, or nothing where that cannot be written either."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def silence(stream: Any) -> None:
    """Sends what a stream still holds, and all that will be written to it, nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _signal_main_thread(number: int) -> None:
    """Interrupts also what the main thread waits for, where the platform can."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


@contextmanager
def ending_on_signals(exception: type[BaseException]) -> Generator[list[int], None, None]:
    """Has SIGINT (Ctrl-C), SIGTERM and SIGHUP raise an exception; what was set to be ignored stays so.

    Args:
        exception: `KeyboardInterrupt`, after which `saddlescope.flows.simulate` keeps what it has, or `Stopped`.

    Yields:
        The signals that have come, in order.
    """
    came: list[int] = []
    # After SIGHUP they are gone, writing to them would fail, and they no longer say that they are terminals.
    terminals = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and stream.isatty()]

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if number == getattr(signal, "SIGHUP", None):
            for stream in terminals:
                silence(stream)
        raise exception

    def forgotten(unraisable: Any) -> None:
        """Sends a signal again whose exception Python forgets, as in callbacks of its garbage collector."""
        if unraisable.exc_type is not exception or not came:
            say(unraisable)
            return
        again = threading.Timer(SOON, _signal_main_thread, (came.pop(),))
        again.daemon = True
        again.start()

    before, say = {}, sys.unraisablehook
    # Python lets no other thread set handlers.
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        for number in numbers:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, end)
        sys.unraisablehook = forgotten
    try:
        yield came
    finally:
        sys.unraisablehook = say
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(horizon: float) -> Generator[tuple[Callable[[float, float], None], Callable[[str], None]], None, None]:
    """A progress bar, where standard error is a terminal.

    Args:
        horizon: the time at which the bar is full.

    Yields:
        What moves it, a function of (t, loss), and what changes its description.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("t = {task.completed:.4g}"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("gradient flow", total=horizon)
        yield (
            lambda t, loss: progress.update(task, completed=t),
            lambda description: progress.update(task, description=description),
        )


def leave(status: int) -> NoReturn:
    """Ends the process; at once where a computation still runs for which nobody waits any more.

    Args:
        status: the process's.
    """
    patience = sys.modules.get(f"{__package__}.flows.simulation.patience")
    if patience is not None and patience.still_computing():
        # All is written, and Python would wait for the computation's end.
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
