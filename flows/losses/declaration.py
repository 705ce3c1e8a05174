"""What a loss declares of itself: a lower bound, and whether it is convex in the model's output."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

# A number, or the bound as a function of the data.
LowerBound = float | Callable[[Any], Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def declares(*, lower_bound: LowerBound | None = None, convex: bool = False) -> Callable[[Function], Function]:
    """Makes a decorator that states properties of a loss, as attributes of the function.

    Args:
        lower_bound: a number that the loss is never below, whatever the model and the data, or that number as a
            function of the data; by default none is known.
        convex: whether the loss is convex in the model's output, as a function of the input; by default not.

    Returns:
        The decorator.
    """

    def declared(loss: Function) -> Function:
        setattr(loss, "lower_bound", lower_bound)  # noqa: B010  (type checkers know no attributes of functions)
        setattr(loss, "convex", convex)  # noqa: B010
        return loss

    return declared


def lower_bound_of(loss: Callable[..., Any], data: Any) -> float | None:
    """Reads a loss's declaration of a lower bound, its attribute `lower_bound`.

    Args:
        loss: scalar function of (model, data), or a `functools.partial` or wrapper of one that declares it.
        data: the data.

    Returns:
        The bound on these data, `None` where none is declared.

    Raises:
        ValueError: for a bound that is no finite number.
    """
    bound = _declaration(loss, "lower_bound")
    if bound is None:
        return None
    value = np.asarray(bound(data) if callable(bound) else bound)
    if value.shape != () or not np.isfinite(value):
        raise ValueError(f"loss.lower_bound must be a finite number, or such a function of the data; got {value}.")
    return float(value)


def convex_in_output(loss: Callable[..., Any]) -> bool:
    """Whether a loss declares, by an attribute `convex`, that it is convex in the model's output."""
    return _declaration(loss, "convex") is True


def _declaration(loss: Any, name: str) -> Any:
    """The attribute of a loss, or of the function that it wraps or completes."""
    while loss is not None:
        if hasattr(loss, name):
            return getattr(loss, name)
        # `functools.partial` and `functools.wraps` remember their function under these names.
        loss = getattr(loss, "func", None) or getattr(loss, "__wrapped__", None)
    return None
