"""The itinerary of a flow: the critical points that it visited, in order."""

import warnings

import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...models import incoming
from ...models.units import layers_of
from ..critical_points.classify import classify
from ..critical_points.critical_point import critical_point
from ..curvature.scales import Scales
from ..embeddings.width import EffectiveWidth, effective_width, leading_size
from ..tables import html_table, plain_text
from ..thresholds import STANDARD, Thresholds
from .escape import escape
from .left import unless_left
from .passages import Passage, passages, scales_of
from .reached import unless_out_of_reach
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


def itinerary(trajectory: Trajectory, *, thresholds: Thresholds = STANDARD) -> Itinerary:
    """The critical points that a flow visited.

    Warns where an escape was seeded by rounding instead of by the flow.

    Args:
        trajectory: a flow, by `simulate`.
        thresholds: what counts as a visit, a unit and a zero; the defaults are explained in `Thresholds`.

    Returns:
        The visits in order of time.

    Raises:
        ValueError: for a flow without a single step.
    """
    if len(trajectory.ts) < 2:
        raise ValueError(f"there is nothing to analyse: the flow took no step ({trajectory.result.value}).")
    scales = scales_of(trajectory, thresholds=thresholds)
    visited = passages(trajectory, thresholds=thresholds, curvature=scales.curvature)
    layers = range(len(layers_of(trajectory.initial_model)))
    models = [trajectory.model_at_index(passage.index) for passage in visited]
    # The end counts as well: a flow cut short on its way from the first plateau has grown beyond what it visited.
    grown = (*models, trajectory.final_model)
    sizes = [max(leading_size(model, layer, thresholds=thresholds) for model in grown) for layer in layers]
    drops = -np.diff(trajectory.losses[[passage.index for passage in visited]])
    visits, ends = [], [0, *(passage.index for passage in visited), len(trajectory.ts) - 1]
    for k, (passage, model) in enumerate(zip(visited, models, strict=True)):
        effective = tuple(effective_width(model, scale=sizes[k], layer=k, thresholds=thresholds) for k in layers)
        starts = _largest(np.asarray(incoming(model))) if effective else None
        beside = drops[max(k - 1, 0) : k + 1]
        neighbours = ends[k], ends[k + 2]
        visits.append(_visit(trajectory, passage, neighbours, effective, starts, beside, scales, thresholds))
    return Itinerary(visits)


def _largest(units: Float[np.ndarray, "H Nu"]) -> Float[np.ndarray, "k Nu"]:
    """The largest units."""
    return units[np.argsort(-np.linalg.norm(units, axis=1))[:FEW]]


def _visit(
    trajectory: Trajectory,
    passage: Passage,
    neighbours: tuple[int, int],
    effective: tuple[EffectiveWidth, ...],
    starts: Float[np.ndarray, "k Nu"] | None,
    drops: Float[np.ndarray, " d"],
    scales: Scales,
    thresholds: Thresholds,
) -> Visit:
    """One visit; `neighbours` are the closest approaches before and after it, `drops` the falls of the loss between."""
    point = critical_point(
        trajectory.landscape,
        trajectory.thetas[passage.index],
        effective=effective or None,
        gradient_scale=scales.gradient,
        drop=float(np.min(drops)) if len(drops) else None,
        thresholds=thresholds,
    )
    # A stiff solver that the flow has ended with is compiled already.
    solver = trajectory.solver if trajectory.stats.get("reason") else None
    kind = classify(point, scales=scales, starts=starts, solver=solver, thresholds=thresholds)
    kind = unless_out_of_reach(trajectory, passage, neighbours, point, kind, thresholds=thresholds)
    kind = unless_left(trajectory, passage, point, kind, thresholds=thresholds)
    departure = None
    if len(drops):
        departure = escape(trajectory, passage, point, kind, float(drops[-1]), thresholds=thresholds)
    if departure is not None and departure.seeded_by_rounding:
        warnings.warn(
            f"the escape at t = {passage.time:.4g} was seeded by rounding: the dormant direction was below roundoff of "
            "the active weights, so its time says nothing about the flow. Use a larger initialisation.",
            stacklevel=3,
        )
    return Visit(
        passage=passage,
        loss=float(trajectory.losses[passage.index]),
        speed=float(trajectory.speeds[passage.index]),
        effective_widths=effective,
        critical_point=point,
        kind=kind,
        escape=departure,
    )
