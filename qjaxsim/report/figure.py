"""A figure of a report, as a page embeds it."""

from pathlib import Path
from typing import NamedTuple


class ReportFigure(NamedTuple):
    """A figure on disk.

    Attributes:
        path: the PNG file.
        title: heading.
        caption: what is drawn, and how to read it.
    """

    path: Path
    title: str
    caption: str
