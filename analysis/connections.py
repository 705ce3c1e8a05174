"""Where the flow goes from a saddle: connections to other critical points, and the graph that they make."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..flows import simulate, unflatten
from .critical_point import CriticalPoint, critical_point
from .kind import Kind, kind
from .scales import Scales
from .visits import closest_approaches, noise_floor

# How far from the saddle a connection starts, relative to the weights: the curvature of the unstable manifold shows at
# its square, and rounding has to grow to the size of the weights by this much less.
DISPLACEMENT = 1e-3
# Time allowed for a connection, in e-folds of its departure: some seven are needed to get away.
E_FOLDS = 200.0
# Eigenvalues closer than this share of the lowest are one.
EQUAL = 1e-6
# Two critical points are one, up to symmetry, if their losses and outputs agree to this share.
SAME = 1e-6


class Connection(eqx.Module):
    r"""A piece of the flow from a saddle to the critical point that it comes near next.

    - `source`, `target`: numbers of the nodes; `rate`: −λ of the eigenvalue along whose eigenvectors it leaves (for a
      degenerate saddle 0).
    - `duration`, `arc_length`: $\int dt$ and $\int \|\nabla L\| dt$ from the displaced saddle to the closest approach;
    - `losses`: along it, `times`.
    """

    source: int
    target: int
    rate: float
    duration: float
    arc_length: float
    times: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]


class SaddleGraph(eqx.Module):
    """Critical points modulo symmetry, and connections between them.

    - `points`, `kinds`: the nodes, in order of their discovery; `connections`: the edges, one for each pair of nodes.
    - `complete`: every node that is a saddle was left along every unstable eigenspace.
    """

    points: tuple[CriticalPoint, ...]
    kinds: tuple[Kind, ...]
    connections: tuple[Connection, ...]
    complete: bool

    def node(self, model: Any, loss: Callable, data: Any) -> int | None:
        """The number of the node with the loss and outputs of a critical model, or `None`."""
        scale = max(point.loss for point in self.points)
        return _find(self.points, float(loss(model, data)), _outputs(model, data), data, scale)


def eigenspaces(verdict: Kind) -> Iterator[tuple[float, Float[np.ndarray, "n m"]]]:
    """The unstable eigenvalues of a strict saddle, lowest first, each with its eigenvectors."""
    spectral = verdict.spectrum
    if spectral is None or spectral.index == 0:
        return
    values = spectral.eigenvalues[: spectral.index]
    edges = np.flatnonzero(np.diff(values) > EQUAL * abs(values[0])) + 1
    for members in np.split(np.arange(len(values)), edges):
        yield float(values[members].mean()), spectral.eigenvectors[:, members]


def follow(
    point: CriticalPoint,
    direction: Float[np.ndarray, " n"],
    rate: float,
    loss: Callable,
    data: Any,
    *,
    size: float = 1.0,
    rtol: float = 1e-8,
) -> tuple[CriticalPoint, dict[str, Any]]:
    r"""The critical point that the flow comes near first when it leaves another one along a direction.

    **Arguments:** `point`; `direction`: a unit vector; `rate`: of departure, which sets the time that is allowed;
    `loss`, `data`; `size`: of the weights at full use; the flow starts a thousandth of it away; `rtol`: of the flow.

    **Returns:** the target, solved for; and duration, arc length, times and losses of the connection.
    """
    start = unflatten(point.model, jnp.asarray(point.theta + DISPLACEMENT * size * direction))
    flow = simulate(start, loss, data, t1=E_FOLDS / rate, rtol=rtol)
    indices = closest_approaches(flow.speeds, noise_floor(flow))
    last = next((int(i) for i in indices if i > 0), len(flow.ts) - 1)
    near = unflatten(flow.initial_model, flow.ys[last])
    target = critical_point(near, flow.loss, flow.data, gradient_scale=float(np.max(flow.speeds)))
    times = flow.ts[: last + 1]
    length = float(np.sum(np.linalg.norm(np.diff(flow.ys[: last + 1], axis=0), axis=1)))
    measured = {"duration": float(times[-1]), "arc_length": length, "times": times, "losses": flow.losses[: last + 1]}
    return target, measured


def saddle_graph(
    model: Any, loss: Callable, data: Any, *, scales: Scales | None = None, size: float = 1.0, max_nodes: int = 32
) -> SaddleGraph:
    r"""The critical points that flows from a critical point lead to, their own successors, and so on.

    From each strict saddle one flow leaves into each of its unstable eigenspaces, both ways along a random vector of
    it. Points with the same loss and the same outputs on the data are one node: they are the same map, placed
    differently in the network.

    **Arguments:** `model`: at or near the first critical point, as a network of zero units; `loss`, `data`; `scales`:
    sizes that count as large; `size`: of the weights at full use; `max_nodes`.
    """
    points, kinds, edges = [critical_point(model, loss, data)], [], {}
    complete, node = True, 0
    while node < len(points):
        kinds.append(kind(points[node], loss, data, scales=scales))
        for value, space in eigenspaces(kinds[node]):
            mixed = space @ np.random.default_rng(node).standard_normal(space.shape[1])
            for direction in (mixed / np.linalg.norm(mixed), -mixed / np.linalg.norm(mixed)):
                target, measured = follow(points[node], direction, -value, loss, data, size=size)
                if not target.converged:
                    complete = False
                    continue
                outputs = _outputs(target.model, data)
                found = _find(points, target.loss, outputs, data, points[0].loss)
                if found is None and len(points) == max_nodes:
                    complete = False
                    continue
                if found is None:
                    points.append(target)
                    found = len(points) - 1
                edges.setdefault((node, found), Connection(node, found, -value, **measured))
        node += 1
    return SaddleGraph(tuple(points), tuple(kinds), tuple(edges.values()), complete)


def _outputs(model: Any, data: Any) -> np.ndarray:
    inputs = data[0] if isinstance(data, tuple) else None
    return np.zeros(0) if inputs is None else np.asarray(jax.vmap(model)(inputs))


def _find(points: Any, loss: float, outputs: np.ndarray, data: Any, scale: float) -> int | None:
    for number, point in enumerate(points):
        if abs(point.loss - loss) > SAME * scale:
            continue
        other = _outputs(point.model, data)
        if np.linalg.norm(other - outputs) <= SAME**0.5 * max(np.linalg.norm(other), 1e-12):
            return number
    return None
