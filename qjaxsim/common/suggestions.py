"""The near one of some choices, for messages about a wrong one."""

import difflib
from collections.abc import Iterable
from typing import Any


def did_you_mean(value: Any, choices: Iterable[Any]) -> str:
    """The end of a message: the choice nearest to a mistyped one, or nothing where none is near.

    >>> did_you_mean("lanzcos", ["auto", "dense", "lanczos"])
    " (did you mean 'lanczos'?)"
    >>> did_you_mean("full", ["auto", "dense", "lanczos"])
    ''
    """
    names = [one for one in choices if isinstance(one, str)]
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(str(value).casefold(), folded, n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""
