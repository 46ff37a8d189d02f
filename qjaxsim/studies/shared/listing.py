"""Results folders below some folders, a line each: study, time, settings given, headline number, state."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qjaxsim.common.words import counted
from qjaxsim.report.headline import headline_of
from qjaxsim.studies.shared import results_folder
from qjaxsim.studies.shared.beside import COMPARISON_PAGE
from qjaxsim.studies.shared.recorded import NoResultsError
from qjaxsim.studies.shared.run import Run

# Folders of runs are runs/STUDY/TIME; deeper ones than this are not looked for.
_DEPTH = 3
# Files of comparisons and of benchmarks, which are no runs of a study, and nothing damaged.
_OTHER_RESULTS = (COMPARISON_PAGE, "settings.json", "bench.json")


class Listed(NamedTuple):
    """The runs that were found, and what was passed over.

    Attributes:
        rows: one a run: study, began (ISO, local time), changed (settings given, None if not known), headline
            (`qjaxsim.report.headline.Headline` or None), state, path, cells and finished (how many).
        others: path and reason of folders that are no results of a study, or damaged.
    """

    rows: list[dict[str, Any]]
    others: list[dict[str, str]]


def list_runs(folders: Sequence[Path]) -> Listed:
    """All runs in some folders and below, the newest first.

    Raises:
        ValueError: if one of `folders` is none.
    """
    found = Listed([], [])
    places: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"Argument `folders` must name folders, but {folder} is none.")
        # A folder that links lead to as well is one run, called as it is without them.
        for place in sorted(_candidates(folder, _DEPTH), key=lambda place: _by_links(place, folder)):
            places.setdefault(place.resolve(), place)
    for place in places.values():
        try:
            found.rows.append(_row(Run(place)))
        except NoResultsError as error:
            found.others.append({"path": str(place), "reason": error.reason})
    found.rows.sort(key=lambda row: (row["began"], row["path"]), reverse=True)
    return found


def first_table(run: Run) -> list[dict[str, Any]]:
    """Rows of the first table of a run's page, of the cells finished so far.

    Raises:
        ValueError: if the rows are damaged.
    """
    try:
        return [dict(row) for row in run.record.page(run.settings, run.rows)[0].rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise NoResultsError(run.folder, f"its rows are damaged ({error!r})") from error


def state_of(run: Run) -> str:
    """Finished, running or interrupted, the latter two with the finished cells."""
    done, all_cells = len(run.finished), len(run.cells)
    if done == all_cells:
        return "finished"
    now = "running" if results_folder.in_use(run.folder) else "interrupted"
    return f"{now}: {done} of {counted(all_cells, 'cell')}"


def _by_links(place: Path, folder: Path) -> bool:
    return any(path.is_symlink() for path in (place, *place.parents) if path.is_relative_to(folder) and path != folder)


def _candidates(folder: Path, depth: int) -> Iterator[Path]:
    """Results folders, and folders that hold files but neither a study, nor other results, nor folders."""
    # Also where it is no file, which is told.
    if os.path.lexists(folder / results_folder.CONFIG):
        yield folder
        return
    if any(os.path.isfile(folder / name) for name in _OTHER_RESULTS):
        return
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        inside = []
    below = [path for path in inside if path.is_dir()] if depth else []
    if not below and inside:
        yield folder
    for path in below:
        yield from _candidates(path, depth - 1)


def _row(run: Run) -> dict[str, Any]:
    return {
        "study": run.study,
        "began": run.recorded.began.isoformat(timespec="seconds"),
        "changed": run.recorded.changed,
        "headline": headline_of(run.record.headline, first_table(run)),
        "state": state_of(run),
        "path": str(run.folder),
        "cells": len(run.cells),
        "finished": len(run.finished),
    }
