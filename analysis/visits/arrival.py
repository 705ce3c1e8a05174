"""Whether a flow that was cut short had arrived at the critical point that it was heading for."""

import numpy as np

from ...flows import Trajectory
from ..critical_points.classify import not_the_one_sought
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..critical_points.refine_by_products import BY_PRODUCTS_FROM, HARDLY
from ..thresholds import STANDARD, Thresholds
from .passages import Passage


def on_its_way(trajectory: Trajectory, passage: Passage) -> bool:
    """Whether a flow ended while it still slowed down, above the noise of the integrator.

    Args:
        trajectory: the flow.
        passage: one of its passages.

    Returns:
        Whether this is the last, and its closest approach the end of the flow.
    """
    return passage.departure is None and not passage.at_noise and passage.index == len(trajectory.ts) - 1


def not_arrived(
    trajectory: Trajectory,
    passage: Passage,
    previous: int,
    point: CriticalPoint,
    *,
    thresholds: Thresholds = STANDARD,
) -> Kind | None:
    """The kind of a last visit to which the flow had not come when it ended, with what would settle it.

    It had arrived if less of the way is left than the share `Thresholds.drop_fraction` of what it came since the
    closest approach before. From there on the approach is exponential, at a rate of the speed over the distance.

    Args:
        trajectory: the flow.
        passage: the last one.
        previous: number of the saved time of the closest approach before, or of the flow's start.
        point: the critical point that was found from the end of the flow.
        thresholds: `drop_fraction` and `far`, and `near`, to which the time of arrival refers.

    Returns:
        The kind "not arrived"; `None` where the flow arrived or stopped, and where no critical point was found that is
        near enough to explain why the flow slowed down.
    """
    if not on_its_way(trajectory, passage):
        return None
    if not point.converged:
        # A large network is not followed to infinity where the search for a zero of the gradient came to nothing.
        slope, large = np.max(np.abs(trajectory.landscape.gradient(point.start))), point.theta.size >= BY_PRODUCTS_FROM
        return _still_moving(trajectory, point) if large and point.gradient_norm > HARDLY * slope else None
    end, speed = trajectory.thetas[-1], float(trajectory.speeds[-1])
    came = float(np.linalg.norm(end - trajectory.thetas[previous]))
    far = thresholds.far * float(np.linalg.norm(point.start))
    if not thresholds.drop_fraction * came < point.distance <= far:
        return None
    near = thresholds.near * float(np.linalg.norm(point.theta))
    more = point.distance / speed * max(float(np.log(point.distance / near)) if near > 0 else 1.0, 1.0)
    evidence = (
        f"the flow ended on its way, at speed ‖∇L‖ = {speed:.3g} and still slowing down; the nearest critical point "
        f"that was found, of loss {point.loss:.6g}, lies at distance {point.distance:.3g}, and since the visit before "
        f"it came {came:.3g}. At its present rate it takes {more:.2g} more: {_longer(trajectory, more)} settles it"
    )
    return Kind(name="not arrived", evidence=evidence)


def unless_still_moving(
    trajectory: Trajectory,
    passage: Passage,
    point: CriticalPoint,
    kind: Kind,
    *,
    thresholds: Thresholds = STANDARD,
) -> Kind:
    """The kind of a visit; "not arrived" where the flow ended on its way and no critical point is near.

    Args:
        trajectory: the flow.
        passage: one of its passages.
        point: the end of a search for a critical point.
        kind: by `classify`.
        thresholds: `far`.

    Returns:
        The kind itself, unless the flow was still slowing down where no critical point was found, or none nearby.
    """
    if not on_its_way(trajectory, passage) or kind.name in ("flat channel", "ghost", "not arrived"):
        return kind
    far = point.converged and point.distance > thresholds.far * float(np.linalg.norm(point.start))
    return _still_moving(trajectory, point) if far or kind.name == "no critical point" else kind


def _still_moving(trajectory: Trajectory, point: CriticalPoint) -> Kind:
    """The kind where no critical point was found ahead of a flow that was cut short, or only one far away."""
    if not point.converged:
        found = not_the_one_sought(point)
    else:
        found = f"the nearest, of loss {point.loss:.6g}, lies at distance {point.distance:.3g}, and the weights "
        found += f"are of size {np.linalg.norm(point.start):.3g}"
    evidence = (
        f"the flow ended on its way, at speed ‖∇L‖ = {trajectory.speeds[-1]:.3g} and still slowing down, and no "
        f"critical point was found near there: {found}; "
        f"{_longer(trajectory, float(trajectory.ts[-1]))} or more tells where it leads"
    )
    return Kind(name="not arrived", evidence=evidence)


def _longer(trajectory: Trajectory, more: float) -> str:
    return f"a flow to t1 = {trajectory.ts[-1] + more:.2g}"
