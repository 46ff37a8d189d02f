"""Docstrings as Markdown: examples, which stand there without a heading, become blocks of code."""

import inspect
import re
from typing import Any

from griffe import Extension, Object

from docs.make.prose import with_brackets

_EXAMPLE = re.compile(r"^>>> (?:.+\n?)+", flags=re.MULTILINE)


class FencedDoctests(Extension):
    """Puts every example of a docstring between fences."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for all that it reads."""
        if obj.docstring is not None:
            text = inspect.cleandoc(obj.docstring.value)
            fenced = _EXAMPLE.sub(lambda found: f"\n```pycon\n{found[0].rstrip()}\n```\n", text)
            obj.docstring.value = with_brackets(fenced)
