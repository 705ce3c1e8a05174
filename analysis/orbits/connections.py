"""Where the flow goes from a saddle: connections to other critical points."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ...flows import flatten, simulate, unflatten
from ...flows.losses.statistics import reduced_landscape
from ..critical_points.critical_point import CriticalPoint, critical_point
from ..visits.passages import closest_approaches, noise_floor
from .escape_directions import EscapeDirection

# How far from the saddle a connection starts, relative to the weights: the curvature of the unstable manifold shows at
# its square, and rounding has to grow to the size of the weights by this much less.
DISPLACEMENT = 1e-3
# An escape of order p ≥ 3 takes a time of size^(2 − p): it starts farther out.
ALGEBRAIC_DISPLACEMENT = 1e-2
# Time allowed for a connection, in multiples of what the departure takes: targets may be approached more slowly.
PATIENCE = 30.0
# A flow has arrived when it is slower than this share of its expected speed at full size.
ARRIVED = 1e-8


class Connection(eqx.Module):
    r"""A piece of the flow from a saddle to the critical point that it comes near next.

    - `escape_direction`: how it leaves the saddle; `end`: the critical point, solved for.
    - `times`, `path`: the flow, from the displaced saddle to the closest approach; `losses`: along it.
    - `leak`: the largest share of the gradient, along the path, in the stronger unstable directions of the source that
      were kept out of the flow: at rounding level the path is one of the full flow; otherwise it is a first guess.
    - `source`, `target`: numbers of the nodes in a graph; −1 outside of one.
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
        r"""p of the departure $\dot r = c\, r^{p-1}$."""
        return self.escape_direction.order

    @property
    def rate(self) -> float:
        """c of the departure; for p = 2 the −λ of the eigenvalue along whose eigenvectors it leaves."""
        return self.escape_direction.rate

    @property
    def duration(self) -> float:
        """Time from the displaced saddle to the closest approach."""
        return float(self.times[-1])

    @property
    def arc_length(self) -> float:
        r"""$\int \|\nabla L\| dt$ from the displaced saddle to the closest approach."""
        return float(np.sum(np.linalg.norm(np.diff(self.path, axis=0), axis=1)))


class SlicedLoss(eqx.Module):
    r"""The loss as a function of θ's projection, $L(\theta_0 + P(\theta - \theta_0))$.

    Its flow, started in the slice $\theta_0 + \mathrm{im} P$, stays there: rounding in the other directions is not
    amplified, whatever the curvature there.
    """

    loss: Callable[[Any, Any], Any] = eqx.field(static=True)

    def __call__(self, model: Any, data: Any) -> Array:
        base, projection, data = data
        theta = flatten(model)
        return self.loss(unflatten(model, base + projection @ (theta - base)), data)


def follow(direction: EscapeDirection, *, size: float = 1.0, rtol: float = 1e-9) -> Connection:
    r"""The flow that leaves a saddle by one of its escape directions, to the critical point that it comes near first.

    The directions that it names as stronger are kept out of the flow. Where they are kept out by a symmetry, as
    in linear networks, they would come in by rounding alone, and what is followed is an orbit of the full flow;
    `leak` measures it. Elsewhere the path is a first guess for `heteroclinic_orbit`.

    **Arguments:** `direction`: one of a saddle's `escape_directions`; `size`: of the weights at full use; the flow
    starts a thousandth of it away, a hundredth for orders p ≥ 3; `rtol`: of the flow.
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
    # Next to either end the gradient is small and its direction that of rounding.
    moving = scale > 1e-3 * np.max(scale)
    leaks = np.linalg.norm(slopes @ direction.stronger, axis=1)[moving] / scale[moving]
    end = critical_point(landscape, path[-1], gradient_scale=float(np.max(flow.speeds)))
    return Connection(
        direction, end, flow.ts[: last + 1], path, flow.losses[: last + 1], float(np.max(leaks, initial=0.0))
    )
