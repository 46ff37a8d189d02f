"""The scripts of a page: what sorts tables; plotly.js, the page's figures and what draws them, packed into the file."""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from qjaxsim.report.interactive import Interactive

# Bytes that the figures of a page may have; those beyond stay pictures. With plotly.js, 2 MB, and pictures a page is
# below 5 MB.
_MOST = 1_500_000


class Scripts(NamedTuple):
    """What a page needs for its tables and figures.

    Attributes:
        html: elements at the end of the page.
        policy: what the page's policy says of scripts.
        places: for each figure its number among those that the page draws, None for one that stays a picture.
    """

    html: str
    policy: str
    places: list[int | None]


def scripts_of(figures: Sequence[Interactive | None]) -> Scripts:
    """The scripts of a page with some figures.

    Args:
        figures: as `qjaxsim.report.interactive.read_figure` gives them.

    Returns:
        Elements of 2 MB and more where there are figures, plotly.js compressed by half twice; browsers unpack it.
    """
    tables = _own("tables.js")
    drawn: list[str] = []
    places: list[int | None] = []
    used = 0
    for figure in figures:
        text = "" if figure is None else json.dumps(figure._asdict(), allow_nan=False, separators=(",", ":"))
        size = len(_packed(text))
        fits = text and used + size <= _MOST
        places.append(len(drawn) if fits else None)
        if fits:
            drawn.append(text)
            used += size
    html, policy = f"<script>{tables}</script>\n", f"; script-src '{_digest(tables)}'"
    if not drawn:
        return Scripts(html, policy, places)
    own, (library, digest) = _own("figures.js"), _library()
    policy += f" '{_digest(own)}' '{digest}'"
    html += (
        f'<script type="text/plain" id="plotly">{library}</script>\n'
        f'<script type="text/plain" id="figures">{_packed("[" + ",".join(drawn) + "]")}</script>\n'
        f"<script>{own}</script>\n"
    )
    return Scripts(html, policy, places)


@cache
def _own(name: str) -> str:
    return (resources.files("qjaxsim.report") / name).read_text(encoding="utf-8")


@cache
def _library() -> tuple[str, str]:
    from plotly.offline import get_plotlyjs

    text = get_plotlyjs()
    return _packed(text), _digest(text)


def _packed(text: str) -> str:
    """Compressed, as characters; equal texts give equal ones."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


def _digest(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"
