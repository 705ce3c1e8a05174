"""Where a flow starts: its first record and the length of its first step."""

import numpy as np

from ..landscapes.landscape import Landscape
from .steps import Steps


def first_record(landscape: Landscape) -> Steps:
    """The single record at time 0, of the landscape's own weights."""
    theta = landscape.theta
    loss, gradient = landscape.value_and_gradient(theta)
    zero, speed = np.zeros(1, theta.dtype), np.linalg.norm(gradient)
    losses, speeds = np.asarray(loss, theta.dtype)[None], np.asarray(speed, theta.dtype)[None]
    return Steps(ts=zero, thetas=theta[None], energies=zero, losses=losses, speeds=speeds)


def is_finite(record: Steps) -> bool:
    """Whether loss and speed of all records are finite."""
    return bool(np.all(np.isfinite(record.losses)) and np.all(np.isfinite(record.speeds)))


def first_step(start: Steps, t1: float) -> float:
    """A hundredth of the time in which the weights would change by their own size; the controller corrects it."""
    size, speed = np.linalg.norm(start.thetas[0]), start.speeds[0]
    return float(min(0.01 * size / speed, t1)) if size > 0 and speed > 0 else 1e-3 * t1
