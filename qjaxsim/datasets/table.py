"""Own data from a table: a CSV file with a header, or the arrays of an `.npz` file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checks import as_path
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.common.words import counted

# Beside NaN and nothing: what stands in tables where a number is missing.
_MISSING = ("na", "n/a", "#n/a", "null", "none", "?", "-", "inf", "-inf")


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
        ValueError: for another ending, a file of another kind, arrays of other shapes, a missing column, features that
            are no finite real numbers and missing labels (with the line).

    >>> import tempfile
    >>> from pathlib import Path
    >>> where = Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = where.write_text("petal,sepal,kind\n1.0,2.0,rose\n3.0,4.0,lily\n")
    >>> table = load_table(where, "kind")
    >>> table.x.tolist(), table.y.tolist(), table.classes
    ([[1.0, 2.0], [3.0, 4.0]], [1, 0], ('lily', 'rose'))
    """
    path = as_path("path", path)
    ending = path.suffix.lower()
    if ending not in (".csv", ".npz"):
        raise ValueError(f"Argument `data` must name a .csv or .npz file, but is {str(path)!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"Argument `data` must name a file, but {str(path)!r} is none.")
    columns, places = _of_csv(path) if ending == ".csv" else _of_npz(path)
    _require(label, "label", columns, path)
    if isinstance(features, str):
        raise ValueError(f"Argument `features` must be a list of names, but is the text {features!r}.")
    chosen = [name for name in columns if name != label] if features is None else list(features)
    for name in chosen:
        _require(name, "features", columns, path)
        if chosen.count(name) > 1:
            raise ValueError(f"Argument `features` must name each column once, but holds {name!r} twice.")
    if label in chosen:
        raise ValueError(f"Argument `features` must leave out the label, but holds {label!r}.")
    if not chosen:
        raise ValueError(f"Argument `data` must have a column beside the label {label!r}, but {path.name} has none.")
    x = np.stack([_numbers(name, columns[name], places) for name in chosen], axis=1)
    y, classes = _labels(label, columns[label], places)
    return Table(x, y, tuple(chosen), classes)


def _require(name: str, argument: str, columns: dict[str, Any], path: Path) -> None:
    if name not in columns:
        raise ValueError(
            f"Argument `{argument}` must name columns of {path.name}, {', '.join(columns)}, but is {name!r}"
            f"{did_you_mean(name, columns)}."
        )


def _of_csv(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Text of the cells by column, and where each sample stands."""
    lines: list[tuple[int, list[str]]] = []
    begun = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # Without "strict" a quote that nothing closes takes all lines below it into its cell.
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for line in reader:
                begun = reader.line_num
                if line:
                    lines.append((begun, [cell.strip() for cell in line]))
    except csv.Error as error:
        raise ValueError(
            f"Argument `data` must name a CSV file in which each cell's quotes are closed before the next comma, but "
            f"those of line {begun + 1} of {path.name} are not ({error}); mend them."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Argument `data` must name a CSV file in UTF-8, but {path.name} is none ({error.reason}); save it as "
            f"that, which Excel calls CSV UTF-8."
        ) from error
    if len(lines) < 2:
        raise ValueError(f"Argument `data` must have a header and a line below it, but {path.name} has {len(lines)}.")
    (first, head), *body = lines
    if len(head) == 1 and (mark := next((mark for mark in (";", "\t") if mark in head[0]), None)):
        raise ValueError(
            f"Argument `data` must name a file with commas between cells, but {path.name} has {mark!r} in its "
            f"header; write it again with commas, and points in its numbers."
        )
    if "" in head:
        raise ValueError(
            f"Argument `data` must have a name for each column in its header, but column {head.index('') + 1} of "
            f"{path.name} has none; name it, or write the table without its index (pandas: index=False)."
        )
    if len(set(head)) != len(head):
        raise ValueError(f"Argument `data` must have a header of different names, but {path.name} has {head}.")
    for number, line in body:
        if len(line) != len(head):
            raise ValueError(
                f"Argument `data` must have {counted(len(head), 'cell')} in each line, as its header, line {first}, "
                f"has, but line {number} of {path.name} has {len(line)}."
            )
    columns = {name: [line[i] for _, line in body] for i, name in enumerate(head)}
    return columns, [f"line {number} of {path.name}" for number, _ in body]


def _of_npz(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Arrays by column, and where each sample stands; `x` of two axes becomes a column each."""
    arrays = _arrays(path)
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        own = {f"{name}{i}": array[:, i] for i in range(array.shape[1])} if array.ndim == 2 else {name: array}
        if taken := sorted(own.keys() & columns.keys()):
            raise ValueError(
                f"Argument `data` must hold arrays whose columns have different names, but {path.name} has "
                f"{taken[0]!r} twice, since those of an array (N, F) are called by its name and their number; rename "
                "one of the arrays."
            )
        columns |= own
    counts = {len(array) if array.ndim in (1, 2) else 0 for array in arrays.values()}
    if not columns or len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"Argument `data` must hold arrays (N, F) and (N,) of one N, at least 1, but {path.name} holds "
            f"{ {name: array.shape for name, array in arrays.items()} }."
        )
    return columns, [f"row {i} of {path.name}" for i in range(counts.pop())]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """What a file of NumPy holds; files and arrays that need pickle are refused by their name."""
    name = None
    try:
        names = files.names_in_npz(path)
        arrays = {}
        for name in names:
            array = files.read_npz(path, name)[name]
            arrays[name] = np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else array
    except files.DamagedError as error:
        if "allow_pickle" in str(error.__cause__):
            raise ValueError(
                f"Argument `data` must hold plain numbers and text, but {name!r} of {path.name} holds Python objects; "
                "save text by `array.astype(str)`."
            ) from error
        raise ValueError(
            f"Argument `data` must name a whole file that `numpy.savez` wrote, but {path.name} cannot be read: it is "
            "cut short or of another kind."
        ) from error
    return arrays


def _numbers(name: str, cells: Any, places: Sequence[str]) -> np.ndarray:
    values = _floats(cells)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"Argument `data` must hold finite numbers in column {name!r}, but {places[bad[0]]} has "
            f"{str(cells[bad[0]])!r}; mend it or leave the column out with `features`."
        )
    return values


def _floats(cells: Any) -> np.ndarray:
    """Cells as float64, NaN where they are no real numbers."""

    def number(cell: Any) -> float:
        # Python reads "1_0" as 10, where tables mean a name.
        name = isinstance(cell, str) and "_" in cell
        try:
            return float("nan") if name or np.iscomplexobj(cell) else float(cell)
        except (TypeError, ValueError):
            return float("nan")

    return np.array([number(cell) for cell in cells], np.float64)


def _labels(name: str, cells: Any, places: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Classes from 0 on with what they are called, or values."""
    values = _floats(cells)
    numbers = values[np.isfinite(values)]
    whole = bool((numbers == np.round(numbers)).all())
    for cell, value, place in zip(cells, values, places, strict=True):
        if not np.isfinite(value) and not _is_class(cell, among_numbers=bool(numbers.size), whole=whole):
            raise ValueError(
                f"Argument `data` must have a label in each line, but {place} has "
                f"{repr(str(cell)) if str(cell) else 'none'} in column {name!r}; mend it or leave the line out."
            )
    if not whole:
        return values, None
    if len(numbers) == len(values):
        wholes = [_whole(cell) for cell in cells]
        places_of = {whole: place for place, whole in enumerate(sorted(set(wholes)))}
        return np.array([places_of[whole] for whole in wholes], np.int32), tuple(map(str, places_of))
    kinds, classes = np.unique([str(cell) for cell in cells], return_inverse=True)
    return classes.astype(np.int32), tuple(map(str, kinds))


def _whole(cell: Any) -> int:
    """A whole number in all its digits, which float64 does not have beyond sixteen."""
    try:
        return int(cell)
    except ValueError:  # "1.0", "1e3"
        return int(float(cell))


def _is_class(cell: Any, *, among_numbers: bool, whole: bool) -> bool:
    """Whether a cell that is no finite number names a class, as text beside text and beside integers does.

    Words for a missing number are classes only in a column without numbers, where "None" may be one of them.
    """
    if not isinstance(cell, str | bytes) or not whole:
        return False
    text = str(cell).lower()
    return text not in ("", "nan", "-nan", *(_MISSING if among_numbers else ()))
