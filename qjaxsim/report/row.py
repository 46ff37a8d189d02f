"""Rows of a table, as `summary.json` holds them, their settings in words, and rows that belong together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from qjaxsim.common.words import counted

Row = Mapping[str, Any]


class Configuration(NamedTuple):
    """Rows that are drawn as one, such as those that differ in their seed only.

    Attributes:
        label: for titles and legends, "4 patches, 2 layers".
        settings: what they have in common, by column.
        rows: positions of its rows in the table, in table order.
    """

    label: str
    settings: dict[str, Any]
    rows: tuple[int, ...]


Grouping = Callable[[Sequence[Row]], list[Configuration]]


def by_label(rows: Sequence[Row]) -> list[Configuration]:
    """Every row by itself, under what its column `label` says.

    >>> by_label([{"label": "start"}, {"label": "end"}])[1]
    Configuration(label='end', settings={'label': 'end'}, rows=(1,))
    """
    labels = [str(row.get("label", "")) for row in rows]
    return [Configuration(label, {"label": label}, (i,)) for i, label in enumerate(labels)]


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
        return counted(value, *_NOUNS[name])
    return f"{name.replace('_', ' ')} {value}"
