"""The critical point behind a visit: solve in the narrow network, embed back, certify in the wide one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape, flatten, unflatten
from ...flows.landscapes.point import check_finite_at, point_of
from ...models.units import layers_of
from ..embeddings.embedding import Embedding
from ..embeddings.narrow_landscape import NarrowLandscape, narrow_landscape
from ..embeddings.reduction import narrowest, reduce_layers
from ..embeddings.width import EffectiveWidth, effective_widths, exact_widths
from ..found_units import with_units
from ..threads import in_one_thread
from ..thresholds import STANDARD, Thresholds
from .descent import descend_to_critical_point
from .explained import ALL_OF_IT, explains, vanishes
from .nearest_member import nearest_member
from .refine import solve_gradient
from .refine_by_products import BY_PRODUCTS_FROM, nearly_zero
from .zero_gradient import is_critical


class CriticalPoint(eqx.Module):
    r"""A zero of the gradient next to a point of slow motion, certified in the wide network.

    Attributes:
        landscape: the loss of the wide network.
        theta: the point, in the wide network's parameters.
        loss: there.
        gradient_norm: $\|\nabla L\|_\infty$ there, in the wide network.
        distance: Euclidean distance from `start`.
        converged: whether this is the critical point that was sought: the gradient is zero to tolerance *and* the loss
            is that of the plateau, if one was given. From `high_index_saddle`, also that its dynamics settled and
            Newton's method stayed near their end. For the gradient alone see `gradient_norm`.
        refined: whether it was solved for.
        embedding: the narrow network, none of whose units is zero, and its place in the wide one, in each layer where
            several have units; `None` for a model without units.
        start: the parameters at the closest approach, from which it was sought.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    loss: float
    gradient_norm: float
    distance: float
    converged: bool
    refined: bool
    embedding: Embedding | None
    start: Float[np.ndarray, " n"]

    @property
    def model(self) -> Any:
        """The wide network at the point."""
        return self.landscape.at(self.theta)

    @property
    def start_model(self) -> Any:
        """The wide network at the closest approach."""
        return self.landscape.at(self.start)

    @property
    def single_layer(self) -> Embedding | None:
        """The embedding where a single layer has units, of which one more can be added."""
        return None if self.embedding is None or self.embedding.layered else self.embedding

    def __str__(self) -> str:
        missed = "not the critical point sought" if self.refined else "not refined"
        found = "critical point" if self.converged else missed
        wide = f"{self.theta.size} parameters"
        if self.embedding is not None:
            narrow = ", ".join(str(p.shape[1]) for p, *_ in self.embedding.maps)
            wide += f", embedded from a network of width {narrow}"
        return (
            f"{found}: loss {self.loss:.8g}\n"
            f"  gradient: ‖∇L‖∞ = {self.gradient_norm:.1e}\n"
            f"  distance from the closest approach: {self.distance:.3g}\n"
            f"  network: {wide}"
        )


class _Candidate(NamedTuple):
    """A point of the wide network and its embedding."""

    theta: Float[np.ndarray, " n"]
    embedding: Embedding | None


def _candidates(
    landscape: Landscape,
    start: Float[np.ndarray, " n"],
    effective: EffectiveWidth | tuple[EffectiveWidth, ...] | None,
    lowest: float,
    passed: bool,
    thresholds: Thresholds,
) -> Iterator[_Candidate]:
    """Points of the wide network that may be the critical point, each computed when it is asked for."""
    if is_critical(landscape, start, thresholds=thresholds):
        yield _as_it_stands(landscape, start, thresholds)
    if not layers_of(landscape.model):
        # A wide network's saddle is met first; slow convergence to a minimum shows in descent.
        found = solve_gradient(landscape, start)
        yield _as_it_stands(landscape, found, thresholds)
        large = start.size >= BY_PRODUCTS_FROM
        if large and (passed or _unfinished(landscape, start, found)):
            return
        # A minimum that is not on the plateau is still the nearest point that was found, where it costs little.
        descended = descend_to_critical_point(landscape, start, lowest=lowest if large else -np.inf)
        if large and landscape.value(descended) < lowest:
            return
        yield _as_it_stands(landscape, solve_gradient(landscape, descended), thresholds)
        return
    model = landscape.at(start)
    widths = _clear_widths(model, thresholds) if effective is None else effective
    embedding = narrowest(model, widths, thresholds=thresholds)
    for number, point in enumerate(_narrow_candidates(narrow_landscape(landscape, embedding), thresholds)):
        solved = eqx.tree_at(lambda e: e.narrow, embedding, unflatten(embedding.narrow, point))
        wide = flatten(solved.wide())
        vanished = effective is None and vanishes(start, wide)
        if number == 0 and (vanished or not explains(landscape, start, wide, thresholds)):
            yield _as_it_stands(landscape, solve_gradient(landscape, start), thresholds)
        yield _Candidate(wide, solved)


def _clear_widths(model: Any, thresholds: Thresholds) -> tuple[EffectiveWidth, ...]:
    """Effective widths if all are clear; else those for which units count as one only if they are equal."""
    found = effective_widths(model, thresholds=thresholds)
    return found if all(each.clear for each in found) else exact_widths(model, thresholds=thresholds)


def _unfinished(landscape: Landscape, start: Float[np.ndarray, " n"], found: Float[np.ndarray, " n"]) -> bool:
    """Whether a search ended on its way to a zero of the gradient, as at infinity, where no descent ends either."""
    moved = float(np.linalg.norm(found - start))
    return nearly_zero(landscape, start, found) and not is_critical(landscape, found, moved=moved)


def _as_it_stands(landscape: Landscape, theta: Float[np.ndarray, " n"], thresholds: Thresholds) -> _Candidate:
    """A point that is not moved: of its units only those count as one that are equal."""
    if not layers_of(landscape.model):
        return _Candidate(theta, None)
    model = landscape.at(theta)
    return _Candidate(theta, reduce_layers(model, exact_widths(model, thresholds=thresholds)))


def _narrow_candidates(narrow: NarrowLandscape, thresholds: Thresholds) -> Iterator[Float[np.ndarray, " m"]]:
    """Critical points of a narrow network that its present state may belong to, most likely first.

    In a long flat valley the nearest zero of the gradient can be a saddle of the valley that the flow does not
    approach.

    Yields:
        The zero of the gradient next to it, if that is a minimum of the narrow network or very near; then the zero next
        to the end of a descent; then the first one, of whatever kind it is. Each is the nearest of its family.
    """
    theta = narrow.theta
    if theta.size == 0 or theta.size >= BY_PRODUCTS_FROM:
        # What follows takes dense Hessians by the dozen.
        yield solve_gradient(narrow, theta)
        return
    nearest = nearest_member(narrow, solve_gradient(narrow, theta))
    values = np.linalg.eigvalsh(narrow.hessian(nearest))
    distance, size = np.linalg.norm(nearest - theta), np.linalg.norm(theta)
    # Beside the zero network the weights are no scale: they are the distance from it.
    near = distance <= thresholds.near * size or ALL_OF_IT * size <= distance <= size
    if near or values[0] >= -thresholds.narrow_curvature * np.max(np.abs(values)):
        yield nearest
    yield nearest_member(narrow, solve_gradient(narrow, descend_to_critical_point(narrow, theta)))
    yield nearest


@in_one_thread
# A search that leaves the range of numbers ends, and is judged by where it is.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def critical_point(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    effective: EffectiveWidth | tuple[EffectiveWidth, ...] | None = None,
    gradient_scale: float | None = None,
    drop: float | None = None,
    reach: float = np.inf,
    thresholds: Thresholds = STANDARD,
) -> CriticalPoint:
    """The critical point next to θ, found in the narrow network of its effective width.

    A point whose gradient is zero to rounding stays where it is. Units that the model does not declare are found in its
    program.

    Args:
        landscape: the loss of the wide network.
        theta: the wide network at the closest approach, by default the landscape's own parameters.
        effective: its effective width, of each layer where several have units; computed if not given. Models without
            units are solved as they are.
        gradient_scale: characteristic scale of the gradient, against which its zero is certified; by default the
            gradient at θ.
        drop: the smaller drop of the loss beside the plateau; `None` if the loss need not agree.
        reach: the distance up to which a critical point is preferred to one farther away, as by how far a flow moves.
        thresholds: what counts as zero and as near.

    Returns:
        The first candidate that converged and lies within reach, or else the first that converged, or else the nearest
        one, with `converged` false.
    """
    start = point_of(landscape, theta)
    check_finite_at(landscape, start)
    landscape = with_units(landscape)
    value, gradient = landscape.value_and_gradient(start)
    scale = float(np.max(np.abs(gradient), initial=0.0)) if gradient_scale is None else gradient_scale
    level = np.inf if drop is None else thresholds.plateau_share * drop
    points = []
    for candidate in _candidates(
        landscape, start, effective, float(value) - level, bool(np.isfinite(reach)), thresholds
    ):
        point = _certified(landscape, start, candidate, scale, thresholds)
        on_plateau = abs(point.loss - float(value)) <= level
        point = eqx.tree_at(lambda p: p.converged, point, point.converged and bool(on_plateau))
        if point.converged and point.distance <= reach:
            return point
        points.append(point)
    converged = [point for point in points if point.converged]
    return converged[0] if converged else min(points, key=lambda point: point.distance)


def _certified(
    landscape: Landscape, start: Float[np.ndarray, " n"], candidate: _Candidate, scale: float, thresholds: Thresholds
) -> CriticalPoint:
    """A candidate with its loss and gradient, converged if that is zero beside its scale, or to rounding."""
    value, gradient = landscape.value_and_gradient(candidate.theta)
    norm, distance = float(np.max(np.abs(gradient), initial=0.0)), float(np.linalg.norm(candidate.theta - start))
    size = float(max(np.linalg.norm(start), np.linalg.norm(candidate.theta)))
    embedding = None if candidate.embedding is None else candidate.embedding.without_zero_units(size)
    return CriticalPoint(
        landscape=landscape,
        theta=candidate.theta,
        loss=float(value),
        gradient_norm=norm,
        distance=distance,
        converged=bool(norm <= thresholds.gradient_zero * scale)
        or is_critical(landscape, candidate.theta, moved=distance, thresholds=thresholds),
        refined=True,
        embedding=embedding,
        start=start,
    )
