"""When a flow was near a critical point: closest approaches are minima of the speed."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ..curvature.scales import Scales
from ..thresholds import STANDARD, Thresholds
from .levels import first_time_below
from .noise import Flow, largest_curvature, noise_floor, settled


class Passage(eqx.Module):
    """One passage near a critical point: times of arrival, closest approach and departure.

    Attributes:
        index: number of the saved time of closest approach.
        time: of closest approach.
        arrival: when 90 % of the drop from the visit before were done (0 for the first).
        departure: when 10 % of the drop to the next visit were done; `None` for the last.
        at_noise: whether the speed at closest approach was below the integrator's noise floor.
        leaving: of the last: whether the flow ended while it was leaving, its speed having grown by as much as stands
            out.
    """

    index: int
    time: float
    arrival: float
    departure: float | None
    at_noise: bool
    leaving: bool = False

    @property
    def dwell(self) -> float | None:
        """Dwell time: departure − arrival, or `None` where the flow did not leave."""
        return None if self.departure is None else self.departure - self.arrival

    @property
    def stay(self) -> str:
        """Of the last passage: whether the flow stays there or was leaving when it ended."""
        return "leaving" if self.leaving else "stays"

    def __str__(self) -> str:
        left = "never within the flow" if self.departure is None else f"t = {self.departure:.5g}"
        dwell = self.stay if self.dwell is None else f"dwell time {self.dwell:.5g}"
        noise = ", below the noise floor of the integrator" if self.at_noise else ""
        return (
            f"passage at t = {self.time:.5g}: {dwell}\n"
            f"  arrival: t = {self.arrival:.5g}\n"
            f"  closest approach: saved time number {self.index}{noise}\n"
            f"  departure: {left}"
        )


def scales_of(trajectory: Flow, *, thresholds: Thresholds = STANDARD, curvature: float | None = None) -> Scales:
    r"""How far the loss ranges along a flow, its largest speed and weights, and the curvature c at its end.

    A constant added to the loss changes nothing. A flow that stays at a critical point has the loss $c\|\theta\|^2$ and
    the gradient $c\|\theta\|$ that its curvature and weights would make, and at zero weights those of `Scales`.

    Args:
        trajectory: the flow.
        thresholds: `loss_silent`, the share of these, and of the loss, below which range and speed are rounding.
        curvature: c, computed if not given.

    Returns:
        The characteristic scales.
    """
    weight, unknown = float(np.max(trajectory.norms)), Scales()
    curvature = largest_curvature(trajectory) if curvature is None else curvature
    loss, gradient = float(np.ptp(trajectory.losses)), float(np.max(trajectory.speeds))
    rounding = thresholds.loss_silent * curvature * weight
    level = max(rounding * weight, thresholds.loss_silent * float(np.max(np.abs(trajectory.losses))))
    return Scales(
        loss=loss if loss > level else curvature * weight**2 or unknown.loss,
        gradient=gradient if gradient > rounding else curvature * weight or unknown.gradient,
        curvature=curvature or unknown.curvature,
        weight=weight or unknown.weight,
    )


def closest_approaches(
    speeds: Float[np.ndarray, " T"],
    floor: Float[np.ndarray, " T"] | float = 0.0,
    prominence: float = STANDARD.prominence,
) -> Int[np.ndarray, " k"]:
    """Indices of the local minima of log₁₀ speed that stand out by `prominence` decades from their surroundings.

    The ends count as minima where the speed rises from them inwards. Speeds below `floor` are raised to it, and of a
    stretch at the floor the first index is taken.

    Args:
        speeds: ‖∇L‖ at successive times.
        floor: below which a speed is noise.
        prominence: decades by which a minimum must stand out; see `Thresholds`.

    Returns:
        The indices, in order of time.

    Raises:
        ValueError: for a prominence that is not positive.
    """
    if not prominence > 0:
        raise ValueError(f"the prominence must be positive; got {prominence}.")
    tiny = np.finfo(np.float64).tiny
    depth = -np.log10(np.maximum(np.maximum(speeds, floor), tiny))
    return np.array(_prominent_maxima(depth.tolist(), prominence), dtype=int)


def _prominent_maxima(heights: list[float], prominence: float) -> list[int]:
    """The maxima from which one must descend by `prominence` on either side before anything higher, or reach an end.

    One pass suffices: a maximum is prominent once the descent from it, and a valley once the ascent from it, is that
    long.

    Returns:
        The indices of the maxima.
    """
    found, rising, extreme = [], True, 0
    for k, height in enumerate(heights):
        beyond = height - heights[extreme] if rising else heights[extreme] - height
        if beyond > 0:
            extreme = k
        elif -beyond >= prominence:
            if rising:
                found.append(extreme)
            rising, extreme = not rising, k
    return [*found, extreme] if rising else found


def passages(
    trajectory: Flow, *, thresholds: Thresholds = STANDARD, curvature: float | None = None
) -> tuple[Passage, ...]:
    r"""The passages near critical points, in order of time.

    Along gradient flow $dL/dt = -\|\nabla L\|^2$: the middle of a plateau is a local minimum of the speed.

    Args:
        trajectory: the flow.
        thresholds: `prominence`, `noise_safety`, `drop_fraction`, `loss_unseen` and `loss_silent`.
        curvature: the largest |eigenvalue| of the Hessian at the end of the flow, computed if not given.

    Returns:
        One record for each minimum of the speed. Below the noise floor, where the flow has come to rest (`settled`).
    """
    floor = noise_floor(trajectory, curvature=curvature, safety=thresholds.noise_safety)
    found = closest_approaches(trajectory.speeds, floor, thresholds.prominence).tolist()
    at_noise = trajectory.speeds[found] <= floor[found]
    indices = [
        settled(trajectory, k, floor, thresholds=thresholds) if noisy else k
        for k, noisy in zip(found, at_noise, strict=True)
    ]
    losses, fraction, beyond = trajectory.losses[indices], thresholds.drop_fraction, 10**thresholds.prominence
    result = []
    for k, index in enumerate(indices):
        arrival, departure, speed = float(trajectory.ts[0]), None, trajectory.speeds[index]
        if k > 0:
            level = losses[k] + fraction * (losses[k - 1] - losses[k])
            arrival = _crossing(trajectory, float(level), indices[k - 1], index)
        if k + 1 < len(indices):
            level = losses[k] - fraction * (losses[k] - losses[k + 1])
            departure = _crossing(trajectory, float(level), index, indices[k + 1])
        result.append(
            Passage(
                index=index,
                time=float(trajectory.ts[index]),
                arrival=arrival,
                departure=departure,
                at_noise=bool(trajectory.speeds[index] <= floor[index]),
                leaving=departure is None and bool(trajectory.speeds[-1] >= beyond * max(speed, floor[index])),
            )
        )
    return tuple(result)


def _crossing(trajectory: Flow, level: float, first: int, last: int) -> float:
    """The time between two saved times at which the loss passes a level; the first of them if it does not."""
    between = slice(first, last + 1)
    ts, losses, speeds = (values[between] for values in (trajectory.ts, trajectory.losses, trajectory.speeds))
    found = first_time_below(ts, losses, level, speeds=speeds)
    return float(trajectory.ts[first]) if found is None else found
