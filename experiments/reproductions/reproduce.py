"""Reproduces figures: runs them, writes figure, data and table, and one page that shows them all."""

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...catalogue import FIGURES, select_figures
from ..runs.record import versions
from ..runs.run import check_writable
from .panel import Panel, Reproduced

if TYPE_CHECKING:
    from rich.table import Table

HEADS = ("quantity", "theory", "measured", "error", "criterion", "verdict")
# Panels per row of a figure: more cannot be read on a page.
COLUMNS = 4


def reproductions() -> tuple[str, ...]:
    """The names of all figures that can be reproduced."""
    return FIGURES


def reproduce(name: str, seeds: int | None = None, quick: bool = False) -> Reproduced:
    """Reproduces one figure.

    **Arguments:** `name`: see `reproductions()`; `seeds`: number of seeds, by default the figure's own; `quick`: fewer
    seeds and smaller sweeps.
    """
    from .reproducible import REPRODUCTIONS

    (name,) = select_figures((name,))
    item = REPRODUCTIONS[name]
    seeds = (item.quick_seeds if quick else item.seeds) if seeds is None else seeds
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1; got {seeds}.")
    start = time.monotonic()
    return Reproduced(item, item.make(seeds, quick), seeds, quick, time.monotonic() - start)


def table(reproduced: Reproduced) -> "Table":
    """All checks of a figure as a rich table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    item = reproduced.reproduction
    result = Table(box=SIMPLE_HEAD, title=f"Figure {item.name}: {item.title}", title_justify="left")
    result.add_column("panel")
    for head in HEADS:
        result.add_column(head, justify="right" if head in ("theory", "measured", "error") else "left")
    for panel in reproduced.panels:
        for row in _rows(panel):
            result.add_row(panel.title, *row)
    return result


def _rows(panel: Panel) -> list[tuple[str, ...]]:
    return [
        (
            check.quantity,
            check.theory,
            check.measured,
            "–" if check.error is None else f"{check.error:.2g}",
            check.criterion,
            "pass" if check.passed else "FAIL",
        )
        for check in panel.checks
    ]


def draw(reproduced: Reproduced) -> Any:
    """The figure, not shown and not saved."""
    import matplotlib.pyplot as plt

    count = len(reproduced.panels)
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.4 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, reproduced.panels, strict=False):
        panel.draw(ax)
        ax.set_title(panel.title, fontsize=9, loc="left")
    return figure


def write_reproduction(reproduced: Reproduced, folder: Path) -> tuple[Path, ...]:
    """Writes figure (PNG), the data behind it (NPZ) and the table (JSON), each whole or not at all; their paths."""
    import matplotlib.pyplot as plt

    check_writable(folder)
    png, npz, js = (folder / f"{reproduced.reproduction.name}.{ending}" for ending in ("png", "npz", "json"))
    figure = draw(reproduced)
    figure.savefig(png.with_suffix(".part"), format="png", dpi=100)
    plt.close(figure)
    os.replace(png.with_suffix(".part"), png)
    arrays = {f"{panel.title}/{key}": np.asarray(x) for panel in reproduced.panels for key, x in panel.data.items()}
    with open(npz.with_suffix(".part"), "wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    os.replace(npz.with_suffix(".part"), npz)
    js.with_suffix(".part").write_text(json.dumps(_record(reproduced), indent=1, ensure_ascii=False) + "\n")
    os.replace(js.with_suffix(".part"), js)
    return png, npz, js


def _record(reproduced: Reproduced) -> dict[str, Any]:
    item = reproduced.reproduction
    panels = [
        {
            "title": panel.title,
            "verdict": "pass" if panel.passed else "FAIL",
            "note": panel.note,
            "checks": [dict(zip(HEADS, row, strict=True)) for row in _rows(panel)],
        }
        for panel in reproduced.panels
    ]
    settings = {"seeds": reproduced.seeds, "quick": reproduced.quick, "seconds": round(reproduced.seconds, 1)}
    return {"name": item.name, "title": item.title, "source": item.source, **settings, "panels": panels} | {
        "versions": versions()
    }


def write_page(folder: Path) -> Path:
    """Writes one page, next to the folder, that shows all figures that the folder holds, with their verdicts."""
    files = [folder / f"{name}.json" for name in FIGURES]
    records = [json.loads(file.read_text()) for file in files if file.exists()]
    checks = [check for record in records for panel in record["panels"] for check in panel["checks"]]
    passed = sum(check["verdict"] == "pass" for check in checks)
    quick, minutes = sum(record["quick"] for record in records), sum(record["seconds"] for record in records) / 60
    lines = [
        "# Reproductions",
        "",
        f"{len(records)} figures, {len(checks)} checks, {passed} passed. "
        f"Made by `saddlescope reproduce --out {folder}`, in {minutes:.0f} minutes; {quick} figures with `--quick`. "
        "The criteria are part of the code; what fails stays, with the reason. Those of Figures 1, 2 and of the "
        "linear panels of 3 and 6 were fixed before the first run, but for the scale of 1G's population, made smaller "
        "when a seed needed it. Of Figures 4 and 5, the ReLU panels of 3 and 6, and modular addition, some scales and "
        "criteria were settled after runs of the first seeds had been seen: other seeds are their test.",
        "",
        "| figure | shows | verdict |",
        "|---|---|---|",
    ]
    for record in records:
        failed = sum(check["verdict"] != "pass" for panel in record["panels"] for check in panel["checks"])
        kind = "pass" if failed == 0 else f"{failed} failed"
        lines.append(f"| [{record['name']}](#figure-{record['name'].lower()}) | {record['title']} | {kind} |")
    for record in records:
        lines += _section(record, folder.name)
    path = folder.parent / f"{folder.name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def _section(record: dict[str, Any], folder: str) -> list[str]:
    seeds = f"{record['seeds']} seed" + ("s" if record["seeds"] > 1 else "")
    lines = ["", f"## Figure {record['name']}", ""]
    lines += [f"{record['title']}. {record['source']}. {seeds}{', quick' if record['quick'] else ''}.", ""]
    lines += [f"![{record['title']}]({folder}/{record['name']}.png)", ""]
    lines += ["| panel | " + " | ".join(HEADS) + " |", "|" + (len(HEADS) + 1) * "---|"]
    for panel in record["panels"]:
        for check in panel["checks"]:
            cells = [panel["title"], *(check[head] for head in HEADS)]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"- {panel['title']}: {panel['note']}" for panel in record["panels"] if panel["note"]]
    return lines + ([""] + notes if notes else [])
