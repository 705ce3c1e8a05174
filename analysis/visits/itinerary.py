"""The itinerary of a flow: the critical points that it visited, in order."""

import warnings
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np

from ...flows import Trajectory
from ...models import incoming
from ...models.units import layers_of
from ..critical_points.classify import classify
from ..critical_points.critical_point import CriticalPoint, critical_point
from ..critical_points.kind import Kind
from ..curvature.scales import Scales
from ..embeddings.width import UNIT_SHARE, EffectiveWidth, effective_width, leading_size
from ..tables import new_table, plain_text
from .escape import Escape, escape
from .passages import PROMINENCE, Passage, passages, scales_of

if TYPE_CHECKING:
    from rich.table import Table

# Columns of the printed table: more than it needs, so that no cell is ever folded.
WIDTH = 180


class Visit(eqx.Module):
    """A passage near a critical point, with what is known of the point and of the escape from it.

    - `passage`: arrival, closest approach, departure; `loss`, `speed`: at closest approach;
    - `effective_widths`: of each layer of units; `effective_width`: of the first, `None` for models without units;
    - `critical_point`: refined and certified, with `converged` flag;
    - `kind`: saddle or minimum, with spectrum and evidence;
    - `escape`: `None` where the flow stayed.
    """

    passage: Passage
    loss: float
    speed: float
    effective_widths: tuple[EffectiveWidth, ...]
    critical_point: CriticalPoint
    kind: Kind
    escape: Escape | None

    @property
    def effective_width(self) -> EffectiveWidth | None:
        """The effective width of the first layer, for most networks the only one with units."""
        return self.effective_widths[0] if self.effective_widths else None

    @property
    def time(self) -> float:
        """Time of closest approach."""
        return self.passage.time

    def __str__(self) -> str:
        return str(Itinerary((self,)))


class Itinerary(tuple[Visit, ...]):
    """A tuple of visits; printing it gives the table."""

    def __str__(self) -> str:
        return plain_text(table(self), *remarks(self), width=WIDTH)


def itinerary(trajectory: Trajectory, *, prominence: float = PROMINENCE, share: float = UNIT_SHARE) -> Itinerary:
    """The critical points that a flow visited.

    **Arguments:** `trajectory`: a flow; `prominence`: decades by which a minimum of the speed must stand out to count
    as a visit; `share`: share in the map below which a part of the units counts as zero.

    **Warns** where an escape was seeded by rounding instead of by the flow.

    **Raises:** `ValueError` for a flow without a single step.
    """
    if len(trajectory.ts) < 2:
        raise ValueError(f"there is nothing to analyse: the flow took no step ({trajectory.result.value}).")
    visited = passages(trajectory, prominence)
    layers = range(len(layers_of(trajectory.initial_model)))
    models = [trajectory.model_at_index(passage.index) for passage in visited]
    # The end counts as well: a flow cut short on its way from the first plateau has grown beyond what it visited.
    sizes = [max(leading_size(model, layer) for model in (*models, trajectory.final_model)) for layer in layers]
    drops = -np.diff(trajectory.losses[[passage.index for passage in visited]])
    scales = scales_of(trajectory)
    visits = []
    for k, (passage, model) in enumerate(zip(visited, models, strict=True)):
        effective = tuple(effective_width(model, scale=sizes[k], share=share, layer=k) for k in layers)
        visits.append(_visit(trajectory, passage, model, effective, drops[max(k - 1, 0) : k + 1], scales))
    return Itinerary(visits)


def _visit(
    trajectory: Trajectory, passage: Passage, model, effective: tuple[EffectiveWidth, ...], drops, scales: Scales
) -> Visit:
    """One visit; `drops` are the falls of the loss on either side of it."""
    starts = np.asarray(incoming(model)) if effective else None
    drop, theta = float(np.min(drops)) if len(drops) else None, trajectory.thetas[passage.index]
    point = critical_point(
        trajectory.landscape, theta, effective=effective or None, gradient_scale=scales.gradient, drop=drop
    )
    # A stiff solver that the flow has ended with is compiled already.
    solver = trajectory.solver if trajectory.stats.get("reason") else None
    kind = classify(point, scales=scales, starts=_few(starts), solver=solver)
    left = escape(trajectory, passage, point, kind, float(drops[-1])) if len(drops) else None
    if left is not None and left.seeded_by_rounding:
        warnings.warn(
            f"the escape at t = {passage.time:.4g} was seeded by rounding: the dormant direction was below roundoff of "
            "the active weights, so its time says nothing about the flow. Use a larger initialisation.",
            stacklevel=3,
        )
    index = passage.index
    return Visit(
        passage, float(trajectory.losses[index]), float(trajectory.speeds[index]), effective, point, kind, left
    )


def _few(starts):
    # The largest units suggest the escape directions that this flow uses; the random starts find the others.
    return None if starts is None else starts[np.argsort(-np.linalg.norm(starts, axis=1))[:4]]


def remarks(visits: tuple[Visit, ...]) -> list[str]:
    """What the table's columns do not show: unclear widths, several units at once, plateaus without a point."""
    lines = []
    for number, visit in enumerate(visits):
        before = visits[number - 1].effective_widths if number else ()
        several = len(visit.effective_widths) > 1
        for k, effective in enumerate(visit.effective_widths):
            where = f" in layer {k + 1}" if several else ""
            if not effective.clear:
                sizes = ", ".join(f"{size:.2g}" for size in effective.sizes[: effective.width + 2])
                lines.append(
                    f"Visit {number}: effective width {effective.width}{where} is unclear, gap {effective.gap:.2g} at "
                    f"threshold {effective.threshold:.2g}; the largest sizes are {sizes}."
                )
            grown = effective.width - before[k].width if before else 0
            if grown > 1:
                together = f"{grown} units{where} grew together, with no plateau between."
                lines.append(f"Visits {number - 1} to {number}: {together}")
        if visit.kind.name in ("no critical point", "undetermined", "ghost", "flat channel"):
            lines.append(f"Visit {number}: {visit.kind.name}: {visit.kind.evidence}.")
        explained, form = visit.kind.null_space, visit.kind.null_space_form
        if explained and explained.unexplained and visit.kind.name != "degenerate saddle":
            changes = f", along which {form}: no critical manifold" if form is not None and form.order else ""
            lines.append(f"Visit {number}: {explained}{changes}.")
        if visit.escape is not None and visit.escape.seeded_by_rounding:
            lines.append(f"Visit {number}: the escape was seeded by rounding; its time says nothing about the flow.")
    return lines


def table(visits: tuple[Visit, ...]) -> "Table":
    """The itinerary as a rich table."""
    columns = ("#", "time", "arrival", "dwell (predicted)", "loss", "width", "type", "kind", "index")
    columns += ("nullity", "order", "rate (predicted)", "e-folds", "overlap", "‖∇L‖∞", "distance")
    result = new_table(columns, left=("kind",))
    for number, visit in enumerate(visits):
        result.add_row(str(number), *_row(visit))
    return result


def _row(visit: Visit) -> list[str]:
    passage, point, kind, left = visit.passage, visit.critical_point, visit.kind, visit.escape
    widths = [f"{effective.width}{'' if effective.clear else '?'}" for effective in visit.effective_widths]
    types = [effective.embedding for effective in visit.effective_widths]
    dwell = "stays" if passage.dwell is None else f"{passage.dwell:.4g}"
    if left is not None and left.dwell_predicted is not None:
        dwell += f" ({left.dwell_predicted:.4g})"
    found = point.converged
    rate = "–"
    if left is not None:
        measured = "?" if left.rate_measured is None else f"{left.rate_measured:.5g}"
        rate = measured if left.rate_predicted is None else f"{measured} ({left.rate_predicted:.5g})"
    return [
        f"{passage.time:.4g}",
        f"{passage.arrival:.4g}",
        dwell,
        f"{point.loss:.8g}" if found else f"{visit.loss:.4g} (flow)",
        ", ".join(widths) or "–",
        ", ".join(types if len(set(types)) > 1 else types[:1]) or "–",
        kind.name,
        "–" if kind.index is None else str(kind.index),
        "–" if kind.nullity is None else str(kind.nullity),
        "–" if kind.order is None else str(kind.order),
        rate,
        "–" if left is None else f"{left.e_folds:.1f}",
        "–" if left is None or left.overlap is None else f"{left.overlap:.5f}",
        f"{point.gradient_norm:.0e}",
        f"{point.distance:.1e}",
    ]
