"""The graph of saddles: critical points modulo symmetry, and the connections between them."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..flows.statistics import Statistics, reduced_data
from ..models import features_of
from .connections import Connection, follow
from .critical_point import CriticalPoint, critical_point
from .exits import exits
from .itinerary import Visit
from .kind import kind
from .scales import Scales
from .verdict import Kind

# Two critical points are one, up to symmetry, if their losses agree to this share of the first node's, and their
# outputs to its square root: at a critical point the loss is of second order in the map.
SAME = 1e-6
# Spectra that agree to this share of the largest eigenvalue are one.
SAME_SPECTRUM = 1e-5


class SaddleGraph(eqx.Module):
    """Critical points modulo symmetry, and connections between them.

    - `points`, `kinds`: the nodes, in order of their discovery; `connections`: the edges, one for each pair of nodes.
    - `taken`: the nodes that a given itinerary visited, in order; empty if none was given.
    - `complete`: every saddle was left by every exit that was looked for, and every orbit led to a known node.
    """

    points: tuple[CriticalPoint, ...]
    kinds: tuple[Kind, ...]
    connections: tuple[Connection, ...]
    taken: tuple[int, ...]
    complete: bool

    def edge(self, source: int, target: int) -> Connection | None:
        """The connection between two nodes, or `None`."""
        return next((edge for edge in self.connections if (edge.source, edge.target) == (source, target)), None)

    def node(self, point: CriticalPoint, verdict: Kind, data: Any) -> int | None:
        """The number of the node that a critical point is, or `None`."""
        known = _same_map(self.points, point, data)
        return _same_spectrum(self.points, self.kinds, point, verdict) if known is None else known

    def path(self, visits: Sequence[Visit], data: Any) -> tuple[int | None, ...]:
        """The nodes that an itinerary visited, in order; `None` for a visit to none of them."""
        return tuple(self.node(visit.critical_point, visit.kind, data) for visit in visits)

    def __str__(self) -> str:
        lines = [f"{len(self.points)} critical points, {len(self.connections)} connections"]
        for number, (point, verdict) in enumerate(zip(self.points, self.kinds, strict=True)):
            targets = ", ".join(str(edge.target) for edge in self.connections if edge.source == number)
            leads = f", leads to {targets}" if targets else ""
            lines.append(f"  {number}: loss {point.loss:.6g}, {verdict.name}{leads}")
        if self.taken:
            lines.append("taken: " + " → ".join(map(str, self.taken)))
        return "\n".join(lines) + ("" if self.complete else "\nincomplete: some orbits led to no critical point")


def saddle_graph(
    model: Any,
    loss: Callable,
    data: Any,
    *,
    visits: Sequence[Visit] = (),
    scales: Scales | None = None,
    size: float = 1.0,
    mixed: bool = False,
    max_nodes: int = 32,
) -> SaddleGraph:
    r"""The critical points that flows from a critical point lead to, their own successors, and so on.

    Every saddle is left by each of its `exits`. Points with the same loss and the same outputs on the data are one
    node: they are the same map, placed differently in the network. So are points with the same loss and the same
    spectrum of the Hessian: where the data have a symmetry of their own, different maps are one up to it.

    **Arguments:** `model`: at or near the first critical point, for example a network of zero units; `loss`, `data`;
    `visits`: an itinerary of the same model, whose critical points are nodes too, and whose path is marked; `scales`:
    sizes that count as large; `size`: of the weights at full use; `mixed`: leave along every two eigenspaces at once as
    well; `max_nodes`.
    """
    loss, data = reduced_data(model, loss, data)
    first = critical_point(model, loss, data)
    points, kinds = [first], [kind(first, loss, data, scales=scales)]

    def number(point: CriticalPoint, verdict: Kind | None = None) -> int | None:
        known = _same_map(points, point, data)
        if known is not None:
            return known
        verdict = kind(point, loss, data, scales=scales) if verdict is None else verdict
        known = _same_spectrum(points, kinds, point, verdict)
        if known is None and len(points) < max_nodes:
            points.append(point)
            kinds.append(verdict)
            return len(points) - 1
        return known

    found = [visit for visit in visits if visit.critical_point.converged]
    taken = tuple(number(visit.critical_point, visit.kind) for visit in found)
    complete, edges, node = None not in taken, {}, 0
    while node < len(points):
        for way in exits(points[node], kinds[node], loss, data, mixed=mixed, seed=node):
            target, connection = follow(points[node], way, loss, data, size=size)
            reached = number(target) if target.converged else None
            if reached is None or reached == node:
                complete = False
                continue
            numbered = eqx.tree_at(lambda c: (c.source, c.target), connection, (node, reached))
            edges.setdefault((node, reached), numbered)
        node += 1
    known = tuple(node for node in taken if node is not None)
    return SaddleGraph(tuple(points), tuple(kinds), tuple(edges.values()), known, complete)


def _outputs(model: Any, data: Any) -> np.ndarray | None:
    """What the loss sees of a model: its outputs on the data, or its coefficients where statistics stand for these."""
    features = features_of(model)
    if isinstance(data, Statistics) and features is not None:
        return np.asarray(features.coefficients(model) @ data.factor.T)
    inputs = data[0] if isinstance(data, tuple) else None
    return None if inputs is None else np.asarray(jax.vmap(model)(inputs))


def _level(points: Sequence[CriticalPoint], loss: float) -> list[int]:
    """The nodes with a given loss."""
    scale = SAME * abs(points[0].loss)
    return [number for number, point in enumerate(points) if abs(point.loss - loss) <= scale]


def _same_map(points: Sequence[CriticalPoint], point: CriticalPoint, data: Any) -> int | None:
    one = _outputs(point.model, data)
    if one is None:
        return None
    for number in _level(points, point.loss):
        other = _outputs(points[number].model, data)
        if other is None:
            continue
        if np.linalg.norm(one - other) <= SAME**0.5 * max(np.linalg.norm(one), np.linalg.norm(other), 1e-12):
            return number
    return None


def _same_spectrum(points: Sequence[CriticalPoint], kinds: Sequence[Kind], point: CriticalPoint, verdict: Kind):
    one = verdict.spectrum
    if one is None:
        return None
    for number in _level(points, point.loss):
        other = kinds[number].spectrum
        if other is None or (one.index, one.nullity) != (other.index, other.nullity):
            continue
        largest = np.max(np.abs(one.eigenvalues), initial=0.0)
        if largest > 0 and np.max(np.abs(one.eigenvalues - other.eigenvalues)) <= SAME_SPECTRUM * largest:
            return number
    return None
