"""Charts of one state of the flow at a time, which the page's slider chooses."""

from typing import Any

import altair as alt
import numpy as np
from jaxtyping import Float

from ...analysis.figures.planes import Plane
from .drawing import COLOURS, HEIGHT, HIGH, INK, LOW, NOW, PALE, SQUARE, Chart, Rows, limit, named, numbers, rounded
from .outputs import InputOutput

# Cells reach a little into the next, so that no background shows between them.
OVERLAP = 1.06
# Of the largest eigenvalue: what is nearer to zero has no colour of its own.
FLAT = 1e-3


def _shown(name: str, *lists: str) -> Any:
    """The rows of the chosen state, one for each entry of its lists, with its `number` from 1."""
    shown = alt.Chart(named(name)).transform_filter(NOW).transform_flatten(list(lists))
    return shown.transform_window(number="row_number()")


def _by_frame(**arrays: Float[np.ndarray, "F k"]) -> Rows:
    """A row for each state, with a list for each array."""
    lists = zip(*map(rounded, arrays.values()), strict=True)
    return [{"frame": k, **dict(zip(arrays, values, strict=True))} for k, values in enumerate(lists)]


def weights_chart(plane: Plane) -> Chart:
    """The units as rays from the origin of a plane."""
    side = limit(plane.points)
    rows = _by_frame(x=plane.points[..., 0], y=plane.points[..., 1])
    place: dict[str, Any] = {
        axis: kind(f"{axis}:Q").title(title).scale(domain=[-side, side], nice=False)
        for axis, kind, title in zip("xy", (alt.X, alt.Y), plane.axes, strict=True)
    }
    shown = _shown("units", "x", "y")
    origin: dict[str, Any] = {"x2": alt.datum(0), "y2": alt.datum(0)}
    layers = [
        shown.mark_rule(color=COLOURS[0], opacity=0.5).encode(**place, **origin),
        shown.mark_point(filled=True, color=COLOURS[0], size=36, opacity=0.9).encode(
            **place, tooltip=[alt.Tooltip("number:Q").title("unit"), "x:Q", "y:Q"]
        ),
    ]
    return Chart(plane.title, alt.layer(*layers).properties(width=SQUARE, height=SQUARE), {"units": rows})


def spectrum_chart(eigenvalues: Float[np.ndarray, "F n"]) -> Chart:
    """The eigenvalues of the Hessian in ascending order, negative ones marked."""
    low, high = float(np.min(eigenvalues)), float(np.max(eigenvalues))
    least = FLAT * max(abs(low), abs(high))
    colour = alt.condition(f"datum.value < {-least:.3g}", alt.value(HIGH), alt.value(LOW))
    axis = alt.Y("value:Q").title("eigenvalue λ").scale(domain=[numbers(min(low, 0.0)), numbers(max(high, 0.0) or 1.0)])
    points = _shown("spectrum", "value").mark_point(filled=True, size=22, opacity=0.9)
    points = points.encode(
        color=colour, y=axis, x=alt.X("number:Q").title("eigenvalue number"), tooltip=["number:Q", "value:Q"]
    )
    zero = alt.Chart(named("zero")).mark_rule(color=INK, opacity=0.4).encode(y="value:Q")
    rows = {"spectrum": _by_frame(value=eigenvalues), "zero": [{"value": 0}]}
    return Chart("Hessian spectrum", alt.layer(zero, points).properties(width="container", height=HEIGHT), rows)


def input_output_charts(found: InputOutput) -> list[Chart]:
    """What the network computes: a curve, a plane for each output, or outputs beside targets."""
    if found.form == "curve":
        return [_curve(found)]
    if found.form == "samples":
        return [_samples(found)]
    return [_plane(found, output) for output in range(found.outputs.shape[2])]


def _colour(outputs: int) -> Any:
    return alt.Color("output:N", sort=None).legend(None if outputs == 1 else alt.Legend())


def _by_output(inputs: Float[np.ndarray, "k o"], outputs: Float[np.ndarray, "F k o"]) -> Rows:
    """A row for each state and output."""
    x = rounded(inputs.T)
    return [
        {"frame": frame, "output": f"output {k + 1}", "x": x[k], "y": y[k]}
        for frame, y in enumerate(rounded(np.moveaxis(outputs, 2, 1)))
        for k in range(outputs.shape[2])
    ]


def _range(*arrays: Float[np.ndarray, "..."]) -> list[float]:
    low, high = min(np.min(array) for array in arrays), max(np.max(array) for array in arrays)
    more = 0.04 * ((high - low) or 1.0)
    return [numbers(low - more), numbers(high + more)]


def _curve(found: InputOutput) -> Chart:
    count = found.outputs.shape[2]
    x = np.repeat(found.x[:, None], count, axis=1)
    rows: dict[str, Rows] = {"curve": _by_output(x, found.outputs), "data": []}
    seen = [found.outputs]
    if found.samples is not None:
        inputs, targets = found.samples
        seen.append(targets[None])
        rows["data"] = [
            {"x": numbers(at[0]), "y": numbers(value), "output": f"output {k + 1}"}
            for at, target in zip(inputs, targets, strict=True)
            for k, value in enumerate(target)
        ]
    axis = alt.Y("y:Q").title("output").scale(domain=_range(*seen))
    layers = [
        alt.Chart(named("data")).mark_point(filled=True, size=28, opacity=0.6).encode(_colour(count), x="x:Q", y=axis),
        _shown("curve", "x", "y").mark_line().encode(_colour(count), x=alt.X("x:Q").title("input"), y=axis),
    ]
    return Chart("Input–output map", alt.layer(*layers).properties(width="container", height=HEIGHT), rows)


def _samples(found: InputOutput) -> Chart:
    count = found.outputs.shape[2]
    rows: dict[str, Rows] = {"samples": _by_output(found.x, found.outputs)}
    domain = _range(found.x, found.outputs)
    rows["same"] = [{"x": end, "y": end} for end in domain]
    place: dict[str, Any] = {
        "x": alt.X("x:Q").title("target").scale(domain=domain),
        "y": alt.Y("y:Q").title("output").scale(domain=domain),
    }
    layers = [
        alt.Chart(named("same")).mark_line(color=INK, opacity=0.4, strokeDash=[4, 4]).encode(**place),
        _shown("samples", "x", "y").mark_point(filled=True, size=26, opacity=0.7).encode(_colour(count), **place),
    ]
    return Chart("Outputs beside targets", alt.layer(*layers).properties(width=SQUARE, height=SQUARE), rows)


def _plane(found: InputOutput, output: int) -> Chart:
    values, data = found.outputs[..., output], _data(found, output)
    side = numbers(max([float(np.max(np.abs(values))), *(abs(row["z"]) for row in data), 1e-12]))
    shades: dict[str, Any] = {"domain": [-side, 0, side], "range": [LOW, PALE, HIGH]}
    colour = alt.Fill("z:Q").scale(**shades).legend(type="gradient", orient="bottom", gradientLength=SQUARE)
    first, second = np.unique(found.x[:, 0]), np.unique(found.x[:, 1])
    cells = _shown("map", "z")
    # The cells of the grid follow each other column by column.
    for axis, values_of_axis, place in (
        ("x", first, f"floor((datum.number - 1) / {len(second)})"),
        ("y", second, f"((datum.number - 1) % {len(second)})"),
    ):
        step = float(values_of_axis[1] - values_of_axis[0])
        start = f"{values_of_axis[0] - step / 2:.6g} + {step:.6g} * "
        cells = cells.transform_calculate(**{axis: start + place, f"{axis}2": f"{start}({place} + {OVERLAP})"})
    x = alt.X("x:Q").title("input 1").scale(nice=False, zero=False)
    y = alt.Y("y:Q").title("input 2").scale(nice=False, zero=False)
    layers = [
        cells.mark_rect().encode(colour, x, y, x2="x2:Q", y2="y2:Q"),
        alt.Chart(named("data"))
        .mark_point(filled=True, size=26, stroke="#333", strokeWidth=0.7, opacity=1, clip=True)
        .encode(colour, x, y),
    ]
    title = "Input–output map" + (f", output {output + 1}" if found.outputs.shape[2] > 1 else "")
    picture = alt.layer(*layers).properties(width=SQUARE, height=SQUARE)
    return Chart(title, picture, {"map": _by_frame(z=values), "data": data})


def _data(found: InputOutput, output: int) -> Rows:
    """The samples in the plane with their targets."""
    if found.samples is None:
        return []
    pairs = zip(*found.samples, strict=True)
    return [{"x": numbers(x[0]), "y": numbers(x[1]), "z": numbers(y[output])} for x, y in pairs]
