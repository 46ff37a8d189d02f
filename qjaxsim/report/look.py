"""Colours, dashes, markers and words of matplotlib as a page has them."""

import re
from html import escape
from typing import Any

SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "d": "diamond-tall", "v": "triangle-down",
    "P": "cross", "X": "x", "x": "x-thin", "+": "cross-thin", "*": "star", ".": "circle", "_": "line-ew",
    "|": "line-ns", "<": "triangle-left", ">": "triangle-right",
}  # fmt: skip
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
# Characters that stand for a marker in a legend.
GLYPHS = {
    "o": "●", "s": "■", "^": "▲", "D": "◆", "d": "◆", "v": "▼", "P": "✚", "X": "✖", "x": "×", "+": "+", "*": "★",
    ".": "●", "_": "–", "|": "|", "<": "◀", ">": "▶",
}  # fmt: skip
# Greys are colours of the page, which are others on dark paper: the lightest of each name, 0 to 1.
_THEMED = {"ink": 0.4, "soft": 0.7, "pale": 0.95, "paper": 1.0}


def colour(given: Any) -> str:
    """A colour of matplotlib for the page: greys by the name of its ink or paper, others as they are.

    >>> colour("white"), colour("#0072B2"), colour((0.0, 0.0, 1.0, 0.5)), colour("none")
    ('var(--paper)', '#0072b2', 'rgba(0,0,255,0.5)', 'rgba(0,0,0,0)')
    """
    from matplotlib.colors import to_hex, to_rgba

    red, green, blue, alpha = to_rgba(given)
    rgb = (red, green, blue)
    if alpha == 0:
        return "rgba(0,0,0,0)"
    if alpha < 1:
        return f"rgba({','.join(str(round(255 * part)) for part in rgb)},{alpha:.3g})"
    if max(rgb) > min(rgb):
        return str(to_hex(rgb))
    return f"var(--{next(name for name, lightest in _THEMED.items() if rgb[0] <= lightest)})"


def html(text: str) -> str:
    r"""Text of a figure for a page, powers raised, dollars behind a backslash as such.

    >>> html("$10^{-3}$ <Z>"), html(r"cost\$a\$")
    ('10<sup>−3</sup> &lt;Z&gt;', 'cost$a$')
    """
    text = escape(text, quote=False)

    def raised(found: re.Match[str]) -> str:
        inner = re.sub(r"\\mathdefault\{(.*)\}", r"\1", found[1])
        inner = re.sub(r"\^\{([^}]*)\}|\^(\w)", lambda power: f"<sup>{power[1] or power[2]}</sup>", inner)
        return inner.replace("-", "−").replace(r"\times", "×").replace(r"\lambda", "λ")

    return re.sub(r"(?<!\\)\$([^$]*)(?<!\\)\$", raised, text).replace(r"\$", "$").replace("\n", "<br>")
