"""Whether a flow came to the critical point that was found beside it."""

import numpy as np

from ...flows import Trajectory
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..thresholds import STANDARD, Thresholds
from .passages import Passage


def reach(
    trajectory: Trajectory, passage: Passage, around: tuple[int, int], *, thresholds: Thresholds = STANDARD
) -> float:
    """How far a flow moves around its closest approach, infinite where it ended on its way.

    Args:
        trajectory: the flow.
        passage: with the closest approach.
        around: numbers of the saved times of the departure before and the arrival after, or of the flow's ends.
        thresholds: `near`, the share of the weights at least.

    Returns:
        The largest distance from the closest approach in that time.
    """
    if _open_ended(passage):
        return np.inf
    start = trajectory.thetas[passage.index]
    moved = np.linalg.norm(trajectory.thetas[around[0] : around[1] + 1] - start, axis=1)
    return max(float(np.max(moved)), thresholds.near * float(np.linalg.norm(start)))


def _open_ended(passage: Passage) -> bool:
    """Whether the flow ended on its way to the closest approach, so that it is not known how near it would come."""
    return passage.departure is None and not passage.at_noise and not passage.leaving


def unless_out_of_reach(
    trajectory: Trajectory,
    passage: Passage,
    around: tuple[int, int],
    point: CriticalPoint,
    kind: Kind,
    *,
    thresholds: Thresholds = STANDARD,
) -> Kind:
    """The kind of a visit, none where the point lies farther away than the flow ever moves around it.

    A flow that has converged is at its critical point, and above its loss.

    Args:
        trajectory: the flow.
        passage: near the point.
        around: numbers of the saved times of the departure before and the arrival after, or of the flow's ends.
        point: the critical point.
        kind: by `classify`.
        thresholds: `near` and `loss_silent`.

    Returns:
        The kind itself, unless the point was not reached.
    """
    if not point.converged or kind.name in ("flat channel", "ghost"):
        return kind
    if _open_ended(passage):
        return kind
    moved = reach(trajectory, passage, around, thresholds=thresholds)
    what = "one of undetermined kind and" if kind.name == "undetermined" else f"a {kind.name} of"
    why = f"the nearest critical point that was found, {what} loss {point.loss:.6g}, lies at distance "
    why += f"{point.distance:.3g}"
    if point.distance > moved:
        evidence = f"not reached: {why}, and around its closest approach the flow moves by {moved:.3g} only"
        return Kind(name="no critical point", evidence=evidence)
    # Between the point and where the flow has converged, the loss changes by no more than gradients there account for;
    # the point is known to its last place.
    loss = float(trajectory.losses[passage.index])
    rounding = thresholds.loss_silent * float(np.max(np.abs([loss, point.loss, np.ptp(trajectory.losses)])))
    apart = point.distance + float(np.finfo(point.theta.dtype).eps * np.linalg.norm(point.theta))
    below = rounding + float(trajectory.speeds[passage.index]) * apart
    if passage.departure is None and not passage.leaving and loss < point.loss - below:
        evidence = f"not reached: {why}, and the flow has converged to a lower loss, {loss:.6g}"
        return Kind(name="no critical point", evidence=evidence)
    return kind
