"""One ensemble in several processes of `jax.distributed`: each integrates its share, and all learn the whole."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import diffrax as dfx
import jax
import numpy as np

from ..landscapes.landscape import Landscape
from ..simulation.result import Result
from ..solver_choice.choose import candidate_solvers
from .history import Member

ARRAYS = ("ts", "energies", "losses", "speeds", "norms", "kept", "thetas")


def share_of_process(members: int) -> list[int]:
    """The numbers of the members that this process integrates: every second one of two, so that costs are alike."""
    return list(range(jax.process_index(), members, jax.process_count()))


def gathered(
    own: Mapping[int, Member], landscapes: Sequence[Landscape], solver: dfx.AbstractSolver[Any] | None
) -> tuple[Member, ...]:
    """The members of all processes, in each of them.

    Args:
        own: this process's members, by their numbers.
        landscapes: of all members.
        solver: as asked for; `None`: chosen on the way.

    Returns:
        All members in order.
    """
    if jax.process_count() == 1:
        return tuple(own[number] for number in range(len(landscapes)))
    found: dict[int, Member] = {}
    for text in _exchanged(_packed(own)):
        found |= _unpacked(text, landscapes, solver)
    return tuple(found[number] for number in range(len(landscapes)))


def _packed(members: Mapping[int, Member]) -> bytes:
    arrays, rest = {}, {}
    for number, member in members.items():
        arrays |= {f"{number}-{name}": getattr(member, name) for name in ARRAYS}
        rest[number] = {"result": member.result.name, "stats": member.stats}
    file = io.BytesIO()
    np.savez(file, rest=np.frombuffer(json.dumps(rest).encode(), np.uint8), **arrays)
    return file.getvalue()


def _exchanged(text: bytes) -> list[bytes]:
    """The bytes of every process."""
    from jax.experimental.multihost_utils import process_allgather

    lengths = np.ravel(process_allgather(np.array([len(text)])))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    rows = np.asarray(process_allgather(padded))
    return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def _unpacked(
    text: bytes, landscapes: Sequence[Landscape], solver: dfx.AbstractSolver[Any] | None
) -> dict[int, Member]:
    file = np.load(io.BytesIO(text))
    found: dict[int, Member] = {}
    for key, rest in json.loads(file["rest"].tobytes()).items():
        number, stats = int(key), rest["stats"]
        stats["solver_history"] = [(time, name) for time, name in stats["solver_history"]]
        arrays = {name: file[f"{number}-{name}"] for name in ARRAYS}
        last = solver or _chosen(landscapes[number], stats)
        found[number] = Member(
            **arrays, result=Result[rest["result"]], stats=stats, landscape=landscapes[number], solver=last
        )
    return found


def _chosen(landscape: Landscape, stats: dict[str, Any]) -> dfx.AbstractSolver[Any]:
    """The solver that a flow was changed to on the way, or began with."""
    _, name = stats["solver_history"][-1]
    return candidate_solvers(landscape, stats["rtol"])[name].solver if stats["reason"] else dfx.Tsit5()
