"""The speed below which the integrator's error decides."""

import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...flows.ensembles.history import Member
from ..thresholds import STANDARD, Thresholds

# What passages are found from: times, losses, speeds and norms of all accepted steps.
Flow = Trajectory | Member


def largest_curvature(trajectory: Flow, index: int = -1) -> float:
    """The largest |eigenvalue| of the Hessian where weights are saved, from below, by power iteration."""
    return trajectory.landscape.sharpness(trajectory.thetas[index])


def noise_floor(
    trajectory: Flow, *, curvature: float | None = None, safety: float = STANDARD.noise_safety
) -> Float[np.ndarray, " T"]:
    r"""The speed below which the integrator's error decides, $100\, \|\nabla^2 L\|(rtol \|\theta\| + atol \sqrt n)$.

    A step's error of size $rtol \|\theta\| + atol \sqrt n$ changes the gradient by as much times the curvature; after
    convergence the speed fluctuates up to a hundred times that. Before anything has grown, ‖θ‖ and with it the floor
    are as small as the initial weights.

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
    return largest * 10 ** (np.ceil(10 * np.log10(floor / largest)) / 10)


def settled(trajectory: Flow, index: int, floor: Float[np.ndarray, " T"], *, thresholds: Thresholds = STANDARD) -> int:
    """Where a flow below the noise floor has come to rest, as far as its loss tells.

    At a loose tolerance the floor, a bound, is far above the errors that are made, and flows learn below it. Of the
    stretch of time that a flow spends below it the first point counts of so low a speed that while it is lower the loss
    falls by what is not seen: the first of all where it does not fall by more in the whole stretch.

    Args:
        trajectory: the flow.
        index: number of a saved time at which the speed is below the floor.
        floor: the speed below which the integrator's error may decide, at each saved time.
        thresholds: `loss_unseen` and `loss_silent`.

    Returns:
        The number of that point's saved time.
    """
    speeds, losses = trajectory.speeds, trajectory.losses
    above = np.array([-1, *np.flatnonzero(speeds > floor), len(speeds)])
    first, end = above[np.searchsorted(above, index) - 1] + 1, above[np.searchsorted(above, index)]
    # Rounding of the weights changes the loss by the second of these times ε.
    size = max(float(np.max(np.abs(losses))), float(speeds[index] * np.max(trajectory.norms)))
    unseen = max(thresholds.loss_unseen * float(np.ptp(losses)), thresholds.loss_silent * size)
    levels = np.maximum(speeds[first : end - 1], speeds[first + 1 : end])
    order = np.argsort(levels, kind="stable")
    told = np.cumsum(-np.diff(losses[first:end])[order]) > unseen
    if not np.any(told):
        return index
    level = np.max(levels[order][: np.argmax(told)], initial=np.min(speeds[first:end]))
    return int(first + np.argmax(speeds[first:end] <= level))
