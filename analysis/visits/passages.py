"""When a flow was near a critical point: closest approaches are minima of the speed."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ..curvature.scales import Scales

# Half a decade of speed between a plateau and the transitions beside it.
PROMINENCE = 0.5
# An explicit method that has converged steps at the edge of its stability, where errors of one step pile up: speeds
# up to some fifty times the error of one step were seen to come and go.
NOISE_SAFETY = 100.0
# Arrival and departure: a tenth of the neighbouring drop above and below the plateau's loss, as in a rise time.
FRACTION = 0.1


class Passage(eqx.Module):
    """One passage near a critical point: times of arrival, closest approach and departure.

    - `index`: number of the saved time of closest approach.
    - `arrival`: when nine tenths of the drop from the visit before were done (0 for the first).
    - `departure`: when a tenth of the drop to the next visit was done; `None` for the last.
    - `at_noise`: the speed at closest approach was below the integrator's noise floor.
    """

    index: int
    time: float
    arrival: float
    departure: float | None
    at_noise: bool

    @property
    def dwell(self) -> float | None:
        """Dwell time: departure − arrival, or `None` where the flow did not leave."""
        return None if self.departure is None else self.departure - self.arrival


def largest_curvature(trajectory: Trajectory, index: int = -1) -> float:
    """The largest |eigenvalue| of the Hessian at a saved time, from below, by power iteration."""
    return float(trajectory.landscape.sharpness(trajectory.thetas[index]))


def scales_of(trajectory: Trajectory) -> Scales:
    """The largest loss, speed and weights along a flow, and the curvature at its end.

    A flow that starts at a critical point shows no size of the gradient, one that starts at zero none of the weights
    either: those are then as where nothing is known.
    """
    weights = float(np.max(np.linalg.norm(trajectory.thetas, axis=1)))
    loss, speed = float(trajectory.losses[0]), float(np.max(trajectory.speeds))
    unknown = Scales()
    return Scales(
        loss=loss or unknown.loss,
        gradient=speed or unknown.gradient,
        curvature=largest_curvature(trajectory) or unknown.curvature,
        weight=weights or unknown.weight,
    )


def noise_floor(trajectory: Trajectory) -> Float[np.ndarray, " T"]:
    r"""The speed below which the integrator's error decides, $100\, \|\nabla^2 L\|(rtol \|\theta\| + atol \sqrt n)$.

    A step's error of size $rtol \|\theta\| + atol \sqrt n$ moves the gradient by as much times the curvature; after
    convergence the speed jitters up to the hundredfold of that. Before anything has grown, ‖θ‖ and with it the floor
    are as small as the initial weights.
    """
    curvature = largest_curvature(trajectory)
    rtol, atol = (trajectory.stats[name] for name in ("rtol", "atol"))
    if rtol is None:  # an optimiser's steps are exact but for rounding
        rtol, atol = float(np.finfo(trajectory.thetas.dtype).eps), 0.0
    error = rtol * np.linalg.norm(trajectory.thetas, axis=1) + atol * np.sqrt(trajectory.thetas.shape[1])
    floor = np.maximum(NOISE_SAFETY * curvature * error, np.finfo(np.float64).tiny)
    # Rounded up to a tenth of a decade, so that it is flat where ‖θ‖ is and the first time under it can be told.
    return 10 ** (np.ceil(10 * np.log10(floor)) / 10)


def closest_approaches(
    speeds: Float[np.ndarray, " T"], floor: Float[np.ndarray, " T"] | float = 0.0, prominence: float = PROMINENCE
) -> np.ndarray:
    """Indices of the local minima of log₁₀ speed that stand out by `prominence` decades from what surrounds them.

    The ends count as minima where the speed rises from them inwards. Speeds under `floor` are raised to it, and of a
    stretch at the floor the first index is taken.
    """
    if not prominence > 0:
        raise ValueError(f"the prominence must be positive; got {prominence}.")
    tiny = np.finfo(np.float64).tiny
    depth = -np.log10(np.maximum(np.maximum(speeds, floor), tiny))
    return np.array(_prominent_maxima(depth.tolist(), prominence), dtype=int)


def _prominent_maxima(heights: list[float], prominence: float) -> list[int]:
    """The maxima from which one must descend by `prominence` on either side before anything higher, or reach an end.

    One pass suffices: a top is one once the descent from it, and a valley once the ascent from it, is that long.
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


def passages(trajectory: Trajectory, prominence: float = PROMINENCE) -> tuple[Passage, ...]:
    r"""The passages near critical points, in order of time.

    Along gradient flow $dL/dt = -\|\nabla L\|^2$: the middle of a plateau is a local minimum of the speed.

    **Arguments:** `trajectory`: the flow; `prominence`: decades by which a minimum must stand out.
    """
    floor = noise_floor(trajectory)
    indices = closest_approaches(trajectory.speeds, floor, prominence)
    losses = trajectory.losses[indices]
    result = []
    for k, index in enumerate(indices):
        time = float(trajectory.ts[index])
        arrival, departure = float(trajectory.ts[0]), None
        if k > 0:
            level = losses[k] + FRACTION * (losses[k - 1] - losses[k])
            arrival = _crossing(trajectory, level, indices[k - 1], index)
        if k + 1 < len(indices):
            level = losses[k] - FRACTION * (losses[k] - losses[k + 1])
            departure = _crossing(trajectory, level, index, indices[k + 1])
        at_noise = bool(trajectory.speeds[index] <= floor[index])
        result.append(Passage(int(index), time, arrival, departure, at_noise))
    return tuple(result)


def _crossing(trajectory: Trajectory, level: float, first: int, last: int) -> float:
    """The time between two saved times at which the falling loss passes a level; dL/dt is known, so cubic."""
    losses = trajectory.losses
    below = first + int(np.argmax(losses[first : last + 1] <= level))
    if below == first:
        return float(trajectory.ts[first])
    start, end = (float(trajectory.ts[k]) for k in (below - 1, below))
    drop = float(losses[below] - losses[below - 1])
    slopes = [-(end - start) * float(trajectory.speeds[k]) ** 2 for k in (below - 1, below)]
    # Hermite's cubic in the share of the step, from its values and slopes at 0 and 1.
    cubic = [sum(slopes) - 2 * drop, 3 * drop - 2 * slopes[0] - slopes[1], slopes[0], float(losses[below - 1] - level)]
    shares = [float(root.real) for root in np.roots(cubic) if np.isreal(root) and 0 <= root.real <= 1]
    share = min(shares, default=float(losses[below - 1] - level) / -drop)
    return start + share * (end - start)
