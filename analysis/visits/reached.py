"""Whether a flow came to the critical point that was found beside it."""

import numpy as np

from ...flows import Trajectory
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..thresholds import STANDARD, Thresholds
from .passages import Passage


def unless_out_of_reach(
    trajectory: Trajectory,
    passage: Passage,
    neighbours: tuple[int, int],
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
        neighbours: numbers of the saved times of the closest approaches before and after, or of the flow's ends.
        point: the critical point.
        kind: by `classify`.
        thresholds: `near` and `loss_silent`.

    Returns:
        The kind itself, unless the point was not reached.
    """
    if not point.converged or kind.name in ("flat channel", "ghost"):
        return kind
    start, last = trajectory.thetas[passage.index], passage.departure is None
    if last and not passage.at_noise:
        return kind  # the flow ended on its way
    around = trajectory.thetas[neighbours[0] : neighbours[1] + 1]
    moved = float(np.max(np.linalg.norm(around - start, axis=1)))
    why = f"the nearest critical point that was found, a {kind.name} of loss {point.loss:.6g}, lies at distance "
    why += f"{point.distance:.3g}"
    if point.distance > max(moved, thresholds.near * float(np.linalg.norm(start))):
        evidence = f"not reached: {why}, and around its closest approach the flow moves by {moved:.3g} only"
        return Kind(name="no critical point", evidence=evidence)
    # Between the point and where the flow has converged, the loss changes by no more than gradients there account for.
    loss = float(trajectory.losses[passage.index])
    rounding = thresholds.loss_silent * float(np.max(np.abs([loss, point.loss, np.ptp(trajectory.losses)])))
    below = rounding + float(trajectory.speeds[passage.index]) * point.distance
    if last and loss < point.loss - below:
        evidence = f"not reached: {why}, and the flow has converged to a lower loss, {loss:.6g}"
        return Kind(name="no critical point", evidence=evidence)
    return kind
