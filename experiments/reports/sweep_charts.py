"""Charts of many flows, of which the slider's configuration stands out."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from .drawing import HEIGHT, INK, NOW, Chart, Rows, named, numbers

if TYPE_CHECKING:
    from .of_sweep import Cell

FIELDS = ("loss", "dwell", "dwell_predicted", "rate_measured", "rate_predicted")
CHOSEN: dict[str, Any] = {"opacity": alt.condition(NOW, alt.value(0.9), alt.value(0.12))}


def rows_of(cells: "tuple[Cell, ...]", every: int) -> Rows:
    """A row for each visit of every `every`th flow, with the number of its configuration."""
    rows: Rows = []
    for frame, cell in enumerate(cells):
        columns = {name: np.asarray(cell.flows[name].values)[::every] for name in FIELDS}
        counts = np.asarray(cell.flows["visits"].values)[::every]
        for seed, count in enumerate(counts):
            for visit in range(int(count)):
                values = {name: numbers(column[seed, visit]) for name, column in columns.items()}
                rows.append({"frame": frame, "visit": visit, **values})
    return rows


def _decades(field: str, title: str, kind: Any, rows: Rows) -> Any:
    """An axis of one field, in decades where all its values are positive."""
    values = [row[field] for row in rows if row.get(field) is not None]
    log = bool(values) and min(values) > 0
    return kind(f"{field}:Q").title(title).scale(type="log" if log else "linear").axis(format=".2~g")


def _colour() -> Any:
    return alt.Color("visit:N").legend(title="visit")


def losses_chart(rows: Rows) -> Chart:
    """The loss at every visit."""
    # Spread across the band of its visit by the number of the row, so that equal losses are seen as many.
    points = (
        alt.Chart(named("rows"))
        .transform_window(place="row_number()")
        .transform_calculate(spread="(datum.place * 0.618) % 1")
    )
    picture = points.mark_circle(size=18).encode(
        _colour(),
        x=alt.X("visit:N").title("visit").axis(labelAngle=0),
        xOffset=alt.XOffset("spread:Q"),
        y=alt.Y("loss:Q").title("loss at closest approach"),
        **CHOSEN,
    )
    return Chart(
        "Losses of the plateaus", picture.properties(width="container", height=HEIGHT), {"rows": _only(rows, "loss")}
    )


def _only(rows: Rows, *fields: str) -> Rows:
    """Rows of some fields alone, where all of these are known."""
    kept = ("frame", "visit", *fields)
    return [{name: row[name] for name in kept} for row in rows if all(row[name] is not None for name in fields)]


def scatter_charts(rows: Rows) -> list[Chart]:
    """Predicted dwell times and escape rates beside measured ones."""
    pairs = (
        ("Dwell times beside their predictions", "dwell_predicted", "dwell", "dwell time"),
        ("Escape rates beside their predictions", "rate_predicted", "rate_measured", "escape rate"),
    )
    charts: list[Chart] = []
    for title, x, y, name in pairs:
        shown = [row for row in _only(rows, x, y) if row[x] > 0 and row[y] > 0]
        if not shown:
            continue
        ends = [min(min(row[x], row[y]) for row in shown), max(max(row[x], row[y]) for row in shown)]
        across = _decades(x, f"{name}, predicted", alt.X, shown)
        up = _decades(y, f"{name}, measured", alt.Y, shown)
        same = alt.Chart(named("same")).mark_line(color=INK, opacity=0.4, strokeDash=[4, 4]).encode(across, up)
        points = alt.Chart(named("rows")).mark_circle(size=24).encode(_colour(), across, up, **CHOSEN)
        picture = alt.layer(same, points).properties(width="container", height=HEIGHT)
        charts.append(Chart(title, picture, {"rows": shown, "same": [{x: end, y: end} for end in ends]}))
    return charts


def axis_charts(cells: "tuple[Cell, ...]", rows: Rows) -> list[Chart]:
    """Dwell times against each setting that is a number, with the median of every visit."""
    charts: list[Chart] = []
    for name, value in cells[0].settings.items():
        if not np.issubdtype(np.asarray(value).dtype, np.number):
            continue
        values = [numbers(cell.settings[name]) for cell in cells]
        shown = [{**row, "setting": values[row["frame"]]} for row in _only(rows, "dwell") if row["dwell"] > 0]
        if not shown:
            continue
        across, up = _decades("setting", name, alt.X, shown), _decades("dwell", "dwell time", alt.Y, shown)
        data = alt.Chart(named("rows"))
        layers = [
            data.mark_circle(size=18).encode(_colour(), across, up, **CHOSEN),
            data.mark_line(strokeWidth=2).encode(_colour(), across, up.aggregate("median")),
        ]
        picture = alt.layer(*layers).properties(width="container", height=HEIGHT)
        charts.append(Chart(f"Dwell times against {name}, with medians", picture, {"rows": shown}))
    return charts


def count_charts(cells: "tuple[Cell, ...]") -> list[Chart]:
    """How often each kind and each effective width occurs at each visit of the chosen configuration."""
    charts: list[Chart] = []
    for title, field in (("Kinds at each visit", "kind"), ("Effective widths at each visit", "effective_width")):
        rows: Rows = []
        for frame, cell in enumerate(cells):
            values, counts = np.asarray(cell.flows[field].values), np.asarray(cell.flows["visits"].values)
            there = (
                (visit, str(row[visit])) for row, count in zip(values, counts, strict=True) for visit in range(count)
            )
            rows += [
                {"frame": frame, "visit": visit, "what": what, "flows": times}
                for (visit, what), times in sorted(Counter(there).items())
            ]
        names = sorted({row["what"] for row in rows})
        highest = max((cell.flows.sizes["seed"] for cell in cells), default=1)
        bars = alt.Chart(named("rows")).transform_filter(NOW).mark_bar()
        picture = bars.encode(
            alt.Color("what:N").scale(domain=names).legend(alt.Legend()),
            x=alt.X("visit:O").title("visit").scale(domain=sorted({row["visit"] for row in rows})).axis(labelAngle=0),
            y=alt.Y("flows:Q").title("flows").scale(domain=[0, highest]),
        )
        charts.append(Chart(title, picture.properties(width="container", height=HEIGHT), {"rows": rows}))
    return charts
