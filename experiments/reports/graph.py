"""The chart of critical points and the connections between them."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from ...analysis.figures.frames import Frames
from ...analysis.figures.saddle_graph import has_units, node_places
from ...analysis.orbits.saddle_graph import SaddleGraph
from ...analysis.visits.visit import Visit
from .drawing import COLOURS, HIGH, INK, NOW, Chart, Rows, named, numbers

KINDS = {
    "strict saddle": COLOURS[0],
    "degenerate saddle": COLOURS[5],
    "non-smooth saddle": COLOURS[3],
    "minimum": COLOURS[2],
}
OTHER = COLOURS[6]
TALL = 300


def graph_chart(chosen: Frames, visits: Sequence[Visit], graph: SaddleGraph | None) -> Chart:
    """Nodes at their loss and effective width, edges downhill with their rates; the flow's own path is thick.

    Args:
        chosen: the states, of which a ring marks the node where the flow is.
        visits: the itinerary.
        graph: of saddles; without one only the visits and the flow's path are drawn.

    Returns:
        The chart.
    """
    nodes, edges, stops = _of_visits(visits) if graph is None else _of_graph(graph, visits)
    nodes_of_visits = [(visit, nodes[node]) for visit, node in zip(visits, stops, strict=True) if node is not None]
    here: Rows = []
    for visit, node in nodes_of_visits:
        end = float(chosen.ts[-1]) if visit.passage.departure is None else visit.passage.departure
        first, last = chosen.number(visit.passage.arrival), chosen.number(end)
        here += [{"frame": k, "x": node["x"], "y": node["y"]} for k in range(first, last + 1)]
    _captions_in_turn(nodes)
    title = "Path through critical points" if graph is None else "Saddle graph"
    wide = all(visit.effective_widths for visit in visits) if graph is None else has_units(graph)
    rows = {"nodes": nodes, "edges": edges, "here": here}
    return Chart(
        title,
        alt.layer(*_layers(nodes, "effective width" if wide else "number")).properties(width="container", height=TALL),
        rows,
    )


def _layers(rows: Rows, name: str) -> list[Any]:
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    widths = sorted({round(row["x"]) for row in rows})
    across = (
        alt.X("x:Q").title(name).axis(values=widths, format="d").scale(padding=60, nice=False, domain=_ends(rows, "x"))
    )
    up = alt.Y("y:Q").title("loss L").scale(padding=24, nice=False, domain=_ends(rows, "y"))
    shades = [KINDS.get(kind, OTHER) for kind in kinds]
    colour = alt.Color("kind:N").scale(domain=kinds, range=shades).legend(symbolOpacity=1)
    edges, nodes = alt.Chart(named("edges")), alt.Chart(named("nodes"))
    lines = edges.mark_rule().encode(
        across,
        up,
        x2="x2:Q",
        y2="y2:Q",
        strokeWidth=alt.condition("datum.taken", alt.value(3.5), alt.value(1.2)),
        color=alt.condition("datum.taken", alt.value(COLOURS[1]), alt.value(INK)),
        opacity=alt.condition("datum.taken", alt.value(0.9), alt.value(0.4)),
    )
    captions = [
        nodes.transform_filter(f"{test}datum.above")
        .mark_text(color=INK, fontSize=10, dy=dy)
        .encode(across, up, alt.Text("caption:N"))
        for test, dy in (("!", 20), ("", -20))
    ]
    return [
        lines,
        edges.mark_text(color=INK, fontSize=10, dx=16, opacity=0.8).encode(x="xm:Q", y="ym:Q", text="rate:N"),
        alt.Chart(named("here"))
        .transform_filter(NOW)
        .mark_point(size=560, color=HIGH, strokeWidth=3)
        .encode(across, up),
        nodes.mark_point(filled=True, size=260, opacity=1).encode(
            across, up, colour, tooltip=["node:N", "kind:N", "caption:N", alt.Tooltip("y:Q").title("loss")]
        ),
        nodes.mark_text(color="white", fontSize=10).encode(across, up, text="node:N"),
        *captions,
    ]


def _ends(rows: Rows, axis: str) -> list[float]:
    """The range of an axis, not empty where there is a single node."""
    low, high = min(row[axis] for row in rows), max(row[axis] for row in rows)
    return [low, high] if high > low else [low - 0.5, high + 0.5]


def _captions_in_turn(nodes: Rows) -> None:
    """Has the captions of nodes side by side stand below and above them in turn."""
    across = sorted(nodes, key=lambda node: node["x"])
    for k, node in enumerate(across):
        beside = k > 0 and round(across[k - 1]["x"]) == round(node["x"])
        node["above"] = beside and not across[k - 1]["above"]


def _caption(kind: Any) -> str:
    """Index, nullity and order, as far as they are known."""
    known = (("index", kind.index), ("nullity", kind.nullity), ("order", kind.order))
    return ", ".join(f"{name} {number}" for name, number in known if number is not None)


def _node(number: int, x: float, loss: float, kind: Any) -> dict[str, Any]:
    return {"node": number, "x": numbers(x), "y": numbers(loss), "kind": kind.name, "caption": _caption(kind)}


def _edge(source: dict[str, Any], target: dict[str, Any], rate: float | None, taken: bool) -> dict[str, Any]:
    # The rate stands nearer to the saddle that is left, so that edges to one target are told apart.
    share = 0.5 if taken else 0.72
    middle = {f"{axis}m": share * source[axis] + (1 - share) * target[axis] for axis in "xy"}
    ends = {"x": source["x"], "y": source["y"], "x2": target["x"], "y2": target["y"]}
    return {**ends, **middle, "rate": "" if rate is None else f"{rate:.3g}", "taken": taken}


def _of_graph(graph: SaddleGraph, visits: Sequence[Visit]) -> tuple[Rows, Rows, tuple[int | None, ...]]:
    """Nodes, edges, and the node of every visit."""
    kinds = enumerate(zip(node_places(graph), graph.kinds, strict=True))
    nodes = [_node(number, x, loss, kind) for number, ((x, loss), kind) in kinds]
    steps = set(zip(graph.taken, graph.taken[1:], strict=False))
    found = {(edge.source, edge.target): edge.rate for edge in graph.connections}
    # A flow of finite initial weights may pass by a saddle that the orbit from the one before leads to.
    pairs = [*found, *(step for step in steps if step not in found and step[0] != step[1])]
    edges = [_edge(nodes[a], nodes[b], found.get((a, b)), (a, b) in steps) for a, b in pairs]
    return nodes, edges, graph.path(visits)


def _of_visits(visits: Sequence[Visit]) -> tuple[Rows, Rows, tuple[int | None, ...]]:
    """The same of the visits alone; without units they stand in the order of time."""
    nodes: Rows = []
    for number, visit in enumerate(visits):
        width = number if visit.effective_width is None else sum(each.width for each in visit.effective_widths)
        loss = visit.critical_point.loss if visit.critical_point.converged else visit.loss
        nodes.append(_node(number, width, loss, visit.kind))
    rates = [None if visit.escape is None else visit.escape.rate_measured for visit in visits]
    edges = [_edge(nodes[k], nodes[k + 1], rates[k], True) for k in range(len(nodes) - 1)]
    return nodes, edges, tuple(range(len(visits)))
