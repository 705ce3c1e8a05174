"""Charts of curves over time, with a mark that moves along them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
from jaxtyping import Float

from ...analysis.figures.arrays import array_titles
from ...analysis.figures.frames import Frames
from ...analysis.figures.observables import DECADES, entry_names
from ...analysis.invariant_manifolds.history import ManifoldHistory
from ...analysis.visits.visit import Visit
from .drawing import COLOURS, HEIGHT, INK, NOW, Chart, Rows, exact, named, numbers, time_axis, value_axis, visit_colour

if TYPE_CHECKING:
    from xarray import DataArray

# Points of one curve; a screen has no more.
POINTS = 700
# The longest name, in letters, that two columns of a legend have room for; and the width of one column, in pixels.
SHORT, COLUMN = 20, 300
# A model whose units were found in its program stands in a record of this name.
FOUND = "model."


def loss_chart(chosen: Frames, visits: Sequence[Visit], levels: Sequence[float], *, decades: bool) -> Chart:
    """The loss with its visits and the predicted plateaus, on a linear axis or in decades, for every depth."""
    losses, title = chosen.trajectory.losses, "Loss"
    scale: dict[str, Any] = {"zero": True}
    if decades:
        # Below there is only rounding, which would press the plateaus together.
        shown = np.maximum(losses, np.finfo(float).eps * np.max(np.abs(losses)))
        title, scale = (
            "Loss, in decades",
            {"clamp": True, "nice": False, "domain": numbers([np.min(shown), np.max(shown)])},
        )
    axis = value_axis("loss L", decades=decades, **scale)
    return _curve(title, chosen, losses, axis, visits, [level for level in levels if level > 0 or not decades])


def speed_chart(chosen: Frames, visits: Sequence[Visit]) -> Chart:
    """The speed in decades, with the visits at its minima."""
    speeds = chosen.trajectory.speeds
    return _curve("Speed", chosen, speeds, value_axis("speed ‖∇L‖", decades=bool(np.any(speeds > 0))), visits, ())


def _curve(
    title: str,
    chosen: Frames,
    values: Float[np.ndarray, " T"],
    axis: Any,
    visits: Sequence[Visit],
    levels: Sequence[float],
) -> Chart:
    """One curve with visits as dots and as bars from arrival to departure, lines across, and the mark of the frame."""
    ts = chosen.trajectory.ts
    kept = np.unique(np.concatenate([np.linspace(0, len(ts) - 1, min(POINTS, len(ts))).astype(int), chosen.indices]))
    rows: dict[str, Rows] = {
        "curve": _points(chosen, ts[kept], values[kept]),
        "now": [{"frame": k, **row} for k, row in enumerate(_points(chosen, chosen.ts, values[chosen.indices]))],
        "stops": _stops(chosen, values, visits),
        **({"levels": [{"level": numbers(level)} for level in levels]} if levels else {}),
    }
    curve, stops = alt.Chart(named("curve")), alt.Chart(named("stops"))
    colour, tooltip = visit_colour(range(len(visits))), ["visit:N", "kind:N", "t:Q", "value:Q"]
    lines = alt.Chart(named("levels")).mark_rule(strokeDash=[4, 4], color=INK, opacity=0.5).encode(y="level:Q")
    layers = [
        *([lines] if levels else []),
        stops.mark_rule(strokeWidth=7, opacity=0.4).encode(colour, x="start:Q", x2="end:Q", y="value:Q"),
        curve.mark_line(color=INK, strokeWidth=1.6).encode(time_axis(chosen.logarithmic), axis),
        stops.mark_point(filled=True, size=70, opacity=1).encode(colour, x="t:Q", y="value:Q", tooltip=tooltip),
        *_cursor(),
    ]
    return Chart(title, alt.layer(*layers).properties(width="container", height=HEIGHT), rows)


def _points(chosen: Frames, ts: Float[np.ndarray, " k"], values: Float[np.ndarray, " k"]) -> Rows:
    return [{"t": t, "value": value} for t, value in zip(exact(chosen.clock(ts)), numbers(values), strict=True)]


def _stops(chosen: Frames, values: Float[np.ndarray, " T"], visits: Sequence[Visit]) -> Rows:
    """The visits' times, and the curve's values at closest approach."""
    ts, rows = chosen.trajectory.ts, []
    for number, visit in enumerate(visits):
        end = ts[-1] if visit.passage.departure is None else visit.passage.departure
        times = chosen.clock(np.array([visit.time, visit.passage.arrival, end]))
        told = {"visit": number, "kind": visit.kind.name, "value": numbers(values[visit.passage.index])}
        rows.append({**told, **dict(zip(("t", "start", "end"), exact(times), strict=True))})
    return rows


def _cursor() -> list[Any]:
    """A line and a dot at the state that the slider has chosen."""
    now = alt.Chart(named("now")).transform_filter(NOW)
    return [
        now.mark_rule(color=INK, opacity=0.6).encode(x="t:Q"),
        now.mark_point(filled=True, color=INK, size=60, opacity=1).encode(x="t:Q", y="value:Q"),
    ]


def curves_chart(
    title: str, chosen: Frames, names: Sequence[str], values: Float[np.ndarray, "F c"], unit: str | None
) -> Chart:
    """Several curves at the chosen states, in decades where they are positive and span more than two."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    decades = bool(positive.size and np.min(finite) >= 0 and np.max(positive) > DECADES * np.min(positive))
    shown = np.where(values > 0, values, np.nan) if decades else values
    rows = [
        {"name": name, **row}
        for name, curve in zip(names, shown.T, strict=True)
        for row in _points(chosen, chosen.ts, curve)
    ]
    now = [{"frame": k, "t": t} for k, t in enumerate(exact(chosen.clock(chosen.ts)))]
    # Of more curves than there are colours the order tells which is which.
    scheme = alt.Scale(scheme="viridis") if len(names) > len(COLOURS) - 1 else alt.Scale()
    # Two columns of a legend have room for short names.
    legend = alt.Legend(columns=1, labelLimit=COLUMN) if max(map(len, names), default=0) > SHORT else alt.Legend()
    colour = alt.Color("name:N", sort=None, scale=scheme).legend(None if len(names) == 1 else legend)
    lines = alt.Chart(named("curves")).mark_line(strokeWidth=1.6)
    lines = lines.encode(colour, time_axis(chosen.logarithmic), value_axis(unit, decades=decades))
    layers = [lines.encode(tooltip=["name:N", "t:Q", "value:Q"]), _cursor()[0]]
    return Chart(title, alt.layer(*layers).properties(width="container", height=HEIGHT), {"curves": rows, "now": now})


def manifolds_chart(chosen: Frames, history: ManifoldHistory) -> Chart:
    """Distances from the invariant manifold of each effective width."""
    # On the manifold itself the distance is zero or rounding, which a logarithm cannot show.
    least = np.finfo(float).eps * np.max(history.distances, initial=0.0)
    distances = np.where(history.distances > least, history.distances, 0.0)
    at = np.clip(np.searchsorted(history.times, chosen.ts), 0, len(history.times) - 1)
    names = [f"width {width}" for width in history.widths]
    return curves_chart("Distance from the manifold of each effective width", chosen, names, distances[at], "distance")


def observable_chart(chosen: Frames, values: "DataArray") -> Chart:
    """One observable, with a curve for each entry."""
    title = str(values.attrs.get("long_name", values.name))
    curves = np.asarray(values.values, float).reshape(len(values), -1)
    unit = str(values.attrs.get("units", "1"))
    titles = array_titles(chosen.trajectory.initial_model)
    names = [titles.get(name, name.removeprefix(FOUND)) for name in entry_names(values)]
    named_so = None if unit == "1" else unit
    return curves_chart(title[:1].upper() + title[1:], chosen, names, curves, named_so)


def curvature_chart(chosen: Frames, eigenvalues: Float[np.ndarray, "F n"]) -> Chart:
    """The lowest and the highest eigenvalue of the Hessian."""
    ends = eigenvalues[:, [0, -1]]
    return curves_chart("Lowest and highest curvature", chosen, ["lowest", "highest"], ends, "eigenvalue λ")
