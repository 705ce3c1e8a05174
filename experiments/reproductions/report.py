"""What is written of reproduced figures: figure, data and record of each, and one page that shows them all."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...catalogue import FIGURES
from ...flows.files import replacing
from ..runs.outputs import check_writable
from ..runs.record import versions
from .check import COLUMNS
from .panel import Reproduced

# The columns as records have named them since they were first written.
FIELDS = (*COLUMNS[:-1], "verdict")
# Panels per row of a figure: more cannot be read on a page.
PANELS_PER_ROW = 4

INTRODUCTION = (
    "The criteria are part of the code; what fails stays, with the reason. Those of Figures 1, 2 and of the linear "
    "panels of 3 and 6 were fixed before the first run, except the scale of 1G's population, made smaller when a seed "
    "needed it. Of Figures 4 and 5, the ReLU panels of 3 and 6, and modular addition, some scales and criteria were "
    "settled after runs of the first seeds had been seen: other seeds are their test."
)


def draw(reproduced: Reproduced) -> Any:
    """The figure, not shown and not saved."""
    import matplotlib.pyplot as plt

    count = len(reproduced.panels)
    columns = min(count, PANELS_PER_ROW)
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.4 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, reproduced.panels, strict=False):
        panel.draw(ax)
        ax.set_title(panel.title, fontsize=9, loc="left")
    return figure


def reproduction_paths(name: str, folder: Path) -> tuple[Path, ...]:
    """The files of a reproduced figure in a folder: figure (PNG), data (NPZ) and record (JSON)."""
    return tuple(folder / f"{name}.{ending}" for ending in ("png", "npz", "json"))


def writers(reproduced: Reproduced) -> tuple[Callable[[Path], None], ...]:
    """What writes each of the files of `reproduction_paths`, whole or not at all."""
    return tuple(lambda path, write=write: write(reproduced, path) for write in (_figure, _data, _record))


def write_reproduction(reproduced: Reproduced, folder: Path) -> tuple[Path, ...]:
    """Writes figure (PNG), data (NPZ) and record (JSON), each whole or not at all.

    Args:
        reproduced: the figure.
        folder: where to; made if need be.

    Returns:
        The paths of the files.
    """
    paths = reproduction_paths(reproduced.reproduction.name, folder)
    check_writable(*paths)
    for path, write in zip(paths, writers(reproduced), strict=True):
        write(path)
    return paths


def _figure(reproduced: Reproduced, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure = draw(reproduced)
    try:
        with replacing(path) as partial:
            figure.savefig(partial, format="png", dpi=100)
    finally:
        plt.close(figure)


def _data(reproduced: Reproduced, path: Path) -> None:
    arrays = {f"{panel.title}/{key}": np.asarray(x) for panel in reproduced.panels for key, x in panel.data.items()}
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def _record(reproduced: Reproduced, path: Path) -> None:
    text = json.dumps(reproduction_record(reproduced), indent=1, ensure_ascii=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def reproduction_record(reproduced: Reproduced) -> dict[str, Any]:
    """Everything that was found, as plain values for JSON."""
    item = reproduced.reproduction
    panels = [
        {
            "title": panel.title,
            "verdict": "pass" if panel.passed else "FAIL",
            "note": panel.note,
            "checks": [dict(zip(FIELDS, check.cells, strict=True)) for check in panel.checks],
        }
        for panel in reproduced.panels
    ]
    settings = {"seeds": reproduced.seeds, "quick": reproduced.quick, "seconds": round(reproduced.seconds, 1)}
    return {"name": item.name, "title": item.title, "source": item.source, **settings, "panels": panels} | {
        "versions": versions()
    }


def page_path(folder: Path) -> Path:
    """The page of a folder of reproductions, next to it."""
    return folder.parent / f"{folder.name}.md"


def write_page(folder: Path) -> Path:
    """Writes one page that shows all figures that a folder holds, with their checks.

    Args:
        folder: where `write_reproduction` has written.

    Returns:
        The path of the page, next to the folder.
    """
    files = [folder / f"{name}.json" for name in FIGURES]
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    checks = [check for record in records for panel in record["panels"] for check in panel["checks"]]
    passed = sum(check["verdict"] == "pass" for check in checks)
    quick, minutes = sum(record["quick"] for record in records), sum(record["seconds"] for record in records) / 60
    lines = [
        "# Reproductions",
        "",
        f"{len(records)} figures, {len(checks)} checks, {passed} passed. "
        f"Made by `saddlescope reproduce --out {folder}`, in {minutes:.0f} minutes; {quick} figures with `--quick`. "
        + INTRODUCTION,
        "",
        "| figure | shows | result |",
        "|---|---|---|",
    ]
    for record in records:
        failed = sum(check["verdict"] != "pass" for panel in record["panels"] for check in panel["checks"])
        result = "pass" if failed == 0 else f"{failed} failed"
        lines.append(f"| [{record['name']}](#figure-{record['name'].lower()}) | {record['title']} | {result} |")
    for record in records:
        lines += _section(record, folder.name)
    path = page_path(folder)
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _section(record: dict[str, Any], folder: str) -> list[str]:
    seeds = f"{record['seeds']} seed" + ("s" if record["seeds"] > 1 else "")
    lines = ["", f"## Figure {record['name']}", ""]
    lines += [f"{record['title']}. {record['source']}. {seeds}{', quick' if record['quick'] else ''}.", ""]
    lines += [f"![{record['title']}]({folder}/{record['name']}.png)", ""]
    lines += ["| panel | " + " | ".join(COLUMNS) + " |", "|" + (len(COLUMNS) + 1) * "---|"]
    for panel in record["panels"]:
        for check in panel["checks"]:
            cells = [panel["title"], *(check[name] for name in FIELDS)]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"- {panel['title']}: {panel['note']}" for panel in record["panels"] if panel["note"]]
    return lines + ([""] + notes if notes else [])
