"""Observables at many states: one compiled program for all of them, and what failed by name and time."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float

from ...flows import unflatten
from ...flows.compilation.traced import Traced, compiled, trace
from ...models.quick import Effort
from .observable import Observable

# States at a time where an observable is so cheap that a call takes longer than what it calls for.
BLOCK = 64


class Values(NamedTuple):
    """An observable's arrays at all times by name ("" for a single one), and where and why they are missing.

    Attributes:
        arrays: with time on the first axis; NaN where the function failed.
        failed: at which times the function raised an error.
        error: the first one; `None` without any.
    """

    arrays: dict[str, np.ndarray]
    failed: Bool[np.ndarray, " T"]
    error: Exception | None = None


class _NotNumbers(ValueError):
    """An observable returned something else than arrays of numbers."""


class _Together(eqx.Module):
    """Several observables as one program."""

    parts: dict[str, Traced]

    @property
    def effort(self) -> Effort:
        """How thoroughly the program is to be optimised."""
        return max(part.effort for part in self.parts.values())


@compiled
def _mapped(together: _Together, thetas: Float[Any, "k n"]) -> dict[str, Any]:
    # One state after the other: memory is that of one.
    return jax.lax.map(lambda theta: {name: part(theta) for name, part in together.parts.items()}, thetas)


def evaluate_at(
    model: Any, observables: Mapping[str, Observable], thetas: Float[np.ndarray, "T n"]
) -> dict[str, Values]:
    """Values of observables at many states.

    Functions of JAX's arrays are compiled together, once for all states. Functions that need to know the weights'
    values, as those of NumPy's do, are called at each state. A function that fails at all states, or returns what is no
    array of numbers, is refused by a `ValueError`.

    Args:
        model: of the structure that the states have.
        observables: by name.
        thetas: flattened parameters, one row for each state.

    Returns:
        The values by the observables' names.
    """
    parts: dict[str, Traced] = {}
    for name, observable in observables.items():
        if observable.compiled and (part := _traced(name, observable.function, model, thetas[0])) is not None:
            parts[name] = part
    known = _compiled_values(_Together(parts), thetas) if parts else {}
    return {
        name: known[name] if name in known else _called(name, observable.function, model, thetas)
        for name, observable in observables.items()
    }


def _traced(name: str, function: Callable[[Any], Any], model: Any, theta: Float[np.ndarray, " n"]) -> Traced | None:
    """The function of the flattened parameters; `None` if it needs to know values."""
    try:
        return trace(lambda theta: _arrays(name, function(unflatten(model, theta))), theta)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
        return None
    except _NotNumbers:
        raise
    except Exception as error:
        raise ValueError(f"the observable {name!r} cannot be computed of this model: {_told(error)}.") from error


def _compiled_values(together: _Together, thetas: Float[np.ndarray, "T n"]) -> dict[str, Values]:
    count, size = len(thetas), BLOCK if together.effort is Effort.LITTLE else 1
    # In blocks of one size, padded with the last state, so that one program serves any number.
    padded = np.concatenate([thetas, np.repeat(thetas[-1:], -count % size, axis=0)])
    blocks = [jax.tree.map(np.asarray, _mapped(together, padded[k : k + size])) for k in range(0, count, size)]
    whole = jax.tree.map(lambda *arrays: np.concatenate(arrays)[:count], *blocks)
    return {name: Values(arrays=whole[name], failed=np.zeros(count, bool)) for name in together.parts}


def _called(name: str, function: Callable[[Any], Any], model: Any, thetas: Float[np.ndarray, "T n"]) -> Values:
    """The function called at each state."""
    found: list[dict[str, np.ndarray] | None] = []
    errors: list[Exception] = []
    for theta in thetas:
        try:
            value = _arrays(name, function(unflatten(model, theta)))
        except _NotNumbers:
            raise
        except Exception as error:
            errors.append(error)
            found.append(None)
        else:
            found.append({key: np.asarray(array) for key, array in value.items()})
    first = next((value for value in found if value is not None), None)
    if first is None:
        raise ValueError(f"the observable {name!r} fails at all times: {_told(errors[0])}.") from errors[0]
    for value in found:
        if value is not None and {key: array.shape for key, array in value.items()} != {
            key: array.shape for key, array in first.items()
        }:
            raise ValueError(f"the observable {name!r} returns arrays of different shapes at different times.")
    missing = {key: np.full(array.shape, np.nan) for key, array in first.items()} if errors else {}
    rows = [missing if value is None else value for value in found]
    arrays = {key: np.stack([row[key] for row in rows]) for key in first}
    return Values(arrays=arrays, failed=np.array([value is None for value in found]), error=next(iter(errors), None))


def _arrays(name: str, value: Any) -> dict[str, Any]:
    """What an observable returned, as arrays by name."""
    arrays: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {"": value}
    for key, array in arrays.items():
        kind = getattr(array, "dtype", None) or np.asarray(array if np.isscalar(array) else None).dtype
        if not (np.issubdtype(kind, np.number) or np.issubdtype(kind, np.bool_)):
            what = f"under {key!r} it is" if key else "got"
            raise _NotNumbers(f"the observable {name!r} must return arrays of numbers; {what} {array!r}.")
    return arrays


def _told(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
