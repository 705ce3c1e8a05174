"""Where the flow goes from a saddle: connections to other critical points."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ...flows import flatten, simulate, unflatten
from ...flows.losses.statistics import reduced_landscape
from ..critical_points.critical_point import CriticalPoint, critical_point
from ..visits.noise import noise_floor
from ..visits.passages import closest_approaches
from .escape_directions import EscapeDirection

# How far from the saddle a connection starts, relative to typical ‖θ‖: the unstable manifold's curvature enters at its
# square, and rounding has less time to grow than from a smaller distance.
DISPLACEMENT = 1e-3
# An escape of order p ≥ 3 takes a time of distance^(2 − p): it starts farther away.
ALGEBRAIC_DISPLACEMENT = 1e-2
# Time allowed for a connection, in multiples of the departure's: targets may be approached more slowly.
PATIENCE = 30.0
# A flow has arrived when it is slower than this share of its expected speed at typical ‖θ‖.
ARRIVED = 1e-8
# The leak is measured where the speed is above this share of its largest: close to either end the gradient is small and
# its direction is rounding.
MOVING = 1e-3


class Connection(eqx.Module):
    r"""A piece of the flow from a saddle to the critical point that it approaches next.

    Attributes:
        escape_direction: how it leaves the saddle.
        end: the critical point, solved for.
        times: of the flow, from the displaced saddle to the closest approach.
        path: θ at these times.
        losses: along the path.
        leak: the largest share of the gradient, along the path, in the stronger unstable directions of the source that
            were projected out of the flow: at rounding level the path is one of the full flow; otherwise it is a first
            guess.
        source: number of the start's node in a graph; −1 outside of one.
        target: number of the end's node in a graph; −1 outside of one.
    """

    escape_direction: EscapeDirection
    end: CriticalPoint
    times: Float[np.ndarray, " T"]
    path: Float[np.ndarray, "T n"]
    losses: Float[np.ndarray, " T"]
    leak: float
    source: int = -1
    target: int = -1

    @property
    def start(self) -> CriticalPoint:
        """The saddle."""
        return self.escape_direction.point

    @property
    def order(self) -> int:
        r"""Order p of the departure $\dot r = c\, r^{p-1}$."""
        return self.escape_direction.order

    @property
    def rate(self) -> float:
        """Rate c of the departure; for p = 2 the −λ of the eigenvalue along whose eigenvectors it leaves."""
        return self.escape_direction.rate

    @property
    def duration(self) -> float:
        """Time from the displaced saddle to the closest approach."""
        return float(self.times[-1])

    @property
    def arc_length(self) -> float:
        r"""$\int \|\nabla L\| dt$ from the displaced saddle to the closest approach."""
        return float(np.sum(np.linalg.norm(np.diff(self.path, axis=0), axis=1)))

    def __str__(self) -> str:
        nodes = "" if self.source < 0 else f" {self.source} → {self.target}"
        growth = "exponentially" if self.order == 2 else f"at order {self.order}"
        return (
            f"connection{nodes}: loss {self.start.loss:.6g} → {self.end.loss:.6g}\n"
            f"  leaves {growth} at rate {self.rate:.6g}\n"
            f"  duration {self.duration:.4g}, arc length {self.arc_length:.6g}, leak {self.leak:.1e}\n"
            f"  ends at {'a critical point' if self.end.converged else 'no critical point'}, ‖∇L‖∞ = "
            f"{self.end.gradient_norm:.0e}"
        )


class SlicedLoss(eqx.Module):
    r"""The loss as a function of θ's projection, $L(\theta_0 + P(\theta - \theta_0))$.

    Its flow, started in the slice $\theta_0 + \mathrm{im} P$, stays there: rounding in the other directions is not
    amplified, whatever the curvature there.
    """

    loss: Callable[[Any, Any], Any] = eqx.field(static=True)

    def __call__(self, model: Any, data: Any) -> Array:
        """The loss at the projected parameters; the data are (θ₀, P, the loss's own data)."""
        base, projection, data = data
        theta = flatten(model)
        return self.loss(unflatten(model, base + projection @ (theta - base)), data)


def follow(direction: EscapeDirection, *, size: float = 1.0, rtol: float = 1e-9) -> Connection:
    r"""The flow that leaves a saddle along an escape direction, to the critical point that it approaches first.

    The directions that it names as stronger are projected out of the flow. Where a symmetry excludes them, as in linear
    networks, they would grow from rounding alone, and the path is an orbit of the full flow; `leak` measures it.
    Elsewhere the path is a first guess for `heteroclinic_orbit`.

    Args:
        direction: one of a saddle's `escape_directions`.
        size: typical ‖θ‖ after learning; the flow starts a thousandth of it away, a hundredth for orders p ≥ 3.
        rtol: relative tolerance of the flow.

    Returns:
        The flow up to its first closest approach, and the critical point there.
    """
    base, landscape = direction.point.theta, reduced_landscape(direction.point.landscape)
    near = (DISPLACEMENT if direction.order == 2 else ALGEBRAIC_DISPLACEMENT) * size
    leaving = np.log(size / near) if direction.order == 2 else near ** (2 - direction.order) / (direction.order - 2)
    slowest = direction.mixed[-1][0] if direction.mixed else direction.rate
    projection = np.eye(base.size) - direction.stronger @ direction.stronger.T
    flow = simulate(
        landscape.at(base + direction.displacement(near)),
        SlicedLoss(landscape.loss),
        (base, projection, landscape.data),
        t1=float(PATIENCE * leaving / slowest),
        rtol=rtol,
        convergence=ARRIVED * slowest * size ** (direction.order - 1),
    )
    indices = closest_approaches(flow.speeds, noise_floor(flow))
    last = next((int(i) for i in indices if i > 0), len(flow.ts) - 1)
    path = flow.thetas[: last + 1]
    slopes = landscape.values_and_gradients(path)[1]
    scale = np.linalg.norm(slopes, axis=1)
    moving = scale > MOVING * np.max(scale)
    leaks = np.linalg.norm(slopes @ direction.stronger, axis=1)[moving] / scale[moving]
    end = critical_point(landscape, path[-1], gradient_scale=float(np.max(flow.speeds)))
    return Connection(
        escape_direction=direction,
        end=end,
        times=flow.ts[: last + 1],
        path=path,
        losses=flow.losses[: last + 1],
        leak=float(np.max(leaks, initial=0.0)),
    )
