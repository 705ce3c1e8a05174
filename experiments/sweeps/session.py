"""Who is at work in the folder of a sweep: a file that a thread keeps young, and that workers look for."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import equinox as eqx

from .cell import temporary_ending
from .folder import Folder, write_json

# Seconds between signs of life, and after which a session without one is taken for dead. File systems of clusters show
# other machines' writes some seconds late.
BEAT, DEAD = 2.0, 60.0


class Session(eqx.Module):
    """One call of `sweep` that is at work in a folder.

    Attributes:
        file: says so as long as it exists; what it holds is its progress.
        host: the machine.
        pid: the process.
        began: when, in seconds since 1970.
    """

    file: Path = eqx.field(static=True)
    host: str = eqx.field(static=True)
    pid: int = eqx.field(static=True)
    began: float = eqx.field(static=True)

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Writes down how far it is; nothing where the disk does not allow it."""
        with suppress(OSError):
            write_json(self.file, {"host": self.host, "pid": self.pid, "began": self.began, **progress})

    @property
    def over(self) -> bool:
        """Whether those who work for this session should stop."""
        return not self.file.exists()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextmanager
def session(folder: Folder) -> Generator[Session, None, None]:
    """A session in a folder, as long as the block runs.

    Args:
        folder: the sweep's.

    Yields:
        The session.
    """
    name, host, pid, began = uuid.uuid4().hex[:12], socket.gethostname(), os.getpid(), time.time()
    mine = Session(file=folder.sessions / f"{name}.json", host=host, pid=pid, began=began)
    write_json(mine.file, {"host": host, "pid": pid, "began": began})
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(mine.file, ended), daemon=True)
    beating.start()
    try:
        yield mine
    finally:
        ended.set()
        beating.join()
        mine.file.unlink(missing_ok=True)


def _beat(file: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(file)


def other_sessions(folder: Folder, mine: Session | None = None) -> list[tuple[Session, dict[str, Any]]]:
    """The sessions that are at work in a folder besides one's own; the files of dead ones are deleted.

    Args:
        folder: the sweep's.
        mine: one's own session.

    Returns:
        The sessions with their progress.
    """
    found = []
    for file in sorted(folder.sessions.glob("*.json")):
        if mine is not None and file == mine.file:
            continue
        with suppress(OSError, ValueError, KeyError):
            values = json.loads(file.read_text())
            who = Session(file=file, host=values["host"], pid=values["pid"], began=values["began"])
            if _alive(who, folder):
                found.append((who, values))
            else:
                file.unlink()
    return found


def _alive(who: Session, folder: Folder) -> bool:
    """By its signs of life, which end at once with its process, as can be seen on the same machine."""
    if who.host == socket.gethostname() and os.name == "posix":
        try:
            os.kill(who.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return _clock(folder) - who.file.stat().st_mtime < DEAD


def _clock(folder: Folder) -> float:
    """The time by the clock of the file system, which need not be this machine's."""
    probe = folder.sessions / f"clock{temporary_ending()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
