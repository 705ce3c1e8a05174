"""Values of the axes of a sweep as they are written on a command line or in a TOML file."""

import math
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# More values than this are a mistake of the exponent.
MOST = 100_000


def integers(text: str) -> tuple[int, ...]:
    """The integers of "5,10,25" or "0:100"; the end of a range is not part of it.

    Args:
        text: what was written.

    Returns:
        The integers.

    Raises:
        ValueError: when it is not written so.
    """
    found: list[int] = []
    for part in _parts(text):
        start, colon, stop = part.partition(":")
        try:
            first, last = int(start or 0), int(stop) if colon else int(start) + 1
        except ValueError:
            raise ValueError(f"{text!r} is no list of integers; write 5,10,25 or 0:100.") from None
        if not 0 < last - first <= MOST:
            raise ValueError(f"{part!r} has {last - first} values; a range runs from the smaller to the larger.")
        found += range(first, last)
    return tuple(found)


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of "1e-3,0.1", "0:1:lin5" (evenly spaced) or "1e-6:1e-1:log7" (evenly spaced logarithms).

    Args:
        text: what was written.

    Returns:
        The numbers.

    Raises:
        ValueError: when it is not written so.
    """
    found: list[float] = []
    for part in _parts(text):
        try:
            ends = part.split(":")
            found += [float(part)] if len(ends) == 1 else _spaced(*ends)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{text!r} is no list of numbers; write 1e-3,0.1 or 1e-6:1e-1:log7 or 0:1:lin5.") from None
    return tuple(found)


def _spaced(start: str, stop: str, spacing: str) -> list[float]:
    first, last, count = float(start), float(stop), int(spacing[3:])
    if not 2 <= count <= MOST:
        raise ValueError
    shares = [k / (count - 1) for k in range(count)]
    if spacing[:3] == "lin":
        inner = [first + share * (last - first) for share in shares]
    elif spacing[:3] == "log" and first > 0 and last > 0:
        low, high = math.log10(first), math.log10(last)
        # As people would write them: 1e-5, not 9.999999999999999e-06.
        inner = [float(f"{10 ** (low + share * (high - low)):.12g}") for share in shares]
    else:
        raise ValueError
    return [first, *inner[1:-1], last]


def words(text: str) -> tuple[str, ...]:
    """The words of "linear,relu"."""
    return tuple(_parts(text))


def _parts(text: str) -> Iterable[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(f"there are no values in {text!r}.")
    return parts


def read_toml(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """The settings of a sweep from a TOML file, named like the options of the command line.

    Args:
        path: the file.
        known: the names of the options.

    Returns:
        The settings, lists as text.

    Raises:
        ValueError: when the file cannot be read, or has other names.
    """
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    names = {name.replace("-", "_"): value for name, value in found.items()}
    if unknown := set(names) - set(known):
        raise ValueError(f"{path} has {min(unknown)!r}; there are: {', '.join(known)}.")
    return {name: _text(value) for name, value in names.items()}


def _text(value: Any) -> Any:
    """A list or a number as it would be written on the command line; a table as a tuple of "name=value"."""
    if isinstance(value, dict):
        return tuple(f"{name}={each}" for name, each in value.items())
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return value if isinstance(value, str | bool) else str(value)


def assignments(given: Iterable[str]) -> dict[str, Any]:
    """Names and values of "timeout_min=60"; integers where they are some.

    Args:
        given: what was written.

    Returns:
        The values by name.

    Raises:
        ValueError: when there is no equals sign.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise ValueError(f"{each!r} is no setting; write name=value.")
        try:
            found[name] = int(value)
        except ValueError:
            found[name] = value
    return found


def optional(text: str | None, read: Callable[[str], tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """What was written, read; `None` where nothing was."""
    return None if text is None else read(text)
