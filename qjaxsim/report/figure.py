"""A figure of a report, as a page embeds it."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qjaxsim.report import style
from qjaxsim.report.interactive import Interactive, read_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ReportFigure(NamedTuple):
    """A figure on disk.

    Attributes:
        path: the PNG file.
        title: heading.
        caption: what is drawn, and how to read it.
        interactive: what a page needs to draw it so that it can be zoomed; None for a figure that stays a picture.
    """

    path: Path
    title: str
    caption: str
    interactive: Interactive | None = None


def written(figure: "Figure", path: str | Path, title: str, caption: str) -> ReportFigure:
    """A figure, written as PNG and read for the page, so that both show the same arrays.

    Args:
        figure: the drawing.
        path: where the PNG goes, whole or not at all.
        title: as in `ReportFigure`.
        caption: as in `ReportFigure`.

    Raises:
        OSError: if the file cannot be written.
    """
    return ReportFigure(style.save_png(figure, path), title, caption, read_figure(figure))
