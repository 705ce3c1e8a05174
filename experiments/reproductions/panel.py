"""What a reproduced figure consists of: panels, each with its data, its drawing, and checks against numbers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np

from ...analysis.tables import plain_text
from .check import COLUMNS, Check

if TYPE_CHECKING:
    from rich.table import Table

# Columns of text that the table of a figure may take: more than any needs, so that no cell is folded.
TABLE_WIDTH = 170


class Panel(eqx.Module):
    """One panel of a figure.

    Attributes:
        title: what stands above it.
        draw: draws it on given axes.
        data: the arrays that are drawn.
        checks: its numbers.
        note: what a reader must know, above all why a check fails.
    """

    title: str
    draw: Callable[[Any], Any]
    data: dict[str, np.ndarray]
    checks: tuple[Check, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        notes = [f"  {self.note}"] if self.note else []
        return "\n".join([f"panel {self.title!r}", *(f"  {check}" for check in self.checks), *notes])


class Reproduction(eqx.Module):
    """A figure that can be reproduced.

    Attributes:
        name: its name, such as "1B".
        title: what it shows.
        source: where it is from.
        make: panels from a number of seeds and whether to be quick.
        seeds: number of seeds by default.
        quick_seeds: number of seeds by default when quick.
    """

    name: str = eqx.field(static=True)
    title: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    make: Callable[[int, bool], tuple[Panel, ...]] = eqx.field(static=True)
    seeds: int = eqx.field(static=True, default=1)
    quick_seeds: int = eqx.field(static=True, default=1)

    def __str__(self) -> str:
        return f"Figure {self.name}: {self.title}\n{self.source}; {self.seeds} seeds, {self.quick_seeds} when quick"


class Reproduced(eqx.Module):
    """A reproduced figure.

    Attributes:
        reproduction: which figure.
        panels: its panels.
        seeds: number of seeds.
        quick: whether with fewer seeds and smaller sweeps.
        seconds: how long it took.
    """

    reproduction: Reproduction
    panels: tuple[Panel, ...]
    seeds: int
    quick: bool
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every panel passed."""
        return all(panel.passed for panel in self.panels)

    def table(self) -> "Table":
        """All checks as a rich table."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        item = self.reproduction
        result = Table(box=SIMPLE_HEAD, title=f"Figure {item.name}: {item.title}", title_justify="left")
        result.add_column("panel")
        for name in COLUMNS:
            result.add_column(name, justify="right" if name in ("theory", "measured", "error") else "left")
        for panel in self.panels:
            for check in panel.checks:
                result.add_row(panel.title, *check.cells)
        return result

    def __str__(self) -> str:
        return plain_text(self.table(), width=TABLE_WIDTH)
