"""Rows of a table, as `summary.json` holds them, and their settings in words."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

_NOUNS = {
    "patches": ("patch", "patches"),
    "layers": ("layer", "layers"),
    "n_classes": ("class", "classes"),
    "qubits": ("qubit", "qubits"),
    "images": ("image", "images"),
    "epochs": ("epoch", "epochs"),
}


def describe(name: str, value: Any) -> str:
    """One setting in words.

    >>> describe("layers", 1), describe("aggregation", "sum"), describe("learning_rate", 0.01)
    ('1 layer', 'aggregation sum', 'learning rate 0.01')
    """
    if name == "point":
        return str(value)
    if name in _NOUNS:
        singular, plural = _NOUNS[name]
        return f"{value:,} {singular if value == 1 else plural}"
    return f"{name.replace('_', ' ')} {value}"
