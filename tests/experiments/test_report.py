"""The report of a small flow: what its charts hold is the flow's own, and no text of a user's is anything but text."""

import json
import re
import sys

import jax
import numpy as np
import pytest
from saddlescope.analysis import itinerary, saddle_graph
from saddlescope.analysis.curvature.spectrum import hessian
from saddlescope.analysis.figures.frames import frames
from saddlescope.experiments import experiment, report
from saddlescope.experiments.reports.page import Section, bundle, page
from saddlescope.flows import simulate
from saddlescope.models import incoming

EVIL = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def made():
    setup = experiment("relu").setup(0, width=4, t1=30.0)
    flow = simulate(setup.model, setup.loss, setup.data, t1=setup.t1)
    visits = itinerary(flow)
    graph = saddle_graph(flow.landscape, visits[0].critical_point.theta, visits=visits)
    made = report(flow, visits, title=EVIL, levels=(1.0, 0.5, 0.0), graph=graph, settings={EVIL: EVIL})
    return flow, visits, made.html


def charts(html):
    """The charts by title, from the page."""
    held = json.loads(re.search(r'id="page">(.*?)</script>', html, flags=re.DOTALL)[1])
    return {chart["description"]: chart for chart in held["charts"].values()}, held["said"]


def rows(html, title, data):
    return charts(html)[0][title]["datasets"][data]


def test_the_charts_hold_the_flows_own_states(made):
    flow, visits, html = made
    chosen = frames(flow, visits)
    number = chosen.number(visits[1].time)
    assert chosen.indices[number] == visits[1].passage.index
    model = flow.model_at_index(visits[1].passage.index)
    units = rows(html, "Incoming weights of units", "units")[number]
    # Numbers for pictures are rounded to a ten-thousandth of the largest.
    np.testing.assert_allclose(np.stack([units["x"], units["y"]], axis=1), incoming(model), atol=2e-4)
    values = np.linalg.eigvalsh(hessian(flow.landscape, flow.thetas[visits[1].passage.index]))
    np.testing.assert_allclose(rows(html, "Hessian spectrum", "spectrum")[number]["value"], values, atol=2e-3)
    data = rows(html, "Input–output map", "data")
    x, y = flow.data
    np.testing.assert_allclose([[row["x"], row["y"], row["z"]] for row in data], np.hstack([x, y]), rtol=1e-3)


def test_the_map_is_what_the_network_computes_in_each_cell(made):
    flow, visits, html = made
    values = rows(html, "Input–output map", "map")[-1]["z"]
    chart = charts(html)[0]["Input–output map"]
    x = np.asarray(flow.data[0])
    more = 0.1 * np.ptp(x, axis=0)
    side = round(len(values) ** 0.5)
    sides = [np.linspace(low, high, side) for low, high in zip(x.min(0) - more, x.max(0) + more, strict=True)]
    points = np.array([[first, second] for first in sides[0] for second in sides[1]])
    np.testing.assert_allclose(values, np.ravel(jax.vmap(flow.final_model)(points)), atol=5e-4)
    # The cell that the page draws around the first of these points begins half a cell before it.
    steps = {step["as"]: step["calculate"] for step in chart["layer"][0]["transform"] if "calculate" in step}
    first = eval(steps["x"].replace("floor", "int").replace("datum.number", "1"))
    assert first == pytest.approx(sides[0][0] - (sides[0][1] - sides[0][0]) / 2, rel=1e-4)


def test_arrays_are_called_by_what_they_hold(made):
    names = {row["name"] for row in rows(made[2], "Frobenius norm", "curves")}
    assert names == {"Incoming weights of units", "Outgoing weights of units"}
    assert "parameters[" not in made[2]


def test_losses_distances_and_nodes_are_those_of_the_analysis(made):
    flow, visits, html = made
    stops = rows(html, "Loss", "stops")
    np.testing.assert_allclose([row["value"] for row in stops], [visit.loss for visit in visits], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose([row["t"] for row in stops], [visit.time for visit in visits])
    assert [row["level"] for row in rows(html, "Loss, in decades", "levels")] == [1.0, 0.5]
    nodes = rows(html, "Saddle graph", "nodes")
    assert {1.0, 0.5, 0.0} <= {round(node["y"], 3) for node in nodes}
    path = [edge for edge in rows(html, "Saddle graph", "edges") if edge["taken"]]
    # Downhill, each step from where the one before has ended.
    assert len(path) == len(visits) - 1 and all(edge["y"] > edge["y2"] for edge in path)


def test_text_is_only_text(made):
    html = made[2]
    # The page's own two scripts, and no element that a user's text could have opened.
    assert len(re.findall(r"<script", html)) - len(re.findall(r"<script", page("", [], said=[""], buttons=[]))) == 0
    assert "<img" not in html.split("<script>")[0]
    assert html.count("&lt;script&gt;document.title") >= 3


def test_the_page_asks_for_nothing_and_is_small(made):
    html = made[2]
    assert "default-src 'none'" in html and len(html.encode()) < 2e6
    shell = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r'(src|href)="?(https?:|//)', shell) and "@import" not in shell and "url(" not in shell


def test_cards_tell_what_was_measured_and_predicted(made):
    _, visits, html = made
    for visit in visits:
        assert visit.kind.evidence.replace("'", "&#x27;").replace(">", "&gt;") in html
    told = lambda number: "—" if number is None else f"{number:.5g}"  # noqa: E731
    for escaped in [visit.escape for visit in visits if visit.escape is not None]:
        assert f"<td>{told(escaped.rate_measured)}</td><td>{told(escaped.rate_predicted)}</td>" in html


def test_a_section_without_charts_and_json_that_holds_markup():
    chart = {"description": EVIL, "mark": "point"}
    html = page("t", [Section("h", charts=[chart]), Section("no charts")], said=["a <b>"], buttons=[("b & c", 0)])
    assert "<b>" not in html.replace("<body>", "") and "b &amp; c" in html
    assert json.loads(re.search(r'id="page">(.*?)</script>', html, flags=re.DOTALL)[1])["said"] == ["a <b>"]


def test_what_is_missing_is_said(made, monkeypatch):
    bundle.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ValueError, match=r"saddlescope\[report\]"):
        report(made[0], made[1])


def test_frames_are_saved_states_that_hold_all_visits(made):
    flow, visits, _ = made
    chosen = frames(flow, visits, count=30)
    assert chosen.indices[0] == 0 and chosen.indices[-1] == len(flow.ts) - 1 and np.all(np.diff(chosen.indices) > 0)
    assert {visit.passage.index for visit in visits} <= set(chosen.indices.tolist())
    # Two neighbours are one of 29 shares of the whole apart, and less than a step.
    for values in (flow.ts, flow.losses):
        steps, gaps = np.abs(np.diff(values)), np.abs(np.diff(values[chosen.indices]))
        assert np.max(gaps) <= 3 / 29 * np.sum(steps) + np.max(steps)
