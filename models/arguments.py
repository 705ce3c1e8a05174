"""What arguments have to be: real numbers, whole numbers, records; anything else is refused in one sentence."""

import math
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Characters of a value that a message quotes.
QUOTED = 60


def quoted(value: Any) -> str:
    """A value as a message quotes it: its type where it takes more than a line."""
    text = repr(value)
    return f"{type(value).__name__}" if len(text) > QUOTED or "\n" in text else text


def real(name: str, value: Any) -> float:
    """A real number.

    Args:
        name: what the user calls it.
        value: what was given.

    Returns:
        The number, which need not be finite.

    Raises:
        ValueError: for anything else, also for text and for arrays of several numbers.
    """
    if isinstance(value, float):
        return value
    array = None if isinstance(value, str | bytes) else np.asarray(value)
    if array is None or array.shape != () or array.dtype.kind not in "biuf":
        # Values of other libraries' floating-point types, such as bfloat16, are of kind V.
        raise ValueError(f"{name} must be a real number; got {quoted(value)}.")
    return float(array)


def whole(name: str, value: Any) -> int:
    """A whole number.

    Args:
        name: what the user calls it.
        value: what was given: an integer of Python's or NumPy's.

    Returns:
        The number.

    Raises:
        ValueError: for anything else, also for 3.0 and True.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise ValueError(f"{name} must be a whole number; got {quoted(value)}.")


def record(name: str, value: Any, kind: type, source: str) -> None:
    """Checks the type of an argument that another function makes.

    Args:
        name: what the user calls it.
        value: what was given.
        kind: what it has to be.
        source: how one gets it.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be of type {kind.__name__}, {source}; got {quoted(value)}.")


def file_path(name: str, value: Any) -> Path:
    """A path.

    Args:
        name: what the user calls it.
        value: what was given.

    Returns:
        The path.

    Raises:
        ValueError: for anything that is no path.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in str(value):
        raise ValueError(f"{name} must be the path of a file; got {quoted(value)}.")
    return Path(value)


def check_sizes(**sizes: Any) -> None:
    """Checks that sizes are positive whole numbers.

    Args:
        **sizes: sizes by the names that the user gave them.

    Raises:
        ValueError: for a size below 1, and for what is no whole number.
    """
    for name, size in sizes.items():
        if whole(name, size) < 1:
            raise ValueError(f"{name} must be at least 1; got {size}.")


def check_scale(scale: Any) -> None:
    """Checks the initialisation scale.

    Args:
        scale: standard deviation of the initial weights.

    Raises:
        ValueError: for a scale that is no number, negative or not finite.
    """
    number = real("the initialisation scale", scale)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"the initialisation scale must be finite and not negative; got {number}.")


def check_key(key: Any) -> None:
    """Checks a random key.

    Args:
        key: what was given.

    Raises:
        ValueError: for anything but a key of JAX's.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (dtype == np.uint32 or jnp.issubdtype(dtype, jax.dtypes.prng_key)):
        raise ValueError(f"key must be a random key, jax.random.key(0) for example; got {quoted(key)}.")
