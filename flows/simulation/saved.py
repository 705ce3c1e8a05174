"""What the file of a trajectory has to hold: it may come from anywhere."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from .result import Result
from .sign_changes import SignChanges, unpack
from .steps import FIELDS, Steps

COUNTS = ("num_steps", "num_accepted_steps", "num_rejected_steps")


def checked_contents(
    path: Any, header: Mapping[str, Any], arrays: Mapping[str, Shaped[np.ndarray, "..."]]
) -> tuple[Steps, dict[str, Any], Result, dict[str, SignChanges]]:
    """All that a saved trajectory holds, each part checked.

    Args:
        path: the file, for the message.
        header: its header.
        arrays: its arrays.

    Returns:
        Steps, statistics, result and sign changes.

    Raises:
        ValueError: when one of them is missing or wrong.
    """
    try:
        steps, stats, result = checked_steps(arrays), checked_stats(header), checked_result(header)
        return steps, stats, result, checked_sign_changes(header, arrays)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def checked_steps(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> Steps:
    """The steps of a saved trajectory.

    Args:
        arrays: the arrays of the file.

    Returns:
        The steps.

    Raises:
        ValueError: when an array is missing, of another shape than the others, or not of finite numbers, and for
            times that do not increase.
    """
    if missing := [name for name in FIELDS if name not in arrays]:
        raise ValueError(f"it holds no {missing[0]}")
    found = {name: arrays[name] for name in FIELDS}
    count = len(found["ts"]) if found["ts"].ndim else 0
    for name, array in found.items():
        dimensions = 2 if name == "thetas" else 1
        if array.ndim != dimensions or not 0 < count == len(array) or array.dtype.kind != "f":
            raise ValueError(f"its {name} are an array of {array.dtype} with shape {array.shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"its {name} are not finite")
    if np.any(np.diff(found["ts"]) <= 0):
        raise ValueError("its times do not increase")
    return Steps(**found)


def checked_result(header: Mapping[str, Any]) -> Result:
    """Why a saved flow ended.

    Args:
        header: the header of the file.

    Returns:
        The result.

    Raises:
        ValueError: for one that does not exist.
    """
    name = header.get("result")
    if not isinstance(name, str) or name not in Result.__members__:
        raise ValueError(f"its result is {name!r}")
    return Result[name]


def checked_stats(header: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics of a saved trajectory.

    Args:
        header: the header of the file.

    Returns:
        The statistics, with the solvers' history as pairs.

    Raises:
        ValueError: when one is missing or of another type.
    """
    stats = header.get("stats")
    if not isinstance(stats, dict):
        raise ValueError("it holds no statistics")
    good: dict[str, bool] = {name: type(stats.get(name)) is int and stats[name] >= 0 for name in COUNTS}
    good |= {name: name in stats and _positive_or_none(stats[name]) for name in ("rtol", "atol")}
    good |= {
        "reason": isinstance(stats.get("reason"), str),
        "reduced_data": isinstance(stats.get("reduced_data"), bool),
    }
    good |= {"method": isinstance(stats.get("method", ""), str)}
    history = stats.get("solver_history")
    good["solver_history"] = isinstance(history, list) and bool(history) and all(map(_is_entry, history))
    if wrong := [name for name, right in good.items() if not right]:
        raise ValueError(f"its {wrong[0]} is {stats.get(wrong[0])!r}"[:100])
    return stats | {"solver_history": [(time, name) for time, name in stats["solver_history"]]}


def checked_sign_changes(
    header: Mapping[str, Any], arrays: Mapping[str, Shaped[np.ndarray, "..."]]
) -> dict[str, SignChanges]:
    """The sign changes of a saved trajectory.

    Args:
        header: the header of the file.
        arrays: the arrays of the file.

    Returns:
        The sign changes by name.

    Raises:
        ValueError: when one is missing, or its arrays do not fit each other.
    """
    names = header.get("sign_changes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("it holds no list of sign changes")
    try:
        found = unpack(arrays, names)
    except KeyError as error:
        raise ValueError(f"it holds no {error.args[0]}") from None
    for name, changes in found.items():
        whole = changes.entries.dtype.kind == changes.directions.dtype.kind == "i"
        shapes = {changes.times.shape, changes.entries.shape, changes.directions.shape}
        if len(shapes) != 1 or changes.times.ndim != 1 or changes.times.dtype.kind != "f" or not whole:
            raise ValueError(f"the sign changes of {name} do not fit each other")
    return found


def _positive_or_none(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and math.isfinite(value) and value > 0)


def _is_entry(entry: Any) -> bool:
    """Whether an entry of a history of solvers is a time and a name."""
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], int | float)
        and math.isfinite(entry[0])
        and isinstance(entry[1], str)
    )
