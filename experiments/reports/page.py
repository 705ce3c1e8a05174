"""The page of a report: one HTML file that holds its charts, their data, and the JavaScript that draws them."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any, NamedTuple

from .style import STYLE

# All of the page's own JavaScript. Vega-Lite draws; the slider and the buttons set the number of the state.
SCRIPT = """
const page = JSON.parse(document.getElementById("page").textContent);
const slider = document.getElementById("frame"), said = document.getElementById("said"), views = [];
const show = () => {
  said.textContent = slider.ariaValueText = page.said[slider.value];
  return Promise.all(views.map(view => view.signal("frame", +slider.value).runAsync()));
};
const options = {renderer: "svg", actions: false, ast: true, defaultStyle: false, mode: "vega-lite"};
const drawn = Object.entries(page.charts).map(([id, chart]) =>
  vegaEmbed("#" + id, chart, options).then(made => views.push(made.view)));
Promise.all(drawn).then(show).then(() => { document.body.dataset.drawn = views.length; });
slider.addEventListener("input", show);
for (const button of document.querySelectorAll("[data-frame]"))
  button.addEventListener("click", () => { slider.value = button.dataset.frame; show(); });
let playing = 0;
document.getElementById("play").addEventListener("click", () => {
  if (slider.value === slider.max) slider.value = 0;
  playing = playing ? clearInterval(playing) : setInterval(() => {
    slider.stepUp();
    show();
    if (slider.value === slider.max) playing = clearInterval(playing);
  }, 120);
});
"""


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        heading: of the part.
        html: what stands in it, escaped already.
        charts: specifications of Vega-Lite below that.
        class_name: how the charts are laid out: "wide" or "square".
    """

    heading: str
    html: str = ""
    charts: Sequence[Mapping[str, Any]] = ()
    class_name: str = "wide"


def page(
    title: str,
    sections: Iterable[Section],
    *,
    said: Sequence[str],
    buttons: Iterable[tuple[str, int]],
    control: str = "time",
) -> str:
    """The whole page. It asks nothing of any server, and a browser refuses to let it.

    Args:
        title: of the page, as plain text.
        sections: its parts.
        said: what is said of each state that the slider can choose.
        buttons: names and numbers of states to which there is a button.
        control: what the slider chooses.

    Returns:
        HTML.
    """
    script, sections = bundle(), list(sections)
    charts = {f"chart-{k}-{n}": chart for k, each in enumerate(sections) for n, chart in enumerate(each.charts)}
    parts = "".join(_section(number, section) for number, section in enumerate(sections))
    stops = "".join(f'<button type="button" data-frame="{frame}">{escape(name)}</button>' for name, frame in buttons)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{_themes()}</header>
<main>
<div class="slider">
<label for="frame">{escape(control)}</label>
<input type="range" id="frame" min="0" max="{len(said) - 1}" value="0" step="1">
<output id="said" for="frame">{escape(said[0])}</output>
<div class="stops"><button type="button" id="play">play / pause</button>{stops}</div>
</div>
{parts}
</main>
<script type="application/json" id="page">{_json({"charts": charts, "said": said})}</script>
<script>{script}</script>
</body>
</html>
"""


@cache
def bundle() -> str:
    """Vega-Lite, what it needs, and the page's own lines, as one script."""
    import vl_convert
    from altair import SCHEMA_VERSION

    version = SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]
    # A script ends at the first of these words, also within a string.
    return vl_convert.javascript_bundle(SCRIPT, version).replace("</script", "<\\/script")


def _json(value: Any) -> str:
    """JSON in which no text can end the script element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _section(number: int, section: Section) -> str:
    figures = "".join(
        f'<figure><figcaption>{escape(chart["description"])}</figcaption><div id="chart-{number}-{n}"></div></figure>'
        for n, chart in enumerate(section.charts)
    )
    charts = f'<div class="{section.class_name}">{figures}</div>' if figures else ""
    return f"<section><h2>{escape(section.heading)}</h2>{section.html}{charts}</section>"


def _themes() -> str:
    """Which theme to show; the style sheet looks at what is chosen."""
    names = ("system", "light", "dark")
    choices = (
        f'<label><input type="radio" name="theme" id="{name}"{" checked" if name == "system" else ""}>{name}</label>'
        for name in names
    )
    return f'<fieldset class="themes"><legend>theme</legend>{"".join(choices)}</fieldset>'
