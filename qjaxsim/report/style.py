"""Colours and small habits that the figures share.

Figures are built on matplotlib's objects alone, without pyplot: no global state, no window system.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qjaxsim.common import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision; without its yellow, which is too faint on white.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#777777", "#D9D9D9"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 144
SMALL = 8
# Characters of a name beside an axis; longer ones would leave no room for what they name.
_LONGEST = 48


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches whose parts keep clear of each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def tidy(axes: "Axes") -> None:
    """Light frame and grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL + 1)


def colours(count: int) -> list[str]:
    """So many that differ, and from the ink of what has none: the palette's, or shades where it has fewer.

    >>> colours(2), len(set(colours(30)))
    (['#0072B2', '#D55E00'], 30)
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    palette = [colour for colour in COLOURS if colour != INK]
    if count <= len(palette):
        return palette[:count]
    return [to_hex(colormaps["turbo"](place / (count - 1))) for place in range(count)]


def whole_ticks(axis: Any) -> None:
    """Whole numbers alone on a linear axis, on a short one too."""
    from matplotlib.ticker import MaxNLocator

    # Matplotlib names no fewer ticks than the least, if need be between whole numbers.
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def plain_ticks(axis: Any, subs: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """1, 2, 5, 10, ... instead of powers, for logarithmic axes that rarely span a decade or two."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(10, subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def words(text: str) -> str:
    r"""A user's text as a figure shows it: letter by letter, where matplotlib reads a formula between two dollars.

    What cannot be drawn becomes an escape, and the middle of a long text is left out. `look.html` takes it back.

    >>> words("cost$a$"), words("tab\t"), words("a" * 60 + "/bias")[-8:]
    ('cost\\$a\\$', 'tab\\t', 'aaa/bias')
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[1 - _LONGEST // 2 :]}"
    shown = (letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return "".join(shown).replace("$", r"\$")


def index_of(values: Sequence[Any], value: Any) -> int:
    """Place of a value among the distinct ones, sorted where they can be."""
    distinct = list(dict.fromkeys(values))
    try:
        distinct.sort()
    except TypeError:
        distinct.sort(key=str)
    return distinct.index(value)


def png_bytes(figure: "Figure") -> bytes:
    """The figure as PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: "Figure", path: str | Path) -> Path:
    """The path, now holding the figure as PNG, whole or not at all."""
    return files.write_bytes(path, png_bytes(figure))
