"""Tables: with rich on a terminal, else a line a row with tabs between, for programs and paste."""

from collections.abc import Sequence

import typer

from gateway.cli.reach import on_terminal


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows; what came from outside is escaped. Nothing at all for no rows."""
    from gateway.admin.lines import printable

    if not rows:
        return
    if not on_terminal():
        for row in rows:
            typer.echo("\t".join(printable(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        # Text, not str: a cell that looks like markup is shown as it is.
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    Console().print(table)
