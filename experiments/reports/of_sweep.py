"""The report of a sweep: its slider goes through the configurations, whose flows stand out among all others."""

import json
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ...analysis.tables import html_table
from .cards import facts
from .page import Section, check_installed, page
from .report import Report
from .sweep_cells import Cell, cells_of, told

if TYPE_CHECKING:
    from xarray import Dataset


# Points of all charts together; beyond, some seeds are left out, and the page says so.
MOST = 12_000


def report_sweep(dataset: "Dataset", *, title: str = "Sweep") -> Report:
    """What the flows of a sweep did, on one page.

    Args:
        dataset: by `collect`.
        title: heading of the page.

    Returns:
        The report.

    Raises:
        ValueError: when Altair or vl-convert is not installed, and for a sweep without a single flow.
    """
    check_installed()
    cells = cells_of(dataset)
    if not cells:
        raise ValueError("the sweep holds no flow.")
    sections = [*_charts(cells), _table(cells), _facts(dataset)]
    said = [f"{cell.name}: {cell.flows.sizes['seed']} flows" for cell in cells]
    buttons = [("first", 0), ("last", len(cells) - 1)]
    return Report(title=title, html=page(title, sections, said=said, buttons=buttons, control="configuration"))


def _charts(cells: tuple[Cell, ...]) -> list[Section]:
    from . import sweep_charts

    flows = sum(cell.flows.sizes["seed"] for cell in cells)
    visits = max(cell.flows.sizes["visit"] for cell in cells)
    kept = min(flows, max(MOST // (visits or 1), len(cells)))
    every = -(-flows // kept)
    rows = sweep_charts.rows_of(cells, every)
    charts = [
        sweep_charts.losses_chart(rows),
        *sweep_charts.scatter_charts(rows),
        *sweep_charts.axis_charts(cells, rows),
        *sweep_charts.count_charts(cells),
    ]
    note = "" if every == 1 else f"<p>The clouds of points hold one seed of {every}; tables and bars hold all.</p>"
    return [Section("Visits of all flows", note, [chart.specification() for chart in charts])]


def _table(cells: tuple[Cell, ...]) -> Section:
    """A row for each configuration."""
    columns = ("configuration", "flows", "failed", "cut off", "visits", "final loss (median)", "commonest path")
    lines: list[list[str]] = []
    for cell in cells:
        flows = cell.flows
        paths = Counter(
            " → ".join(str(width) for width in row[row >= 0]) for row in np.asarray(flows["effective_width"].values)
        )
        (path, times), *_ = paths.most_common(1)
        visits = np.asarray(flows["visits"].values)
        counts = [
            str(flows.sizes["seed"]),
            str(np.sum(flows["failure"].values != "")),
            str(np.sum(flows["censored"].values)),
        ]
        final = np.asarray(flows["loss_final"].values, float)
        middle = f"{np.nanmedian(final):.4g}" if np.any(np.isfinite(final)) else "–"
        commonest = f"{path or '–'} ({times})"
        fewest, most = np.min(visits), np.max(visits)
        lines.append([cell.name, *counts, f"{fewest}" if fewest == most else f"{fewest} to {most}", middle, commonest])
    return Section("Configurations", f'<div class="scroll">{html_table(columns, lines)}</div>')


def _facts(dataset: "Dataset") -> Section:
    """What holds for all flows."""
    same = {str(name): array.values for name, array in dataset.coords.items() if array.ndim == 0}
    known = {**{name: told(value[()]) for name, value in same.items()}, **dataset.attrs}
    known |= {f"values of {name}": ", ".join(map(told, dataset[name].values)) for name in dataset["visits"].dims[:-1]}
    known["versions"] = _versions(str(known.get("versions", "")))
    text = facts((str(name), str(value)) for name, value in known.items() if value != "")
    return Section("Configuration and versions", text or escape("nothing is known"))


def _versions(made_with: str) -> str:
    """The versions in words, several where cells differ; as they stand where they are not what a sweep writes."""
    try:
        each = [json.loads(one) for one in made_with.split(" | ")]
        return " | ".join(", ".join(f"{name} {version}" for name, version in one.items()) for one in each)
    except (ValueError, AttributeError):
        return made_with
