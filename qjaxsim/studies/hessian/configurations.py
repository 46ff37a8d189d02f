"""Rows of one sweep sorted into configurations: what differs between two rows besides the seed."""

from collections.abc import Sequence
from typing import Any

from qjaxsim.report.row import Configuration, Row, describe

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
    "point",
)
# Columns that labels name only where the columns before leave rows alike: a rate that goes with the depth says nothing.
_NAMED_IF_NEEDED = ("learning_rate", "point")
_ALWAYS_NAMED = ("patches", "layers")


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
    named = _named(names, list(groups))
    return [
        Configuration(
            label=", ".join(describe(names[i], values[i]) for i in named if values[i] is not None),
            settings={name: value for name, value in zip(names, values, strict=True) if value is not None},
            rows=tuple(positions),
        )
        for values, positions in groups.items()
    ]


def _named(names: Sequence[str], groups: Sequence[tuple[Any, ...]]) -> list[int]:
    """Places of the columns that labels name."""
    named: list[int] = []
    for i, name in enumerate(names):
        if name in _NAMED_IF_NEEDED:
            needed = _distinct(groups, [*named, i]) > _distinct(groups, named)
        else:
            needed = name in _ALWAYS_NAMED or _distinct(groups, [i]) > 1
        if needed and any(values[i] is not None for values in groups):
            named.append(i)
    return named


def _distinct(groups: Sequence[tuple[Any, ...]], places: Sequence[int]) -> int:
    return len({tuple(values[i] for i in places) for values in groups})


# Where curvature is taken: column `point`.
MINIMUM, MATCHED, START = "minimum", "matched loss", "start"


def is_baseline(row: Row) -> bool:
    """Whether a row belongs to the sweep itself, more seeds of it included, and not to a control or another point."""
    return row.get("control") in (None, "baseline", "seeds") and row.get("point") in (None, MINIMUM)


def circuit_weight(row: Row) -> float | None:
    """Factor of one circuit's outputs in the logits: c for a sum over circuits, c / patches for a mean.

    None where `scale` or `patches` is missing. Nine digits, so that 100 * 9 / 9 / 3 and 100 / 3 are one weight.
    """
    scale, patches = row.get("scale"), row.get("patches")
    if scale is None or not patches:
        return None
    return float(f"{scale if row.get('aggregation') == 'sum' else scale / patches:.9g}")


def anchors(own: Sequence[Row], base: Sequence[Row]) -> list[Row]:
    """Baseline rows that are the same model as those of a control of the normalisation, and that the control lacks.

    A mean over one circuit is its sum, so the baseline at one patch is where a sum starts. None if the control's
    circuits do not have one weight throughout.
    """
    weights = {circuit_weight(row) for row in own}
    if len(weights) != 1 or None in weights:
        return []
    there = {(row.get("patches"), row.get("layers")) for row in own}
    depths = {layers for _, layers in there}
    return [
        row
        for row in base
        if circuit_weight(row) in weights
        and row.get("layers") in depths
        and (row.get("patches"), row.get("layers")) not in there
    ]
