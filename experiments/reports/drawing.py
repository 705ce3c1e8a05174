"""How the charts of a report are drawn with Altair: colours, scales, and data in short numbers."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from jaxtyping import Float, Shaped

from ...analysis.figures.style import COLOURS

# The page's own text colour, so that one chart serves a dark and a light page.
INK = "currentColor"
# Negative, zero, positive: blue and orange are told apart with any colour vision.
LOW, PALE, HIGH = "#3b7dc4", "#f2f2f2", "#e0792b"
HEIGHT, SQUARE = 190, 270
# Digits that a picture can show, and the labels of axes.
DIGITS, SHORT = 4, ".4~g"

Rows = list[dict[str, Any]]


class Chart(NamedTuple):
    """A chart with the data that its layers name.

    Attributes:
        title: its heading.
        picture: the Altair chart.
        rows: data sets by name.
    """

    title: str
    picture: Any
    rows: dict[str, Rows]

    def specification(self) -> dict[str, Any]:
        """The Vega-Lite specification with its data."""
        whole = self.picture.add_params(FRAME).configure(**CONFIGURATION).properties(background="transparent")
        return {**whole.to_dict(), "description": self.title, "datasets": self.rows}


# The number of the state that the page's slider has chosen.
FRAME = alt.param(name="frame", value=0)
NOW = "datum.frame == frame"
_TEXT: dict[str, Any] = {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "labelFontSize": 11}
_LINES: dict[str, Any] = {
    "gridColor": INK,
    "gridOpacity": 0.1,
    "domainColor": INK,
    "domainOpacity": 0.4,
    "tickColor": INK,
}
CONFIGURATION: dict[str, Any] = {
    "view": {"stroke": None},
    "font": "system-ui, sans-serif",
    "axis": {**_TEXT, **_LINES, "tickOpacity": 0.4, "tickCount": 5, "labelOverlap": True},
    "legend": {**_TEXT, "orient": "top", "title": None, "labelLimit": 140, "columns": 2, "symbolOpacity": 1},
    "header": {"labelColor": INK},
    "range": {"category": list(COLOURS[:6])},
}


def named(name: str) -> Any:
    """The data set of that name."""
    return alt.NamedData(name)


def numbers(array: Shaped[Any, "..."]) -> Any:
    """An array as nested lists of short numbers, `None` where it is not finite."""
    values = np.asarray(array)
    if values.ndim:
        return [numbers(each) for each in values]
    value = float(values)
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def rounded(array: Float[Any, "..."]) -> Any:
    """An array for a linear axis: nested lists of numbers rounded to a ten-thousandth of the largest."""
    largest = float(np.max(np.abs(array), initial=0.0))
    decimals = DIGITS - int(np.floor(np.log10(largest))) if largest > 0 else 0
    # Zero is added since there is no picture of a negative one.
    return (np.round(array, decimals) + 0.0).tolist()


def exact(values: Iterable[float]) -> list[float | None]:
    """Numbers in full, as times are, that are compared with each other."""
    return [float(f"{value:.9g}") if np.isfinite(value) else None for value in values]


def limit(array: Float[Any, "..."]) -> float:
    """Half the side of a square that holds all numbers."""
    return numbers(1.08 * max(float(np.max(np.abs(array), initial=0.0)), 1e-12))


def time_axis(logarithmic: bool) -> Any:
    """The time of a flow, along x."""
    scale = alt.Scale(type="log", nice=False) if logarithmic else alt.Scale(nice=False)
    return alt.X("t:Q").title("time t").scale(scale).axis(alt.Axis(format=SHORT))


def value_axis(title: str | None, *, decades: bool, **scale: Any) -> Any:
    """The value of a curve, along y."""
    more: dict[str, Any] = {"type": "log"} if decades else {"zero": False}
    return alt.Y("value:Q").title(title).scale(**{**more, **scale}).axis(alt.Axis(format=".2~g" if decades else SHORT))


def visit_colour(numbers: Sequence[int]) -> Any:
    """The colour of each visit, as in all figures."""
    shades = [COLOURS[number % len(COLOURS)] for number in numbers]
    return alt.Color("visit:N").scale(alt.Scale(domain=list(numbers), range=shades)).legend(None)
