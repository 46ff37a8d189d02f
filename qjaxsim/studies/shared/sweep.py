"""What all studies share: a grid of cells, run one after the other, kept on disk, and taken up again after a crash.

The results folder of a sweep:

    config.json             study, settings, cells, versions, device; when it began and which settings were given
    cells/KEY/arrays.npz    a finished cell's arrays
    cells/KEY/result.json   its row, or rows; written last, so a cell with this file is finished
    summary.json            list of rows, in the order of the cells; NaN is null
    summary.csv             the same table
    columns.json            meaning and unit of each column

Every file is whole or absent (`qjaxsim.common.files`), so a process killed at any moment loses at most the cell in
flight.
"""

import csv
import datetime
import io
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checks import as_path
from qjaxsim.common.helping import HelpedError
from qjaxsim.common.hosts import team
from qjaxsim.common.progress import Progress as Progress
from qjaxsim.studies.shared.results_folder import CONFIG as CONFIG
from qjaxsim.studies.shared.results_folder import claimed, unusable
from qjaxsim.studies.shared.sharing import open_together, share

SUMMARY, TABLE, COLUMNS = "summary.json", "summary.csv", "columns.json"
CELL_COLUMN = "cell"
ARRAYS = "arrays.npz"
_CELLS, _RESULT = "cells", "result.json"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


@dataclass(frozen=True)
class Cell:
    """One point of a grid.

    Attributes:
        key: name of the cell and of its folder: letters, digits and . _ = + -, unique in the sweep in any case.
        settings: what distinguishes the cell, as JSON values; recorded and compared on resuming.
        after: keys of cells whose results it reads, which read none themselves.
    """

    key: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    after: Sequence[str] = ()


class CellResult(NamedTuple):
    """What one cell yields.

    Attributes:
        row: column -> JSON value; the cell's line in the summary, or a list of them for a cell with several. NaN and
            infinities become null (None).
        arrays: name -> array, kept in arrays.npz.
    """

    row: dict[str, Any] | list[dict[str, Any]]
    arrays: dict[str, np.ndarray]


def run_sweep(
    study: str,
    config: Mapping[str, Any],
    cells: Sequence[Cell],
    run_cell: Callable[[Cell, Path], CellResult],
    out: str | Path,
    *,
    columns: Mapping[str, str],
    resume: bool = False,
    progress: Progress | None = None,
    notes: Mapping[str, Any] | None = None,
    by_samples: bool = False,
) -> list[dict[str, Any]]:
    """The rows of all cells, after running whichever cells `out` does not hold yet.

    An exception in a cell ends the sweep and leaves the finished cells for a resumed one. Where there are several
    processes (`qjaxsim.common.hosts`) they share the cells, and in the end each has all of them in its folder.

    Args:
        study: name of the study.
        config: all settings and seeds, as JSON values without NaN; relative paths only, since the folder may travel.
        cells: the grid, in the order of the summary.
        run_cell: maps a cell and its folder `out/cells/KEY` to its result. The folder exists, and holds what an
            earlier attempt at the same cell left there, so a cell can resume from checkpoints of its own.
        out: results folder; created when missing.
        columns: column -> meaning and unit. A column without an entry gets null in columns.json.
        resume: go on with the sweep that `out` holds. Its study, settings and cells must equal these; versions and
            device may differ and are then recorded side by side. A missing or empty folder starts a new sweep.
        progress: bars and messages; default a new one.
        notes: more for config.json, which a resumed sweep need not share.
        by_samples: whether cells that are fewer than the processes may be run by all of them together.

    Returns:
        Rows in the order of `cells`, each with the cell's key in the column "cell" first. Values are as JSON keeps
        them, so a resumed sweep returns, and writes, exactly what an uninterrupted one does.

    Raises:
        ValueError: if `out` cannot be written, is in use by another process, holds results and `resume` is false, or
            holds another sweep; if keys of cells repeat or cannot name a folder; if settings hold NaN. All before any
            work.
        TypeError: if settings or a row hold something that JSON cannot.
    """
    out = as_path("out", out)
    _check_keys(cells)
    configuration = _configuration(study, config, cells)
    progress = progress or Progress()
    found: dict[str, list[dict[str, Any]]] = {}

    def rows() -> list[dict[str, Any]]:
        return [{CELL_COLUMN: cell.key, **row} for cell in cells for row in found.get(cell.key, ())]

    def label(cell: Cell) -> str:
        return f"{study}: cell {cells.index(cell) + 1}/{len(cells)} {cell.key}"

    def is_done(cell: Cell) -> bool:
        if cell.key not in found and (own := _finished_rows(out, cell, progress)) is not None:
            found[cell.key] = own
        return cell.key in found

    with claimed(out) if team.leads else nullcontext(), progress:
        open_together(out, configuration, resume, notes)
        progress.message(f"results folder: {out}")
        with progress.bar(study, len(cells)) as advance:

            def settle(cell: Cell) -> None:
                if resume and is_done(cell):
                    progress.message(f"{label(cell)} already done")
                    return
                found[cell.key] = _run(cell, run_cell, out, label(cell), progress)
                if team.leads:  # now, not only at the end, so that a long sweep can be looked at
                    _write_summary(out, rows(), columns)

            if team.count == 1:
                for cell in cells:
                    settle(cell)
                    advance(1)
            else:
                folder = lambda cell: cell_folder(out, cell.key)  # noqa: E731
                share(
                    cells, folder, is_done, settle, lambda cell: _help(cell, run_cell, folder(cell), progress), advance
                )
        if team.leads:
            _write_summary(out, rows(), columns)
    return rows()


def read_arrays(out: str | Path, key: str) -> dict[str, np.ndarray]:
    """Arrays of one finished cell.

    Args:
        out: results folder.
        key: the cell's key.

    Raises:
        FileNotFoundError: if the cell is not finished, or has lost its arrays.
        qjaxsim.common.files.DamagedError: if they cannot be read.
    """
    path = cell_folder(out, key) / ARRAYS
    try:
        return files.read_npz(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Folder {path.parent} must hold the {ARRAYS} of a finished cell, but does not; bring the cell's folder "
            "with all that was in it, or run the study again."
        ) from error


def rows_arrays(out: str | Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
    """Arrays of the cell of each row."""
    return [read_arrays(out, row[CELL_COLUMN]) for row in rows]


def read_rows(out: str | Path, key: str) -> list[dict[str, Any]]:
    """Rows of one finished cell.

    Args:
        out: results folder.
        key: the cell's key.

    Raises:
        FileNotFoundError: if the cell is not finished.
        qjaxsim.common.files.DamagedError: if its result cannot be read.
    """
    path = cell_folder(out, key) / _RESULT
    try:
        return _several(json.loads(path.read_text(encoding="utf-8"))["row"])
    except (ValueError, KeyError, TypeError) as error:
        raise files.DamagedError(path, "it holds no rows") from error


def read_row(out: str | Path, key: str) -> dict[str, Any]:
    """The row of one finished cell that has one; see `read_rows`."""
    (row,) = read_rows(out, key)
    return row


def finished(out: str | Path, key: str) -> bool:
    """Whether a cell is."""
    return (cell_folder(out, key) / _RESULT).is_file()


def cell_folder(out: str | Path, key: str) -> Path:
    """Folder of a cell, finished or not."""
    return Path(out) / _CELLS / key


def default_folder(study: str, runs: str | Path = "runs", now: datetime.datetime | None = None) -> Path:
    """`runs/STUDY/YYYYmmdd-HHMMSS`, not created.

    Args:
        study: name of the study.
        runs: folder above all studies.
        now: time to name it after; default the local time.

    >>> default_folder("hessian", now=datetime.datetime(2026, 5, 1, 9, 30)).as_posix()
    'runs/hessian/20260501-093000'
    """
    return Path(runs) / study / f"{now or datetime.datetime.now():%Y%m%d-%H%M%S}"


# --- the folder --------------------------------------------------------------------------------------------------


def is_key(key: str) -> bool:
    """Whether a cell may be called so, and so be a folder."""
    return _KEY.fullmatch(key) is not None


def _check_keys(cells: Sequence[Cell]) -> None:
    seen: set[str] = set()
    for cell in cells:
        if not is_key(cell.key):
            raise ValueError(
                f"Keys of cells must be letters, digits and . _ = + -, starting with a letter or digit, to name a "
                f"folder, but one is {cell.key!r}."
            )
        # Some file systems do not tell upper from lower case.
        if cell.key.casefold() in seen:
            raise ValueError(f"Keys of cells must differ, also in more than case, but {cell.key!r} occurs twice.")
        seen.add(cell.key.casefold())


def _configuration(study: str, config: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, Any]:
    """What two runs must share to be one sweep, in plain JSON types."""
    return {
        "study": study,
        "settings": files.to_json(config, place="config"),
        "cells": {cell.key: files.to_json(cell.settings, place=f"cells.{cell.key}") for cell in cells},
    }


# --- cells -------------------------------------------------------------------------------------------------------


def _run(
    cell: Cell, run_cell: Callable[[Cell, Path], CellResult], out: Path, label: str, progress: Progress
) -> list[dict[str, Any]]:
    """Run one cell and write its result; the rows as JSON keeps them."""
    folder = cell_folder(out, cell.key)
    folder.mkdir(parents=True, exist_ok=True)
    files.remove_temporaries(folder)
    for place in (folder / ARRAYS, folder / _RESULT):
        if place.is_dir():
            files.put_aside(place)
    # A damaged result must not come back to life if this attempt is killed too.
    (folder / _RESULT).unlink(missing_ok=True)
    start = time.perf_counter()
    try:
        with progress.inner():
            result = _without_damaged(lambda: run_cell(cell, folder), out, progress)
    except Exception:
        progress.warn(f"{label} failed after {time.perf_counter() - start:.1f} s")
        raise
    row = files.to_json(result.row, nan_as_null=True, place=f"row of {cell.key}")
    files.write_npz(folder / ARRAYS, result.arrays)
    files.write_json(
        folder / _RESULT,
        {"key": cell.key, "settings": cell.settings, "row": row, "arrays": sorted(result.arrays)},
    )
    progress.message(f"{label} done in {time.perf_counter() - start:.1f} s")
    return _several(row)


def _help(cell: Cell, run_cell: Callable[[Cell, Path], CellResult], folder: Path, progress: Progress) -> None:
    """Come, by the way that the leading process went, to the sums that all share, and no further."""
    with progress.inner(), suppress(HelpedError):
        run_cell(cell, folder)


def _without_damaged(compute: Callable[[], CellResult], out: Path, progress: Progress) -> CellResult:
    """The result of `compute`, which begins anew where a file of an earlier attempt turns out to be damaged."""
    while True:
        try:
            return compute()
        except files.DamagedError as error:
            if not error.path.is_relative_to(out):
                raise
            aside = files.put_aside(error.path)
            progress.warn(f"warning: {error.path} is damaged: {error.reason}; kept as {aside.name}, begun anew")


def _several(row: dict[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row] if isinstance(row, dict) else row


def _finished_rows(out: Path, cell: Cell, progress: Progress) -> list[dict[str, Any]] | None:
    """The rows of a finished cell, or None if it has to run."""
    folder = cell_folder(out, cell.key)
    try:
        result = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        complete = sorted(files.read_npz(folder / ARRAYS)) == result["arrays"]
        rows = _several(result["row"])
        if complete and result["key"] == cell.key and all(isinstance(row, dict) and row for row in rows):
            return rows
        reason = "entries are missing"
    except FileNotFoundError as error:
        if error.filename == str(folder / _RESULT):
            return None
        reason = f"{ARRAYS} is missing"
    except IsADirectoryError as error:
        reason = f"{Path(error.filename).name}: it is a folder"
    except NotADirectoryError as error:
        raise unusable(out, NotADirectoryError(f"{folder.relative_to(out)} is no folder")) from error
    except files.DamagedError as error:
        reason = f"{ARRAYS}: {error.reason}"
    except (ValueError, KeyError, TypeError):
        reason = f"{_RESULT} is damaged"
    progress.warn(f"warning: result of cell {cell.key} cannot be used ({reason}); it runs again")
    return None


# --- the summary -------------------------------------------------------------------------------------------------


def _write_summary(out: Path, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    """The table of the cells finished so far."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    meanings = {CELL_COLUMN: "key of the cell, and name of its folder below cells/", **columns}
    files.write_json(out / SUMMARY, rows)
    files.write_json(out / COLUMNS, {name: meanings.get(name) for name in names})
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_csv_field(row.get(name)) for name in names] for row in rows)
    files.write_text(out / TABLE, table.getvalue())


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
