"""The sizes against which a flow's numbers are small or large."""

import equinox as eqx
import numpy as np

from ..flows import Trajectory
from .visits import largest_curvature


class Scales(eqx.Module):
    """Sizes that count as large: of the loss, the gradient, the Hessian's eigenvalues, and the weights ‖θ‖.

    `curvature` is `None` where it is not known; thresholds then follow the spectrum at hand.
    """

    loss: float = 1.0
    gradient: float = 1.0
    curvature: float | None = None
    weight: float = 1.0


def scales_of(trajectory: Trajectory) -> Scales:
    """The largest loss, speed and weights along a flow, and the curvature at its end."""
    weights = float(np.max(np.linalg.norm(trajectory.ys, axis=1)))
    loss, speed = float(trajectory.losses[0]), float(np.max(trajectory.speeds))
    return Scales(loss, speed, largest_curvature(trajectory), weights)
