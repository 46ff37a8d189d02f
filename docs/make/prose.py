"""Brackets of physics in prose: Markdown takes <t, O t> for a tag and drops it."""

import re

# Blocks between fences, indented blocks, code in a line, comments: these stay as they are.
_CODE = re.compile(r"(^```.*?^```|^(?: {4}|\t).*?$|`[^`\n]+`|<!--.*?-->)", flags=re.MULTILINE | re.DOTALL)
_BRACKET = re.compile(r"<(?!/?(?:a|br|div|span|sub|sup)\b)(?=[A-Za-z/])")


def with_brackets(text: str) -> str:
    """The text with < written out where no tag begins."""
    parts = _CODE.split(text)
    parts[::2] = [_BRACKET.sub("&lt;", part) for part in parts[::2]]
    return "".join(parts)
