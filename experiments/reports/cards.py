"""What a report says of each visit, as HTML; every text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from ...analysis.visits.visit import Visit

# A measured number beside the theory's: "—" where there is none.
NONE = "—"
Facts = Iterable[tuple[str, str]]


def card(number: int, visit: Visit, levels: Sequence[float] = ()) -> str:
    """One visit: its critical point, null space, escape, theory beside measurement, and how far it is proved.

    Args:
        number: of the visit.
        visit: of an itinerary.
        levels: plateau losses predicted by theory.

    Returns:
        An `article` element.
    """
    heading = f"Visit {number}: {visit.kind.name}"
    parts = [facts(critical_point(visit)), comparison(beside_theory(visit, levels)), f"<p>{escape(_proof(visit))}</p>"]
    return f'<article class="card visit-{number % 7}"><h3>{escape(heading)}</h3>{"".join(parts)}</article>'


def facts(pairs: Facts, class_name: str = "") -> str:
    """Names and what is said of them, as a list of descriptions."""
    return (
        f'<dl class="{class_name}">'
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
        + "</dl>"
    )


def comparison(rows: Sequence[tuple[str, str, str]]) -> str:
    """A table of what was measured and predicted."""
    head = "<thead><tr><th></th><th>measured</th><th>theory</th></tr></thead>"
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for name, a, b in rows)
    return f"<table>{head}<tbody>{''.join(lines)}</tbody></table>"


def critical_point(visit: Visit) -> list[tuple[str, str]]:
    """The passage, the point and its null space."""
    passage, point, kind = visit.passage, visit.critical_point, visit.kind
    until = passage.stay if passage.departure is None else f"departure at t = {passage.departure:.5g}"
    found = f"‖∇L‖∞ = {point.gradient_norm:.0e}, at distance {point.distance:.2g} from the flow"
    missed = f"none was found on the plateau (the nearest candidate, of loss {point.loss:.6g}: {found})"
    said = [
        ("passage", f"arrival at t = {passage.arrival:.5g}, closest at t = {passage.time:.5g}, {until}"),
        ("critical point", found if point.converged else missed),
        ("index", _number(kind.index)),
        (
            "nullity",
            _number(kind.nullity) if kind.null_space is None else kind.null_space.summary.removeprefix("nullity "),
        ),
    ]
    for effective in visit.effective_widths:
        certainty = "" if effective.clear else f", unclear: gap {effective.gap:.2g}"
        said.append(
            (
                f"effective width{_layer(visit, effective.layer)}",
                f"{effective.width}, type {effective.embedding}{certainty}",
            )
        )
    return [*said, ("evidence", kind.evidence)]


def beside_theory(visit: Visit, levels: Sequence[float]) -> list[tuple[str, str, str]]:
    """Measured and predicted numbers: loss of the plateau, order, rate, direction and dwell time of the escape."""
    point, escaped = visit.critical_point, visit.escape
    nearest = min(levels, key=lambda level: abs(level - visit.loss), default=None)
    loss = f"{visit.loss:.6g} (point: {point.loss:.8g})" if point.converged else f"{visit.loss:.6g}"
    rows = [("loss", loss, NONE if nearest is None else f"nearest level {nearest:.6g}")]
    if escaped is None:
        return rows
    dwell = NONE
    if escaped.dwell_predicted is not None and escaped.dwell_error is not None:
        dwell = f"{escaped.dwell_predicted:.4g} ± {100 * escaped.dwell_error:.2g} %"
    growth = "exponential" if escaped.order == 2 else f"algebraic, order {escaped.order}"
    rows += [
        (f"escape rate ({growth})", _short(escaped.rate_measured, 5), _short(escaped.rate_predicted, 5)),
        ("overlap with the escape direction", _short(escaped.overlap, 5), "1"),
        ("dwell time", _short(visit.passage.dwell, 4), dwell),
    ]
    return rows


def _proof(visit: Visit) -> str:
    certificate = visit.kind.certificate
    proved = "numerical evidence only." if certificate is None else f"{certificate.summary}."
    if visit.escape is not None and visit.escape.seeded_by_rounding:
        proved += " The escape was seeded by rounding; its time says nothing about the flow."
    if visit.held_by_rounding:
        proved += " The flow stays by rounding, to which all unstable coordinates were lost."
    return f"How far it is proved: {proved}"


def _layer(visit: Visit, layer: int) -> str:
    return f", layer {layer + 1}" if len(visit.effective_widths) > 1 else ""


def _number(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _short(number: float | None, digits: int) -> str:
    return NONE if number is None else f"{number:.{digits}g}"
