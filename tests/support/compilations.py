"""Counts the XLA programs that a piece of code compiles."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

_PROGRAMS: list[str] = []


def _listen(event: str, duration: float, **facts: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _PROGRAMS.append(str(facts.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextmanager
def compiled() -> Iterator[list[str]]:
    """The names of the programs compiled inside the `with` block, complete at its end."""
    programs: list[str] = []
    start = len(_PROGRAMS)
    try:
        yield programs
    finally:
        programs.extend(_PROGRAMS[start:])
