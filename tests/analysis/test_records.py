"""Printed records: a headline and a few lines with the numbers that matter."""

import html.parser

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import (
    Thresholds,
    classify,
    compare,
    critical_point,
    flat_channel,
    ghost,
    heteroclinic_orbit,
    itinerary,
    manifold_history,
    restricted_flow,
    saddle_graph,
    unstable_manifold,
)
from saddlescope.analysis.critical_points.kind import Kind
from saddlescope.flows import Landscape, descend, gradient_descent, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear, scaled

STRENGTHS = np.array([4.0, 2.0, 1.0])
INPUTS = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
DATA = (INPUTS, INPUTS * STRENGTHS)
MODEL = TwoLayer(Dense(linear, inputs=3, outputs=3), width=4, scale=1e-4, key=jax.random.key(0))


@pytest.fixture(scope="module")
def flow():
    return simulate(MODEL, half_squared_error, DATA, t1=15.0)


@pytest.fixture(scope="module")
def visits(flow):
    return itinerary(flow)


@pytest.fixture(scope="module")
def graph():
    return saddle_graph(Landscape(scaled(MODEL, 0.0), half_squared_error, DATA), size=2.0, max_nodes=2)


def lines(record, *contents, least=3, most=6):
    """The lines of a printed record, which are few, and say what they should."""
    text = str(record)
    found = text.splitlines()
    assert least <= len(found) <= most, text
    assert max(map(len, found)) <= 240 and "f64[" not in text
    for content in contents:
        assert content in text, f"{content!r} is not in\n{text}"
    return found


def test_kind(visits):
    kind = visits[1].kind
    first, counts, *_ = lines(kind, "negative eigenvalues", "λ from -2", "escape rate 2", "by symmetry")
    assert first == "strict saddle"
    assert counts == f"  counts: order 2, index {kind.index}, nullity {kind.nullity}"
    lines(Kind(name="no critical point", evidence="‖∇L‖∞ = 1"), "no critical point", "‖∇L‖∞ = 1")


def test_critical_point(visits):
    first, *_ = lines(visits[1].critical_point, "‖∇L‖∞", "24 parameters", "embedded from a network of width 1")
    assert first == "critical point: loss 2.5"


def test_certificate(visits):
    found = visits[-1].kind.certificate
    first, *_ = lines(found, "h = βKη", "step η", "gap 1/β", "explained by symmetries")
    assert first == "certificate: holds, with an estimated third derivative"
    assert "a critical point within" in found.summary and "\n" not in found.summary


def test_null_space(visits):
    found = visits[-1].kind.null_space
    first, *rest = lines(found, "0 unexplained")
    assert first == f"null space of dimension {found.nullity}"
    assert rest[0] == f"  {found.symmetry} along orbits of symmetries"


def test_passage_and_visit(visits):
    passage = visits[0].passage
    lines(passage, "arrival: t = 0", f"departure: t = {passage.departure:.5g}", f"dwell time {passage.dwell:.5g}")
    lines(visits[-1].passage, "stays", "never within the flow")
    first, *_ = lines(visits[1], "loss 2.5", "negative eigenvalues", "exponential, rate")
    assert "strict saddle, effective width 1" in first
    lines(visits[-1], "minimum, effective width 3", "no escape")


def test_escape(visits):
    escape = visits[1].escape
    lines(escape, "exponential", "(predicted 2)", f"{escape.overlap:.5f}", f"{escape.dwell_predicted:.5g} predicted")


def test_comparison(flow):
    found = compare(flow, descend(MODEL, half_squared_error, DATA, optimiser=gradient_descent(0.1), t1=15.0))
    lines(found, "gradient descent, step 0.1", "Farthest from the flow", "lengthened", most=10)
    plateau = found.plateaus[0]
    lines(plateau, f"{plateau.dwell:.4g}", f"ratio {plateau.ratio:.4g}", plateau.fate)


def test_manifold_records(flow, visits):
    history = manifold_history(flow, visits)
    lines(history, "effective width 0 to 4 (type iv)", "visit 1", "rank 1 → 2")
    departure = history.departures[1]
    lines(departure, "from width 1", "exponential", "rank 1 → 2", f"{departure.rate_predicted:.5g}")
    split = departure.split
    lines(split, f"normal: {split.normal.size} eigenvalues", f"λ from {split.normal[0]:.6g}", "coupling")
    restriction = restricted_flow(flow, 1, points=10)
    lines(restriction, "flow of width 1", "gap to the full flow", "loss at the end: 2.5")


@pytest.mark.slow
def test_orbits(graph):
    connection = graph.connections[0]
    first, *_ = lines(connection, "exponentially at rate 4", "arc length 2.82", "ends at a critical point")
    assert first == f"connection 0 → {connection.target}: loss 10.5 → {connection.end.loss:.6g}"
    lines(connection.escape_direction, "from a strict saddle at loss 10.5", "exponential, rate 4", "0 stronger")
    lines(heteroclinic_orbit(connection, intervals=20), "converged", "leaves at rate 4", "rad apart", "gap")
    lines(graph, "2 critical points", "strict saddle, leads to 1", "incomplete")


@pytest.mark.slow
def test_unstable_manifold(graph):
    found = unstable_manifold(graph.points[0], np.linspace(0, 1, 5), kind=graph.kinds[0], count=3)
    lines(found, "3 flows", "0 to 1, 5 of them", "from 10.5")


def test_slow_points():
    place = scaled(MODEL, 1.0)
    along = lambda model, data: jnp.exp(-model.u[0, 0]) + jnp.sum(model.u**2) - model.u[0, 0] ** 2  # noqa: E731
    lines(flat_channel(Landscape(place, along, ())), "flat channel", "speed ‖∇L‖", "loss", "channel to infinity")

    def bottleneck(model, data):
        rest = jnp.sum(model.u**2) + jnp.sum(model.v**2) - model.u[0, 0] ** 2
        return 0.1 * model.u[0, 0] + model.u[0, 0] ** 3 / 3 + rest

    lines(ghost(Landscape(place, bottleneck, ())), "ghost: speed ‖∇L‖ = 0.1", "time of passage 9.93", "nonzero minimum")


class Parser(html.parser.HTMLParser):
    """Counts tags, and checks that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.count = [], {}

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("which", ["kind", "itinerary"])
def test_notebooks_show_tables(visits, which):
    record = visits if which == "itinerary" else visits[1].kind
    parser = Parser()
    parser.feed(record._repr_html_())
    assert not parser.open and parser.count["table"] == 1
    if which == "itinerary":
        assert parser.count["tr"] == 1 + len(visits) and parser.count["th"] == 16
    assert "strict saddle" in record._repr_html_()


def test_thresholds():
    lines(Thresholds(far=7.0), "far 7", "prominence 0.5", "gradient_zero 1e-10", most=7)


def test_html_is_escaped():
    assert "<b>" not in Kind(name="undetermined", evidence="<b>")._repr_html_()


def test_a_kind_needs_no_more_than_a_name_and_evidence():
    point = critical_point(Landscape(scaled(MODEL, 0.0), half_squared_error, DATA))
    kind = classify(point)
    assert kind.certificate is not None
    bare = Kind(name=kind.name, evidence=kind.evidence)
    assert bare.certificate is None and bare.index is None and bare.unexplained_form is None
