"""Rows of one sweep sorted into configurations: what differs between two rows besides the seed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]

# Columns that tell configurations apart, in the order in which labels name them.
IDENTITY = (
    "patches",
    "layers",
    "dataset",
    "n_classes",
    "aggregation",
    "scale",
    "stride",
    "qubits",
    "images",
    "epochs",
    "learning_rate",
)
_ALWAYS_NAMED = ("patches", "layers")
_NOUNS = {
    "patches": ("patch", "patches"),
    "layers": ("layer", "layers"),
    "n_classes": ("class", "classes"),
    "qubits": ("qubit", "qubits"),
    "images": ("image", "images"),
    "epochs": ("epoch", "epochs"),
}


class Configuration(NamedTuple):
    """Rows that differ in their seed only.

    Attributes:
        label: for titles and legends, "4 patches, 2 layers".
        settings: values of the columns in `IDENTITY` that the rows have.
        rows: positions of its rows in the table, in table order.
    """

    label: str
    settings: dict[str, Any]
    rows: tuple[int, ...]


def configurations(rows: Sequence[Row], ignore: Sequence[str] = ()) -> list[Configuration]:
    """The configurations of a table, in order of first appearance.

    Args:
        rows: the table.
        ignore: columns of `IDENTITY` that shall not tell rows apart.

    >>> rows = [{"patches": p, "layers": 2, "qubits": 4, "seed": s} for p in (1, 4) for s in (0, 1)]
    >>> [(c.label, c.rows) for c in configurations(rows)]
    [('1 patch, 2 layers', (0, 1)), ('4 patches, 2 layers', (2, 3))]
    """
    names = [name for name in IDENTITY if name not in ignore]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(tuple(row.get(name) for name in names), []).append(position)
    named = [
        i
        for i, name in enumerate(names)
        if any(values[i] is not None for values in groups)
        and (name in _ALWAYS_NAMED or len({values[i] for values in groups}) > 1)
    ]
    return [
        Configuration(
            label=", ".join(describe(names[i], values[i]) for i in named if values[i] is not None),
            settings={name: value for name, value in zip(names, values, strict=True) if value is not None},
            rows=tuple(positions),
        )
        for values, positions in groups.items()
    ]


def describe(name: str, value: Any) -> str:
    """One setting in words.

    >>> describe("layers", 1), describe("aggregation", "sum"), describe("learning_rate", 0.01)
    ('1 layer', 'aggregation sum', 'learning rate 0.01')
    """
    if name in _NOUNS:
        singular, plural = _NOUNS[name]
        return f"{value:,} {singular if value == 1 else plural}"
    return f"{name.replace('_', ' ')} {value}"
