"""Points of a landscape as a user gives them."""

from typing import Any

import numpy as np
from jaxtyping import Float

from ...models.arguments import quoted, record
from .landscape import Landscape


def point_of(landscape: Landscape, theta: Any = None) -> Float[np.ndarray, " n"]:
    """A point at which an analysis begins.

    Args:
        landscape: the loss.
        theta: the flattened parameters θ; `None`: the landscape's own.

    Returns:
        The point, of floating-point numbers.

    Raises:
        ValueError: for what is no landscape, and for θ that are not as many finite numbers as the model has parameters.
    """
    record("landscape", landscape, Landscape, "made by Landscape(model, loss, data)")
    own = landscape.theta
    try:
        point = own if theta is None else np.asarray(theta)
        point = point if point.dtype.kind == "f" else point.astype(own.dtype, casting="same_kind")
    except (TypeError, ValueError):
        raise ValueError(f"theta must be an array of real numbers; got {quoted(theta)}.") from None
    if point.shape != own.shape:
        raise ValueError(f"theta must have the model's {own.size} parameters; got an array of shape {point.shape}.")
    if not np.all(np.isfinite(point)):
        raise ValueError("the parameters theta hold NaN or infinite values.")
    return point


def check_finite_at(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> None:
    """Checks that loss and gradient are finite at a point.

    Args:
        landscape: the loss.
        theta: the point.

    Raises:
        ValueError: when they are not.
    """
    value, gradient = landscape.value_and_gradient(theta)
    if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
        raise ValueError("the loss or its gradient is not finite at these parameters; look for NaN in the data.")
