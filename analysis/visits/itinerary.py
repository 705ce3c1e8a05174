"""The itinerary of a flow: the critical points that it visited, in order."""

import time
import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...flows.compilation.memory import return_freed_memory
from ...flows.simulation.patience import OutOfTime, Patience
from ...models import incoming
from ...models.arguments import real, record
from ...models.units import layers_of
from ..critical_points.classify import classify
from ..critical_points.critical_point import CriticalPoint, critical_point
from ..critical_points.kind import Kind
from ..critical_points.refine_by_products import BY_PRODUCTS_FROM
from ..curvature.scales import Scales
from ..embeddings.width import EffectiveWidth, effective_width, exact_widths, leading_size, size_along
from ..found_units import with_units_along
from ..tables import html_table, plain_text
from ..threads import SMALL
from ..thresholds import STANDARD, Thresholds
from .arrival import not_arrived, unless_still_moving
from .escape import escape
from .left import unless_left
from .lost_coordinates import held_by_rounding
from .passages import Passage, passages, scales_of
from .precision import coarse, in_double_precision
from .reached import reach, unless_out_of_reach
from .report import COLUMNS, WIDTH, remarks, rows, table
from .visit import Visit

# The largest units suggest the escape directions that this flow uses; the random starts find the others.
FEW = 4


class Itinerary(tuple[Visit, ...]):
    """A tuple of visits; printing it gives the table."""

    def __str__(self) -> str:
        return plain_text(table(self), *remarks(self), width=WIDTH)

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, rows(self), *remarks(self))


def itinerary(trajectory: Trajectory, *, thresholds: Thresholds = STANDARD, budget: float | None = None) -> Itinerary:
    """The critical points that a flow visited.

    Warns where an escape was seeded by rounding instead of by the flow, or is missing for that reason. Weights in
    single precision are analysed in double precision; where JAX has none the kinds stay undetermined. Units that a
    model does not declare are found in its program.

    Args:
        trajectory: a flow, by `simulate`.
        thresholds: what counts as a visit, a unit and a zero; the defaults are explained in `Thresholds`.
        budget: wall-clock seconds after which no further critical point is sought; kinds then stay undetermined.

    Returns:
        The visits in order of time.

    Raises:
        ValueError: for a flow without a single step, and for what is no flow, no thresholds or no number of seconds.
    """
    began = time.monotonic()
    record("trajectory", trajectory, Trajectory, "returned by simulate")
    record("thresholds", thresholds, Thresholds, "such as Thresholds(unit_share=0.01)")
    if budget is not None and not real("budget", budget) >= 0:
        raise ValueError(f"budget must not be negative; got {budget}.")
    if len(trajectory.ts) < 2:
        raise ValueError(f"there is nothing to analyse: the flow took no step ({trajectory.result.value}).")
    trajectory = with_units_along(in_double_precision(trajectory))
    scales = scales_of(trajectory, thresholds=thresholds)
    visited = passages(trajectory, thresholds=thresholds, curvature=scales.curvature)
    layers = range(len(layers_of(trajectory.initial_model)))
    models = [trajectory.model_at_index(passage.index) for passage in visited]
    # The end counts as well: a flow cut short on its way from the first plateau has grown beyond what it visited.
    grown = (*models, trajectory.final_model)
    size = lambda model, layer: leading_size(model, layer, thresholds=thresholds)  # noqa: E731
    sizes = [size_along(size(trajectory.initial_model, n), (size(model, n) for model in grown)) for n in layers]
    with Patience() as patience:
        patience.end = began + budget if budget is not None else patience.end
        visits = []
        for k, model in enumerate(models):
            effective = tuple(effective_width(model, scale=sizes[n], layer=n, thresholds=thresholds) for n in layers)
            about = _About(trajectory, visited, k, effective, scales, thresholds)
            try:
                point, kind = _critical_point(about) if budget is None else patience.wait(_critical_point, about)
            except OutOfTime:
                point, kind = _closest_approach(about, f"the budget of {budget:g} seconds was spent")
            visits.append(_visit(about, point, kind))
            if not trajectory.landscape.small:
                return_freed_memory()
    return Itinerary(visits)


class _About(NamedTuple):
    """What is known of visit number `number` before its critical point."""

    trajectory: Trajectory
    visited: tuple[Passage, ...]
    number: int
    effective: tuple[EffectiveWidth, ...]
    scales: Scales
    thresholds: Thresholds

    @property
    def passage(self) -> Passage:
        """Its passage."""
        return self.visited[self.number]

    @property
    def around(self) -> tuple[int, int]:
        """Numbers of the saved times of the departure before and the arrival after, or of the flow's ends."""
        before, after = self.visited[: self.number][-1:], self.visited[self.number + 1 :][:1]
        times = [*(passage.departure for passage in before), *(passage.arrival for passage in after)]
        found = [int(k) for k in np.searchsorted(self.trajectory.ts, np.array(times, float))]
        return found[0] if before else 0, found[-1] if after else len(self.trajectory.ts) - 1

    @property
    def drops(self) -> Float[np.ndarray, " d"]:
        """The falls of the loss from the visit before and to the next, as far as there are such visits."""
        drops = -np.diff(self.trajectory.losses[[passage.index for passage in self.visited]])
        return drops[max(self.number - 1, 0) : self.number + 1]


def _largest(units: Float[np.ndarray, "H Nu"]) -> Float[np.ndarray, "k Nu"]:
    """The largest units."""
    return units[np.argsort(-np.linalg.norm(units, axis=1))[:FEW]]


def _critical_point(about: _About) -> tuple[CriticalPoint, Kind]:
    """The critical point of a visit, and its kind in the light of what the flow did."""
    trajectory, passage, thresholds = about.trajectory, about.passage, about.thresholds
    if (why := coarse(trajectory)) is not None:
        return _closest_approach(about, why)
    point, found = _classified(about, about.effective)
    if found.name == "not arrived":
        return point, found
    kind = unless_out_of_reach(trajectory, passage, about.around, point, found, thresholds=thresholds)
    if kind is not found and about.effective and point.theta.size <= SMALL:
        # Units that are close were taken for one: the network as it is may have a critical point nearby.
        model = trajectory.model_at_index(passage.index)
        other, found = _classified(about, exact_widths(model, thresholds=thresholds))
        within = unless_out_of_reach(trajectory, passage, about.around, other, found, thresholds=thresholds)
        if other.converged and within is found:
            point, kind = other, found
    return point, unless_left(trajectory, passage, point, kind, thresholds=thresholds)


def _classified(about: _About, effective: tuple[EffectiveWidth, ...]) -> tuple[CriticalPoint, Kind]:
    """The critical point by way of the network of some effective width, and its kind by derivatives."""
    trajectory, scales, thresholds = about.trajectory, about.scales, about.thresholds
    start = trajectory.thetas[about.passage.index]
    point = critical_point(
        trajectory.landscape,
        start,
        effective=effective or None,
        gradient_scale=scales.gradient,
        drop=float(np.min(about.drops)) if len(about.drops) else None,
        reach=reach(trajectory, about.passage, about.around, thresholds=thresholds),
        thresholds=thresholds,
    )
    on_its_way = not_arrived(trajectory, about.passage, about.around[0], point, thresholds=thresholds)
    if on_its_way is not None:
        return point, on_its_way
    starts = _largest(np.asarray(incoming(trajectory.landscape.at(start)))) if effective else None
    # A stiff solver that the flow has ended with is compiled already. Large networks are followed without a Hessian.
    compiled = trajectory.stats.get("reason") and start.size < BY_PRODUCTS_FROM
    kind = classify(
        point,
        scales=scales,
        starts=starts,
        solver=trajectory.solver if compiled else None,
        thresholds=thresholds,
        # No channel to infinity has an end at which it is left.
        follow_channels=about.passage.departure is None,
        follow_from=trajectory.thetas[-1],
    )
    return point, unless_still_moving(trajectory, about.passage, point, kind, thresholds=thresholds)


def _closest_approach(about: _About, why: str) -> tuple[CriticalPoint, Kind]:
    """The closest approach itself, where no critical point is sought from it."""
    theta, landscape = about.trajectory.thetas[about.passage.index], about.trajectory.landscape
    value, gradient = landscape.value_and_gradient(theta)
    point = CriticalPoint(
        landscape=landscape,
        theta=theta,
        loss=float(value),
        gradient_norm=float(np.max(np.abs(gradient))),
        distance=0.0,
        converged=False,
        refined=False,
        embedding=None,
        start=theta,
    )
    return point, Kind(name="undetermined", evidence=why)


def _visit(about: _About, point: CriticalPoint, kind: Kind) -> Visit:
    """One visit, with the escape from it."""
    trajectory, passage, departure = about.trajectory, about.passage, None
    if len(about.drops):
        departure = escape(trajectory, passage, point, kind, float(about.drops[-1]), thresholds=about.thresholds)
    held = held_by_rounding(trajectory, passage, point, kind, thresholds=about.thresholds)
    _warn(passage, departure is not None and departure.seeded_by_rounding, held)
    return Visit(
        passage=passage,
        loss=float(trajectory.losses[passage.index]),
        speed=float(trajectory.speeds[passage.index]),
        effective_widths=about.effective,
        critical_point=point,
        kind=kind,
        escape=departure,
        held_by_rounding=held,
    )


def _warn(passage: Passage, seeded: bool, held: bool) -> None:
    """Warns the caller of `itinerary` of an escape that rounding seeded, or of one that it prevents."""
    place, below = f"t = {passage.time:.4g}", "below roundoff of the weights that they are made of"
    if seeded:
        happened = f"the escape at {place} was seeded by rounding: the unstable coordinates were {below}, so its time"
        warnings.warn(f"{happened} says nothing about the flow. Use a larger initialisation.", stacklevel=4)
    if held:
        happened = f"the flow stays at the saddle of {place} by rounding: all of its unstable coordinates fell {below}"
        warnings.warn(f"{happened}. Use a larger initialisation.", stacklevel=4)
