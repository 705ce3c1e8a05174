"""The graph of saddles: critical points modulo symmetry, and the connections between them."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.compilation.traced import Traced, evaluate, trace
from ...flows.losses.statistics import SufficientStatistics, reduced_landscape
from ...models.features import features_of
from ..critical_points.classify import classify
from ..critical_points.critical_point import CriticalPoint, critical_point
from ..critical_points.kind import Kind
from ..curvature.scales import Scales
from ..visits.visit import Visit
from .connections import Connection, follow
from .escape_directions import escape_directions

# Two critical points are one, up to symmetry, if their losses agree to this share of the first node's, and their
# outputs to its square root: at a critical point the loss is of second order in the map.
SAME = 1e-6
# Spectra that agree to this share of the largest eigenvalue are one.
SAME_SPECTRUM = 1e-5
# The norm of outputs below which a map is zero to rounding.
ZERO_MAP = 1e-12


class SaddleGraph(eqx.Module):
    """Critical points modulo symmetry, and connections between them.

    Attributes:
        points: the nodes, in order of their discovery.
        kinds: of the nodes.
        connections: the edges, one for each pair of nodes.
        taken: the nodes that a given itinerary visited, in order; empty if none was given.
        complete: whether every saddle was left along every escape direction that was looked for, and every orbit led to
            a known node.
    """

    points: tuple[CriticalPoint, ...]
    kinds: tuple[Kind, ...]
    connections: tuple[Connection, ...]
    taken: tuple[int, ...]
    complete: bool

    def edge(self, source: int, target: int) -> Connection | None:
        """The connection between two nodes, or `None`."""
        return next((edge for edge in self.connections if (edge.source, edge.target) == (source, target)), None)

    def node(self, point: CriticalPoint, kind: Kind | None = None) -> int | None:
        """The number of the node that a critical point is.

        Args:
            point: a critical point of the same model.
            kind: its `Kind`, determined if not given and needed.

        Returns:
            The number, or `None` where it is none of the nodes.
        """
        outputs = _outputs_of(self.points[0].landscape)
        known = _same_map(self.points, [outputs(node.theta) for node in self.points], point, outputs(point.theta))
        if known is not None:
            return known
        return _same_spectrum(self.points, self.kinds, point, classify(point) if kind is None else kind)

    def path(self, visits: Sequence[Visit]) -> tuple[int | None, ...]:
        """The nodes that an itinerary visited, in order; `None` for a visit to none of them."""
        return tuple(self.node(visit.critical_point, visit.kind) for visit in visits)

    def __str__(self) -> str:
        lines = [f"{len(self.points)} critical points, {len(self.connections)} connections"]
        for number, (point, kind) in enumerate(zip(self.points, self.kinds, strict=True)):
            targets = ", ".join(str(edge.target) for edge in self.connections if edge.source == number)
            leads = f", leads to {targets}" if targets else ""
            lines.append(f"  {number}: loss {point.loss:.6g}, {kind.name}{leads}")
        if self.taken:
            lines.append("taken: " + " → ".join(map(str, self.taken)))
        return "\n".join(lines) + ("" if self.complete else "\nincomplete: some orbits led to no critical point")


class _Nodes:
    """The nodes that have been found so far."""

    def __init__(self, landscape: Landscape, scales: Scales | None, most: int):
        self.outputs, self.scales, self.most = _outputs_of(landscape), scales, most
        self.points: list[CriticalPoint] = []
        self.kinds: list[Kind] = []
        self.maps: list[np.ndarray | None] = []

    def add(self, point: CriticalPoint, kind: Kind, outputs: np.ndarray | None) -> int:
        """Appends a node."""
        self.points.append(point)
        self.kinds.append(kind)
        self.maps.append(outputs)
        return len(self.points) - 1

    def number(self, point: CriticalPoint, kind: Kind | None = None) -> int | None:
        """The number of a critical point's node, which is made if there is none; `None` if there are too many."""
        outputs = self.outputs(point.theta)
        known = _same_map(self.points, self.maps, point, outputs)
        if known is not None:
            return known
        kind = classify(point, scales=self.scales) if kind is None else kind
        known = _same_spectrum(self.points, self.kinds, point, kind)
        if known is None and len(self.points) < self.most:
            return self.add(point, kind, outputs)
        return known


def saddle_graph(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    visits: Sequence[Visit] = (),
    scales: Scales | None = None,
    size: float = 1.0,
    mixed: bool = False,
    max_nodes: int = 32,
) -> SaddleGraph:
    r"""The critical points that flows from a critical point lead to, their own successors, and so on.

    Every saddle is left along each of its `escape_directions`. Points with the same loss and the same outputs on the
    data are one node: they are the same map, placed differently in the network. So are points with the same loss and
    the same spectrum of the Hessian: where the data have a symmetry of their own, different maps are one up to it.

    Args:
        landscape: the loss.
        theta: at or near the first critical point, by default the landscape's own parameters, for example of a network
            of zero units.
        visits: an itinerary of the same model, whose critical points are nodes too, and whose path is marked.
        scales: characteristic scales, by default 1.
        size: typical ‖θ‖ after learning.
        mixed: whether to leave along every two eigenspaces at once as well.
        max_nodes: number of nodes at which no further ones are made.

    Returns:
        The graph, `complete` or not.
    """
    landscape = reduced_landscape(landscape)
    nodes, first = _Nodes(landscape, scales, max_nodes), critical_point(landscape, theta)
    nodes.add(first, classify(first, scales=scales), nodes.outputs(first.theta))
    found = [visit for visit in visits if visit.critical_point.converged]
    taken = tuple(nodes.number(visit.critical_point, visit.kind) for visit in found)
    complete, edges, node = None not in taken, {}, 0
    while node < len(nodes.points):
        for direction in escape_directions(nodes.points[node], nodes.kinds[node], mixed=mixed, seed=node):
            connection = follow(direction, size=size)
            reached = nodes.number(connection.end) if connection.end.converged else None
            if reached is None or reached == node:
                complete = False
                continue
            numbered = eqx.tree_at(lambda c: (c.source, c.target), connection, (node, reached))
            edges.setdefault((node, reached), numbered)
        node += 1
    return SaddleGraph(
        points=tuple(nodes.points),
        kinds=tuple(nodes.kinds),
        connections=tuple(edges.values()),
        taken=tuple(node for node in taken if node is not None),
        complete=complete,
    )


class _Outputs(eqx.Module):
    """The argument of the loss: a model's outputs on the data, or its coefficients where these are statistics."""

    program: Traced
    seen: Any

    def __call__(self, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, "..."]:
        """The outputs, or coefficients, of the model with the parameters θ."""
        return np.asarray(evaluate(self.program, theta, self.seen))


def _outputs_of(landscape: Landscape) -> Callable[[np.ndarray], np.ndarray | None]:
    """A function of θ that distinguishes maps; it gives `None` where the data are neither pairs nor statistics."""
    theta, data, features = landscape.theta, landscape.data, features_of(landscape.model)
    if isinstance(data, SufficientStatistics) and features is not None:
        coefficients = lambda theta, factor: features.coefficients(landscape.at(theta)) @ factor.T  # noqa: E731
        return _Outputs(trace(coefficients, theta, data.factor), data.factor)
    if not isinstance(data, tuple):
        return lambda theta: None
    outputs = lambda theta, inputs: jax.vmap(landscape.at(theta))(inputs)  # noqa: E731
    return _Outputs(trace(outputs, theta, data[0]), data[0])


def _level(points: Sequence[CriticalPoint], loss: float) -> list[int]:
    """The nodes with a given loss."""
    scale = SAME * abs(points[0].loss)
    return [number for number, point in enumerate(points) if abs(point.loss - loss) <= scale]


def _same_map(
    points: Sequence[CriticalPoint], maps: Sequence[np.ndarray | None], point: CriticalPoint, one: np.ndarray | None
) -> int | None:
    """The node with the same loss and the same outputs, if there is one."""
    for number in _level(points, point.loss):
        other = maps[number]
        if one is None or other is None:
            continue
        if np.linalg.norm(one - other) <= SAME**0.5 * max(np.linalg.norm(one), np.linalg.norm(other), ZERO_MAP):
            return number
    return None


def _same_spectrum(
    points: Sequence[CriticalPoint], kinds: Sequence[Kind], point: CriticalPoint, kind: Kind
) -> int | None:
    """The node with the same loss and the same spectrum, if there is one."""
    one = kind.spectrum
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
