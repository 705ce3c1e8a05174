"""Whether a gradient is zero to rounding."""

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..embeddings.narrow_landscape import NarrowLandscape
from ..rounding import gradient_changes
from ..thresholds import STANDARD, Thresholds


def is_critical(
    landscape: Landscape | NarrowLandscape,
    theta: Float[np.ndarray, " n"],
    *,
    moved: float = 0.0,
    thresholds: Thresholds = STANDARD,
) -> bool:
    """Whether the gradient is zero to rounding.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: the point.
        moved: the distance by which a search moved to it.
        thresholds: `rounding_safety`.

    Returns:
        Whether it is; not for a gradient that is not finite.
    """
    size = np.linalg.norm(landscape.gradient(theta))
    if isinstance(landscape, NarrowLandscape):
        wide = gradient_changes(landscape.landscape, landscape.matrix @ theta, moved=moved)
        changes = wide @ landscape.matrix
    else:
        changes = gradient_changes(landscape, theta, moved=moved)
    return bool(size <= thresholds.rounding_safety * np.max(np.linalg.norm(changes, axis=1)))
