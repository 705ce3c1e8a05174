"""The itinerary as a table, with remarks below it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..critical_points.kind import Kind
from ..tables import new_table
from .dwell import said_share
from .escape import Escape
from .visit import Visit

if TYPE_CHECKING:
    from rich.table import Table

# Characters across the printed table: more than it needs, also with units in many layers, so that no cell is folded.
WIDTH = 400
COLUMNS = (
    *("#", "time", "arrival", "dwell (predicted)", "loss", "width", "type", "kind", "index"),
    *("nullity", "order", "rate (predicted)", "e-folds", "overlap", "‖∇L‖∞", "distance"),
)

# Kinds that say little without their evidence.
EXPLAINED = ("no critical point", "not arrived", "undetermined", "ghost", "flat channel", "saddle (left)")


def remarks(visits: Sequence[Visit]) -> list[str]:
    """Facts that no column shows: unclear widths, units recruited together, plateaus without a critical point."""
    lines = []
    for number, visit in enumerate(visits):
        before = visits[number - 1].effective_widths if number else ()
        several = len(visit.effective_widths) > 1
        for k, effective in enumerate(visit.effective_widths):
            where = f" in layer {k + 1}" if several else ""
            if not effective.clear:
                sizes = ", ".join(f"{size:.2g}" for size in effective.sizes[: effective.width + 2])
                lines.append(
                    f"Visit {number}: effective width {effective.width}{where} is unclear, gap {effective.gap:.2g} at "
                    f"threshold {effective.threshold:.2g}; the largest sizes are {sizes}."
                )
            grown = effective.width - before[k].width if before else 0
            if grown > 1:
                together = f"{grown} units{where} grew together, with no plateau between."
                lines.append(f"Visits {number - 1} to {number}: {together}")
        if visit.kind.name in EXPLAINED:
            lines.append(f"Visit {number}: {visit.kind.name}: {visit.kind.evidence}.")
        if visit.kind.zeros is not None and visit.kind.name not in EXPLAINED:
            lines.append(f"Visit {number}: {visit.kind.zeros.summary}.")
        explained, form = visit.kind.null_space, visit.kind.null_space_form
        if explained and explained.unexplained and visit.kind.name != "degenerate saddle":
            changes = f", along which {form}: no critical manifold" if form is not None and form.order else ""
            lines.append(f"Visit {number}: {explained.summary}{changes}.")
        if visit.escape is not None and visit.escape.seeded_by_rounding:
            lines.append(f"Visit {number}: the escape was seeded by rounding; its time says nothing about the flow.")
        if visit.held_by_rounding:
            lines.append(f"Visit {number}: the flow stays by rounding, to which all unstable coordinates were lost.")
    return lines


def table(visits: Sequence[Visit]) -> "Table":
    """The itinerary as a rich table."""
    result = new_table(COLUMNS, left=("kind",))
    for row in rows(visits):
        result.add_row(*row)
    return result


def rows(visits: Sequence[Visit]) -> list[list[str]]:
    """The cells of the table, one row for each visit."""
    return [[str(number), *_cells(visit)] for number, visit in enumerate(visits)]


def _cells(visit: Visit) -> list[str]:
    passage, point, kind, escape = visit.passage, visit.critical_point, visit.kind, visit.escape
    widths = [f"{effective.width}{'' if effective.clear else '?'}" for effective in visit.effective_widths]
    types = [effective.embedding for effective in visit.effective_widths]
    dwell = passage.stay if passage.dwell is None else f"{passage.dwell:.4g}"
    if escape is not None:
        dwell += f" ({_predicted_dwell(escape)})"
    # In a channel the gradient vanishes far out, and ahead of a flow that was cut short: at losses that it never had.
    found = point.converged and kind.name not in ("flat channel", "ghost", "not arrived")
    rate = "–"
    if escape is not None:
        measured = "?" if escape.rate_measured is None else f"{escape.rate_measured:.5g}"
        rate = measured if escape.rate_predicted is None else f"{measured} ({escape.rate_predicted:.5g})"
    return [
        f"{passage.time:.4g}",
        f"{passage.arrival:.4g}",
        dwell,
        f"{point.loss:.8g}" if found else f"{visit.loss:.4g} (flow)",
        ", ".join(widths) or "–",
        ", ".join(types if len(set(types)) > 1 else types[:1]) or "–",
        kind.name,
        _index(kind),
        _nullity(kind),
        "–" if kind.order is None else str(kind.order),
        rate,
        "–" if escape is None else f"{escape.e_folds:.1f}",
        "–" if escape is None or escape.overlap is None else f"{escape.overlap:.5f}",
        f"{point.gradient_norm:.0e}",
        f"{point.distance:.1e}",
    ]


def _index(kind: Kind) -> str:
    """The index, or that there are as many negative eigenvalues at least."""
    if kind.index is None and kind.negative is not None and kind.negative.index:
        return f"≥ {kind.negative.index}"
    return "–" if kind.index is None else str(kind.index)


def _nullity(kind: Kind) -> str:
    """The nullity, or that there are as many null directions at least, by symmetry."""
    if kind.nullity is None and kind.zeros is not None and kind.zeros.by_symmetry:
        return f"≥ {kind.zeros.by_symmetry}"
    return "–" if kind.nullity is None else str(kind.nullity)


def _predicted_dwell(escape: Escape) -> str:
    """The predicted dwell time with its error, a dash where no prediction holds."""
    if escape.dwell_predicted is None or escape.dwell_error is None:
        return "–"
    return f"{escape.dwell_predicted:.4g} ± {said_share(escape.dwell_error)}"
