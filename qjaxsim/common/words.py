"""Numbers of things in words."""

from typing import Any


def counted(number: Any, noun: str, plural: str | None = None) -> str:
    """A number with what it counts.

    Args:
        number: how many.
        noun: what one of them is called.
        plural: what others are called, if not the noun with an s.

    >>> counted(1, "layer"), counted(0, "layer"), counted(1200, "patch", "patches"), counted(1.0, "shot")
    ('1 layer', '0 layers', '1,200 patches', '1 shot')
    """
    shown = f"{number:g}" if isinstance(number, float) else f"{number:,}"
    return f"{shown} {noun if number == 1 else plural or f'{noun}s'}"
