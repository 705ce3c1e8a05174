"""A report: what a flow did, on one page that can be looked at anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx

from ...analysis import itinerary, manifold_history, theory
from ...analysis.figures.frames import Frames, frames
from ...analysis.figures.planes import planes
from ...analysis.found_units import with_units_along
from ...analysis.orbits.saddle_graph import SaddleGraph
from ...analysis.tables import html_table
from ...analysis.visits.precision import in_double_precision
from ...analysis.visits.report import COLUMNS, remarks, rows
from ...analysis.visits.visit import Visit
from ...flows import Trajectory
from ...flows.files import replacing
from ...models.description import description
from ...models.units import layers_of
from ..runs.record import versions
from .cards import card, facts
from .installed import needed
from .measures import observed, spectra
from .outputs import input_output

if TYPE_CHECKING:
    from .page import Section


class Report(eqx.Module):
    """A page about a flow.

    Attributes:
        title: its heading.
        html: the page, which needs no other file and no network.
    """

    title: str
    html: str

    def __str__(self) -> str:
        return f"report: {self.title}\n  a page of {len(self.html.encode()) / 1e6:.2f} MB"

    def save(self, path: str | Path) -> None:
        """Writes the page, whole or not at all.

        Args:
            path: the HTML file; an old one is replaced.
        """
        with replacing(path) as partial:
            partial.write_text(self.html, encoding="utf-8")


def report(
    trajectory: Trajectory,
    visits: Sequence[Visit] | None = None,
    *,
    title: str = "",
    data: Any = None,
    levels: Sequence[float] = (),
    graph: SaddleGraph | None = None,
    observables: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """What a flow did, on one page: its charts move together with a slider for time, a card tells of each visit.

    A `ValueError` says so where Altair or vl-convert is not installed, or the flow has not made a single step.

    Args:
        trajectory: a flow, by `simulate`.
        visits: its itinerary, computed if not given, which takes longer than all drawing.
        title: heading of the page, by default the name of the model.
        data: inputs and targets for the input–output map, by default those of the flow; a flow on sufficient statistics
            no longer has them.
        levels: plateau losses predicted by theory.
        graph: by `saddle_graph`; by default only the flow's own path through critical points is drawn.
        observables: further functions of the model to show, by name, as `observe` takes them.
        settings: what the flow was made with, to be told on the page.

    Returns:
        The report; `save` writes it.
    """
    page = needed()
    visits = itinerary(trajectory) if visits is None else visits
    flow = with_units_along(in_double_precision(trajectory))
    chosen = frames(flow, visits)
    told = {**(settings or {}), **versions()}
    sections = [
        _curves(chosen, visits, levels),
        *_states(chosen, visits, flow.data if data is None else data, graph, observables or {}),
        *_words(trajectory, visits, levels, told),
    ]
    method = str(trajectory.stats.get("method", "gradient flow"))
    name = title or f"{method[:1].upper()}{method[1:]} of {type(trajectory.initial_model).__name__}"
    said = [f"t = {t:.4g}, loss {loss:.4g}" for t, loss in zip(chosen.ts, flow.losses[chosen.indices], strict=True)]
    stops = [(f"visit {number}", chosen.number(visit.time)) for number, visit in enumerate(visits)]
    buttons = [("start", 0), *stops, ("end", len(said) - 1)]
    return Report(title=name, html=page(name, sections, said=said, buttons=buttons))


def _curves(chosen: Frames, visits: Sequence[Visit], levels: Sequence[float]) -> "Section":
    """Loss and speed against time."""
    from .over_time import loss_chart, speed_chart
    from .page import Section

    # A loss that is nowhere positive has no logarithm.
    axes = (False, True) if max(chosen.trajectory.losses) > 0 else (False,)
    charts = [loss_chart(chosen, visits, levels, decades=decades) for decades in axes]
    charts.append(speed_chart(chosen, visits))
    return Section("Loss and speed", charts=[chart.specification() for chart in charts])


def _states(
    chosen: Frames, visits: Sequence[Visit], data: Any, graph: SaddleGraph | None, observables: Mapping[str, Any]
) -> "Iterator[Section]":
    """Weights, input–output map, spectrum, distances, observables and the saddle graph, which the slider moves."""
    from . import at_one_time, over_time
    from .graph import graph_chart
    from .page import Section

    model = chosen.trajectory.initial_model
    squares = [at_one_time.weights_chart(plane) for plane in planes(model, chosen.thetas)]
    mapped = input_output(model, data, chosen.thetas)
    squares += [] if mapped is None else at_one_time.input_output_charts(mapped)
    if squares:
        yield Section("Units and map", charts=[chart.specification() for chart in squares], class_name="square")
    wide, eigenvalues = [], spectra(chosen)
    if eigenvalues is not None:
        wide += [at_one_time.spectrum_chart(eigenvalues), over_time.curvature_chart(chosen, eigenvalues)]
    if layers_of(model):
        wide.append(over_time.manifolds_chart(chosen, manifold_history(chosen.trajectory, visits)))
    wide += [over_time.observable_chart(chosen, values) for values in observed(chosen, observables).values()]
    yield Section("Curvature, manifolds, observables", charts=[chart.specification() for chart in wide])
    if visits:
        yield Section("Critical points", charts=[graph_chart(chosen, visits, graph).specification()])


def _words(
    trajectory: Trajectory, visits: Sequence[Visit], levels: Sequence[float], told: Mapping[str, Any]
) -> "Iterator[Section]":
    """Cards of the visits, the itinerary as a table, theory, and how the flow was made."""
    from .page import Section

    cards = "".join(card(number, visit, levels) for number, visit in enumerate(visits))
    yield Section("Visits", f'<div class="cards">{cards}</div>')
    yield Section("Itinerary", f'<div class="scroll">{html_table(COLUMNS, rows(visits), *remarks(visits))}</div>')
    predicted = theory.predictions(trajectory.landscape).applicable
    if predicted:
        yield Section(
            "What theory says of this network",
            facts(((f"{p.name} ({p.source})", p.summary) for p in predicted), "long"),
        )
    flow = f"<pre>{escape(description(trajectory.initial_model))}\n{escape(str(trajectory))}</pre>"
    yield Section("Configuration and versions", flow + facts((name, str(value)) for name, value in told.items()))
