"""The speed below which the integrator's error decides."""

import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...flows.ensembles.history import Member
from ..thresholds import STANDARD

# What passages are found from: times, losses, speeds and norms of all accepted steps.
Flow = Trajectory | Member
# A fall of the loss by this share of its range is not to be seen in a figure, nor in four digits.
UNSEEN = 1e-4


def largest_curvature(trajectory: Flow, index: int = -1) -> float:
    """The largest |eigenvalue| of the Hessian where weights are saved, from below, by power iteration."""
    return float(trajectory.landscape.sharpness(trajectory.thetas[index]))


def noise_floor(
    trajectory: Flow, *, curvature: float | None = None, safety: float = STANDARD.noise_safety
) -> Float[np.ndarray, " T"]:
    r"""The speed below which the integrator's error decides, $100\, \|\nabla^2 L\|(rtol \|\theta\| + atol \sqrt n)$.

    A step's error of size $rtol \|\theta\| + atol \sqrt n$ changes the gradient by as much times the curvature; after
    convergence the speed fluctuates up to a hundred times that. Before anything has grown, ‖θ‖ and with it the floor
    are as small as the initial weights.

    At a loose tolerance a flow may learn below this bound. The loss tells: over each stretch of time below it the floor
    is lowered until what the loss falls by below the floor is at most 1e-4 of its range.

    Args:
        trajectory: the flow.
        curvature: the largest |eigenvalue| of the Hessian at its end, computed if not given.
        safety: the factor of 100; see `Thresholds`.

    Returns:
        The floor at each saved time.
    """
    curvature = largest_curvature(trajectory) if curvature is None else curvature
    rtol, atol = (trajectory.stats[name] for name in ("rtol", "atol"))
    if rtol is None:  # an optimiser's steps are exact to rounding
        rtol, atol = float(np.finfo(trajectory.thetas.dtype).eps), 0.0
    error = rtol * trajectory.norms + atol * np.sqrt(trajectory.size)
    floor = np.maximum(safety * curvature * error, np.finfo(np.float64).tiny)
    # Rounded up to a tenth of a decade of the flow's own speed, whatever its unit, so that it is flat where ‖θ‖ is and
    # the first time below it is well defined.
    largest = float(np.max(trajectory.speeds)) or 1.0
    floor = largest * 10 ** (np.ceil(10 * np.log10(floor / largest)) / 10)
    size = max(curvature * float(np.max(trajectory.norms)) ** 2, float(np.max(np.abs(trajectory.losses))))
    return _lowered(floor, trajectory, max(UNSEEN * float(np.ptp(trajectory.losses)), STANDARD.loss_silent * size))


def _lowered(floor: Float[np.ndarray, " T"], trajectory: Flow, unseen: float) -> Float[np.ndarray, " T"]:
    """The floor, or as much of it as the loss does not tell from none: below it the loss falls by what is unseen."""
    speeds, losses = trajectory.speeds, trajectory.losses
    edges = np.diff(np.concatenate([[False], speeds <= floor, [False]]).astype(int))
    for first, end in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
        levels = np.maximum(speeds[first : end - 1], speeds[first + 1 : end])
        order = np.argsort(levels, kind="stable")
        told = np.cumsum(-np.diff(losses[first:end])[order]) > unseen
        if np.any(told):
            lower = levels[order][: np.argmax(told)]
            floor[first:end] = np.max(lower, initial=np.finfo(np.float64).tiny)
    return floor
