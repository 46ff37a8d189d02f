"""Own data from a table: a CSV file with a header, or the arrays of an `.npz` file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common import files
from qjaxsim.common.suggestions import did_you_mean


@dataclass(frozen=True, eq=False)
class Table:
    """Samples with what is to be learned of them.

    Attributes:
        x: features (N, F), float64.
        y: labels: classes (N,) int32 from 0 on, or values (N,) float64.
        names: of the F features.
        classes: what the classes are called, in order; None for values.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    classes: tuple[str, ...] | None


def load_table(path: str | Path, label: str, features: Sequence[str] | None = None) -> Table:
    r"""Features and labels of a file.

    Args:
        path: `.csv` with a header line and numbers below it (the label may be text), or `.npz` with the features (N, F)
            as `x` or as an array (N,) each, and the label as an array (N,).
        label: name of the column or array that is to be learned. Text and integers are classes, other numbers values.
        features: names of the columns to learn from; default all but the label.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another ending, a missing column, cells that are no finite numbers (with the line), or none.

    >>> import tempfile
    >>> from pathlib import Path
    >>> where = Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = where.write_text("petal,sepal,kind\n1.0,2.0,rose\n3.0,4.0,lily\n")
    >>> table = load_table(where, "kind")
    >>> table.x.tolist(), table.y.tolist(), table.classes
    ([[1.0, 2.0], [3.0, 4.0]], [1, 0], ('lily', 'rose'))
    """
    path = Path(path)
    if path.suffix not in (".csv", ".npz"):
        raise ValueError(f"Argument `data` must name a .csv or .npz file, but is {str(path)!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"Argument `data` must name a file, but {str(path)!r} is none.")
    columns = _of_csv(path) if path.suffix == ".csv" else _of_npz(path)
    _require(label, "label", columns, path)
    chosen = [name for name in columns if name != label] if features is None else list(features)
    for name in chosen:
        _require(name, "features", columns, path)
    if label in chosen:
        raise ValueError(f"Argument `features` must leave out the label, but holds {label!r}.")
    if not chosen:
        raise ValueError(f"Argument `data` must have a column beside the label {label!r}, but {path.name} has none.")
    x = np.stack([_numbers(name, columns[name], path) for name in chosen], axis=1)
    y, classes = _labels(label, columns[label], path)
    return Table(x, y, tuple(chosen), classes)


def _require(name: str, argument: str, columns: dict[str, Any], path: Path) -> None:
    if name not in columns:
        raise ValueError(
            f"Argument `{argument}` must name columns of {path.name}, {', '.join(columns)}, but is {name!r}"
            f"{did_you_mean(name, columns)}."
        )


def _of_csv(path: Path) -> dict[str, list[str]]:
    """Text of the cells by column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Argument `data` must name a CSV file in UTF-8, but {path.name} is none: {error}.") from error
    if len(lines) < 2:
        raise ValueError(f"Argument `data` must have a header and a line below it, but {path.name} has {len(lines)}.")
    head, *body = ([cell.strip() for cell in line] for line in lines)
    if len(set(head)) != len(head) or "" in head:
        raise ValueError(f"Argument `data` must have a header of different names, but {path.name} has {head}.")
    for number, line in enumerate(body, start=2):
        if len(line) != len(head):
            raise ValueError(
                f"Argument `data` must have {len(head)} cells in each line, but line {number} of {path.name} has "
                f"{len(line)}."
            )
    return {name: [line[i] for line in body] for i, name in enumerate(head)}


def _of_npz(path: Path) -> dict[str, Any]:
    """Arrays by column; `x` of two axes becomes a column each."""
    arrays = files.read_npz(path)
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 2:
            columns |= {f"{name}{i}": array[:, i] for i in range(array.shape[1])}
        elif array.ndim == 1:
            columns[name] = array
    counts = {name: len(column) for name, column in columns.items()}
    if not columns or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(
            f"Argument `data` must hold arrays (N, F) and (N,) of one N, at least 1, but {path.name} holds "
            f"{ {name: array.shape for name, array in arrays.items()} }."
        )
    return columns


def _numbers(name: str, cells: Any, path: Path) -> np.ndarray:
    values = _floats(cells)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"Argument `data` must hold finite numbers in column {name!r}, but line {bad[0] + 2} of {path.name} has "
            f"{str(cells[bad[0]])!r}; mend it or leave the column out with `features`."
        )
    return values


def _floats(cells: Any) -> np.ndarray:
    """Cells as float64, NaN where they are no numbers."""

    def number(cell: Any) -> float:
        try:
            return float(cell)
        except (TypeError, ValueError):
            return float("nan")

    return np.array([number(cell) for cell in cells], np.float64)


def _labels(name: str, cells: Any, path: Path) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Classes from 0 on with what they are called, or values."""
    empty = [i for i, cell in enumerate(cells) if str(cell) == ""]
    if empty:
        raise ValueError(
            f"Argument `data` must have a label in each line, but line {empty[0] + 2} of {path.name} has none in "
            f"column {name!r}."
        )
    values = _floats(cells)
    if np.isfinite(values).all():
        if (values != np.round(values)).any():
            return values, None
        kinds, classes = np.unique(values, return_inverse=True)
        return classes.astype(np.int32), tuple(f"{kind:g}" for kind in kinds)
    kinds, classes = np.unique([str(cell) for cell in cells], return_inverse=True)
    return classes.astype(np.int32), tuple(map(str, kinds))
