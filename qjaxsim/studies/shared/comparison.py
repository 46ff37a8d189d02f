"""Published numbers beside ours."""

from typing import Any


def compared(quantity: str, ours: float, published: float, reason: str) -> dict[str, Any]:
    """A row of a comparison; `reason` says why the two cannot be compared, and is empty where they can."""
    return {
        "quantity": quantity,
        "ours": ours,
        "published": published,
        "difference": None if reason else ours - published,
        "comparable": reason or True,
    }
