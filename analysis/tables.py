"""Tables as plain text. rich, which draws them, is imported when the first one is printed."""

import io
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def new_table(columns: Sequence[str], *, left: Collection[str] = ()) -> "Table":
    """An empty rich table in the style of all of ours.

    **Arguments:** `columns`: their heads; `left`: those that are flush left, the others being numbers flush right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right")
    return table


def plain_text(table: "Table", *remarks: Any, width: int) -> str:
    """A table and the remarks below it without colours or trailing blanks.

    **Arguments:** `table`; `remarks`: one paragraph each, not wrapped; `width`: columns that the table may take.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=False)
    console.print(table)
    for remark in remarks:
        console.print(remark, soft_wrap=True)
    return re.sub(r" +\n", "\n", text.getvalue())
