"""The itinerary of a flow: the critical points that it visited, in order."""

import io
import warnings

import equinox as eqx
import numpy as np
from rich.console import Console
from rich.table import Table

from ..flows import Trajectory
from ..models import incoming, units_of
from .critical_point import CriticalPoint, critical_point
from .escape import Escape, escape
from .kind import Kind, kind
from .visits import PROMINENCE, Passage, passages
from .width import TOLERANCE, EffectiveWidth, effective_width, leading_size


class Visit(eqx.Module):
    """A passage near a critical point, with what is known of the point and of the escape from it.

    - `passage`: arrival, closest approach, departure; `loss`, `speed`: at closest approach;
    - `effective_width`: `None` for models without units;
    - `critical_point`: refined and certified, with `converged` flag;
    - `kind`: saddle or minimum, with spectrum and evidence;
    - `escape`: `None` where the flow stayed.
    """

    passage: Passage
    loss: float
    speed: float
    effective_width: EffectiveWidth | None
    critical_point: CriticalPoint
    kind: Kind
    escape: Escape | None

    @property
    def time(self) -> float:
        """Time of closest approach."""
        return self.passage.time

    def __str__(self) -> str:
        return str(Itinerary((self,)))


class Itinerary(tuple[Visit, ...]):
    """A tuple of visits; printing it gives the table."""

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=180, force_terminal=False)
        console.print(table(self))
        return console.file.getvalue()  # type: ignore[attr-defined]


def itinerary(
    trajectory: Trajectory, *, prominence: float = PROMINENCE, width_tolerance: float = TOLERANCE
) -> Itinerary:
    """The critical points that a flow visited.

    **Arguments:** `trajectory`: a flow; `prominence`: decades by which a minimum of the speed must stand out to count
    as a visit; `width_tolerance`: share of the largest weights below which a part of the units counts as zero.

    **Warns** where an escape was seeded by rounding instead of by the flow.
    """
    visited = passages(trajectory, prominence)
    has_units = units_of(trajectory.initial_model) is not None
    models = [trajectory.model_at(passage.index) for passage in visited]
    scale = max((leading_size(model) for model in models), default=0.0) if has_units else None
    drops = [*-np.diff(trajectory.losses[[p.index for p in visited]]), 0.0]
    visits = []
    for passage, model, drop in zip(visited, models, drops, strict=True):
        visits.append(_visit(trajectory, passage, model, scale, width_tolerance, float(drop)))
    return Itinerary(visits)


def _visit(trajectory: Trajectory, passage: Passage, model, scale, width_tolerance: float, drop: float) -> Visit:
    loss, data = trajectory.loss, trajectory.data
    gradient_scale, loss_scale = float(trajectory.speeds.max()), float(trajectory.losses[0])
    effective = starts = None
    if scale is not None:
        effective = effective_width(model, scale=scale, tolerance=width_tolerance) if scale > 0 else None
        starts = np.asarray(incoming(model))
    weight_scale = float(np.max(np.linalg.norm(trajectory.ys, axis=1)))
    point = critical_point(
        model, loss, data, effective=effective, gradient_scale=gradient_scale, weight_scale=weight_scale
    )
    verdict = kind(point, loss, data, gradient_scale=gradient_scale, loss_scale=loss_scale, starts=_few(starts))
    left = escape(trajectory, passage, point, verdict, drop)
    if left is not None and left.seeded_by_rounding:
        warnings.warn(
            f"the escape at t = {passage.time:.4g} was seeded by rounding: the dormant direction was below roundoff of "
            "the active weights, so its time says nothing about the flow. Use a larger initialisation.",
            stacklevel=3,
        )
    index = passage.index
    return Visit(
        passage, float(trajectory.losses[index]), float(trajectory.speeds[index]), effective, point, verdict, left
    )


def _few(starts):
    # The largest units suggest the exits that this flow uses; the random starts find the others.
    return None if starts is None else starts[np.argsort(-np.linalg.norm(starts, axis=1))[:4]]


def table(visits: tuple[Visit, ...]) -> Table:
    """The itinerary as a rich table."""
    result = Table(title="Itinerary of the gradient flow")
    columns = ("visit", "closest", "arrival", "dwell (predicted)", "loss at the point", "width", "type", "kind", "index")
    columns += ("nullity", "order", "rate (predicted)", "overlap", "‖∇L‖∞")
    for name in columns:
        result.add_column(name, justify="left" if name == "kind" else "right")
    for number, visit in enumerate(visits):
        result.add_row(str(number), *_row(visit))
    return result


def _row(visit: Visit) -> list[str]:
    passage, point, verdict, left, effective = (
        visit.passage,
        visit.critical_point,
        visit.kind,
        visit.escape,
        visit.effective_width,
    )
    spectral = verdict.spectrum
    dwell = "stays" if passage.dwell is None else f"{passage.dwell:.4g}"
    if left is not None and left.dwell_predicted is not None:
        dwell += f" ({'≥ ' if left.order > 2 else ''}{left.dwell_predicted:.4g})"
    found = point.converged
    rate = "–"
    if left is not None:
        measured = "?" if left.rate_measured is None else f"{left.rate_measured:.4g}"
        rate = f"{measured} ({left.rate_predicted:.4g})"
    return [
        f"{passage.time:.4g}",
        f"{passage.arrival:.4g}",
        dwell,
        f"{point.loss:.8g}" if found else f"{visit.loss:.4g} (flow)",
        "–" if effective is None else f"{effective.width}{'' if effective.clear else '?'}",
        "–" if effective is None else effective.embedding,
        verdict.name,
        "–" if spectral is None else str(spectral.index),
        "–" if spectral is None else str(spectral.nullity),
        "–" if verdict.order is None else str(verdict.order),
        rate,
        "–" if left is None else f"{left.overlap:.5f}",
        f"{point.gradient_norm:.0e}",
    ]
