"""The weights of an ensemble's members at steps whose weights are not kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ..simulation.solver_state import fresh_state
from ..simulation.stepping import CHUNK, Chunk
from .history import Member
from .lanes import Lane, advance_alone, advance_lanes
from .pace import LANES


def weights_at(members: Sequence[Member], places: Sequence[tuple[int, int]], shared: bool) -> Float[np.ndarray, "k n"]:
    """The weights of members at some steps, stepped onto from the last steps before whose weights are kept.

    Args:
        members: the flows.
        places: numbers of a member and of one of its steps.
        shared: whether all flows are on one landscape, except for their initial weights.

    Returns:
        The weights, one row for each place.
    """
    rows = [np.empty(0)] * len(places)
    lanes: dict[str, list[tuple[int, Lane]]] = {}
    for row, (number, index) in enumerate(places):
        member = members[number]
        before = member.before(index)
        rows[row] = member.thetas[before]
        if member.kept[before] != index:
            lanes.setdefault(type(member.solver).__name__, []).append((row, _lane(member, before, index)))
    for name, waiting in lanes.items():
        while waiting:
            batch, waiting = _batch(name, waiting)
            chunks = _chunks(name, [lane for _, lane in batch], shared)
            for (row, lane), chunk in zip(batch, chunks, strict=True):
                rows[row] = chunk.steps.thetas[-1] if len(chunk.steps) else lane.start.thetas[-1]
                if len(chunk.steps) and chunk.steps.ts[-1] < lane.t1 and not chunk.ended:
                    onward = lane._replace(start=chunk.steps[-1:], solver_state=chunk.solver_state)
                    waiting.append((row, onward))
    return np.stack(rows)


def _batch(name: str, waiting: list[tuple[int, Lane]]) -> tuple[list[Any], list[Any]]:
    size = LANES if name == "Tsit5" else 1
    return waiting[:size], waiting[size:]


def _chunks(name: str, lanes: list[Lane], shared: bool) -> list[Chunk]:
    return advance_lanes(lanes, LANES, shared) if name == "Tsit5" else advance_alone(lanes[0])


def _lane(member: Member, before: int, index: int) -> Lane:
    """The flow of a member from one of the steps whose weights are kept onto a later step."""
    start, t1, tolerances = member.record(before), float(member.ts[index]), (member.stats["rtol"], member.stats["atol"])
    state = fresh_state(member.landscape, member.solver, start, t1 - float(start.ts[0]), tolerances)
    return Lane(member.landscape, member.solver, start, t1, state, tolerances, None, CHUNK)
