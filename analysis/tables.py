"""Tables as plain text and as HTML. rich, which draws the former, is imported when the first one is printed."""

import html
import io
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def new_table(columns: Sequence[str], *, left: Collection[str] = ()) -> "Table":
    """An empty rich table in the style of all of ours.

    Args:
        columns: their headings.
        left: those that are flush left; the others are numbers, flush right.

    Returns:
        The table, without rows.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right")
    return table


def plain_text(table: "Table", *remarks: Any, width: int) -> str:
    """A table and the remarks below it without colours or trailing blanks.

    Args:
        table: from `new_table`, with its rows.
        remarks: one paragraph each, not wrapped.
        width: columns that the table may take.

    Returns:
        The text, with a line break at its end.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=False)
    console.print(table)
    for remark in remarks:
        console.print(remark, soft_wrap=True)
    return re.sub(r" +\n", "\n", text.getvalue())


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *remarks: str) -> str:
    """A table and the remarks below it as HTML, for notebooks.

    Args:
        columns: the headings.
        rows: the cells.
        remarks: one paragraph each.

    Returns:
        A `table` element, followed by the paragraphs.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(cells, "td") for cells in rows)
    paragraphs = "".join(f"<p>{html.escape(remark)}</p>" for remark in remarks)
    return f"<table><thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table>{paragraphs}"
