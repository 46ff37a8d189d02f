"""Tables of results: numbers formatted by column, wide tables split into blocks that repeat the key columns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from qjaxsim.report.row import Row

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
MISSING = "–"
KEYS = ("patches", "layers", "seed")

# Format specifications by column; other floats are written with four significant digits.
FORMATS = {
    "train_loss": ".5f",
    "test_loss": ".5f",
    "train_accuracy": ".4f",
    "test_accuracy": ".4f",
    "near_zero_fraction": ".3f",
    "residual_norm_ratio": ".2e",
    "residual_norm_error": ".2e",
    "seconds_train": ".1f",
    "seconds_hessian": ".1f",
}
_UNLIMITED = 10_000
_DEFAULT_FORMAT = "#.4g"
_GAP = 3  # one blank on both sides and the table's own divider


class ReportTable(NamedTuple):
    """A table of its own.

    Attributes:
        title: heading.
        rows: as all tables.
        note: sentence below the heading of a page.
        columns: columns that the command prints, in order; None for all.
        keys: columns that tell rows apart, repeated where the table is split.
    """

    title: str
    rows: Sequence[Row]
    note: str = ""
    columns: Sequence[str] | None = None
    keys: Sequence[str] = KEYS


def format_value(value: Any, column: str = "", formats: Mapping[str, str] | None = None) -> str:
    """A value as text for a table.

    Args:
        value: number, string, boolean, None or a list of them.
        column: its column, which chooses the format of a float.
        formats: column -> format specification, before those of `FORMATS`.

    Raises:
        ValueError: if a format specification does not suit floats.

    >>> format_value(0.0228784, "train_loss"), format_value(15.98712), format_value(10308), format_value(None)
    ('0.02288', '15.99', '10308', '–')
    >>> format_value([1, 2]), format_value([])
    ('1, 2', 'none')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format(value, {**FORMATS, **(formats or {})}.get(column, _DEFAULT_FORMAT))
    if isinstance(value, list | tuple):
        return ", ".join(format_value(item, column, formats) for item in value) or "none"
    return str(value)


def present(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Columns in which a row has a value."""
    return [name for name in columns if any(row.get(name) is not None for row in rows)]


def all_columns(rows: Sequence[Row]) -> list[str]:
    """Columns of a table, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def split_columns(
    rows: Sequence[Row],
    columns: Sequence[str],
    *,
    width: int = WIDTH,
    keys: Sequence[str] = KEYS,
    formats: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """Columns grouped into blocks of at most `width` characters, each starting with the key columns.

    A column wider than the rest of the line stands in a block of its own, which is then wider than `width`.

    Args:
        rows: the table.
        columns: columns to show, in order.
        width: characters of a line.
        keys: columns to repeat in every block, as far as they are among `columns`.
        formats: as in `format_value`.
    """
    repeated = [name for name in columns if name in keys]
    size = {
        name: _GAP
        + max(len(text) for text in (*name.split("_"), *(format_value(row.get(name), name, formats) for row in rows)))
        for name in columns
    }
    start = sum(size[name] for name in repeated)
    blocks: list[list[str]] = []
    used = width
    for name in columns:
        if name in repeated:
            continue
        if not blocks or used + size[name] > width and len(blocks[-1]) > len(repeated):
            blocks.append(list(repeated))
            used = start
        blocks[-1].append(name)
        used += size[name]
    return blocks or [repeated]


def print_table(
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    *,
    title: str = "",
    keys: Sequence[str] = KEYS,
    formats: Mapping[str, str] | None = None,
    console: "Console | None" = None,
) -> None:
    """Print a table, split into blocks where it is wider than the terminal (100 characters without one).

    No number is ever cut off or wrapped.

    Args:
        rows: the table; missing values are shown as a dash.
        columns: columns to show, in order; default all.
        title: line above.
        keys: columns repeated in every block.
        formats: as in `format_value`.
        console: where to; default standard output.
    """
    from rich.console import Console
    from rich.segment import Segments

    console = console or Console()
    width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    columns = all_columns(rows) if columns is None else columns
    for number, block in enumerate(split_columns(rows, columns, width=width, keys=keys, formats=formats)):
        table = _rich_table(rows, block, formats)
        if title and number == 0:
            console.print(title, markup=False, highlight=False, soft_wrap=True)
        # Rendered at a width of its own: a console that is no terminal says 80 columns, and rich would cut numbers.
        needed = console.measure(table, options=console.options.update_width(_UNLIMITED)).maximum
        segments = console.render(table, console.options.update_width(needed))
        console.print(Segments(segments), crop=False, no_wrap=True, overflow="ignore", end="")
        console.print()


def _rich_table(rows: Sequence[Row], columns: Sequence[str], formats: Mapping[str, str] | None) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        words = all(isinstance(row.get(name), str) or row.get(name) is None for row in rows)
        table.add_column(
            Text(name.replace("_", "\n")), justify="left" if words else "right", vertical="bottom", no_wrap=True
        )
    for row in rows:
        table.add_row(*(Text(format_value(row.get(name), name, formats)) for name in columns))
    return table
