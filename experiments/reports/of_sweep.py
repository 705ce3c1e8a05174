"""The report of a sweep: its slider goes through the configurations, whose flows stand out among all others."""

import itertools
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...analysis.tables import html_table
from .cards import facts
from .installed import needed
from .report import Report

if TYPE_CHECKING:
    from xarray import Dataset

    from .page import Section

# Points of all charts together; beyond, some seeds are left out, and the page says so.
MOST = 12_000


class Cell(NamedTuple):
    """The flows of one configuration.

    Attributes:
        settings: what varies, by name.
        flows: with the dimensions `seed` and `visit`; seeds without a flow are left out.
    """

    settings: dict[str, Any]
    flows: "Dataset"

    @property
    def name(self) -> str:
        """The settings in words."""
        return ", ".join(f"{name} {_told(value)}" for name, value in self.settings.items()) or "all flows"


def cells_of(dataset: "Dataset") -> tuple[Cell, ...]:
    """The configurations of a collected sweep that have flows.

    Args:
        dataset: by `collect`.

    Returns:
        One cell for each, in the order of the settings.
    """
    axes = [str(name) for name in dataset["visits"].dims if name != "seed"]
    found: list[Cell] = []
    for places in itertools.product(*(range(dataset.sizes[axis]) for axis in axes)):
        flows = dataset.isel(dict(zip(axes, places, strict=True)))
        flows = flows.isel(seed=np.flatnonzero(flows["result"].values != ""))
        if flows.sizes["seed"]:
            settings = {axis: dataset[axis].values[place] for axis, place in zip(axes, places, strict=True)}
            found.append(Cell(settings, flows))
    return tuple(found)


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
    page = needed()
    cells = cells_of(dataset)
    if not cells:
        raise ValueError("the sweep holds no flow.")
    sections = [*_charts(cells), _table(cells), _facts(dataset)]
    said = [f"{cell.name}: {cell.flows.sizes['seed']} flows" for cell in cells]
    buttons = [("first", 0), ("last", len(cells) - 1)]
    return Report(title=title, html=page(title, sections, said=said, buttons=buttons, control="configuration"))


def _charts(cells: tuple[Cell, ...]) -> "list[Section]":
    from . import sweep_charts
    from .page import Section

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
    note = "" if every == 1 else f"<p>The clouds of points hold every {every}th seed; tables and bars hold all.</p>"
    return [Section("Visits of all flows", note, [chart.specification() for chart in charts])]


def _table(cells: tuple[Cell, ...]) -> "Section":
    """A row for each configuration."""
    from .page import Section

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
        told = f"{path or '–'} ({times})"
        lines.append([cell.name, *counts, f"{np.min(visits)} to {np.max(visits)}", middle, told])
    return Section("Configurations", f'<div class="scroll">{html_table(columns, lines)}</div>')


def _facts(dataset: "Dataset") -> "Section":
    """What holds for all flows."""
    from .page import Section

    same = {str(name): array.values for name, array in dataset.coords.items() if array.ndim == 0}
    told = {**{name: _told(value[()]) for name, value in same.items()}, **dataset.attrs}
    told |= {f"values of {name}": ", ".join(map(_told, dataset[name].values)) for name in dataset["visits"].dims[:-1]}
    text = facts((str(name), str(value)) for name, value in told.items())
    return Section("Configuration and versions", text or escape("nothing is known"))


def _told(value: Any) -> str:
    """A setting in words."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
