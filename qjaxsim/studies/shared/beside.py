"""What a page says beyond its own results: how to use its models in Python, files to download, other runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qjaxsim.report.page import Link
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.recorded import NoResultsError, Recorded, read_recorded

if TYPE_CHECKING:
    from qjaxsim.studies.shared.study import Study

PAGE, COMPARISON_PAGE = "report.html", "compare.html"
BESIDE = (
    "Of the same study, in the folders beside this one when this page was written. `qjaxsim compare DIR DIR` sets them "
    "side by side."
)
# Of a folder with more runs the newest are linked, of a run with more cells the first.
_LINKED = 50


def usage(study: "Study", settings: Any, out: Path) -> str:
    """Lines of Python that predict with the first trained model of a results folder; none where it has no model.

    Args:
        study: its study.
        settings: of the study.
        out: the folder, named as it is given.
    """
    cells = read_recorded(out).cells
    for key, cell in cells.items():
        if study.models is not None and study.models.keeps(key, cell) and sweep.finished(out, key):
            folder = json.dumps(out.as_posix(), ensure_ascii=False)
            load = f'trained = qj.load_run({folder})["{key}"]'
            return f"import qjaxsim as qj\n\n{load}\n{study.models.example(settings, key)}"
    return ""


def downloads(out: Path) -> list[Link]:
    """The files of a finished run that hold its numbers: rows, settings, and the arrays of each cell."""
    found = [
        Link(sweep.TABLE, sweep.TABLE, "the rows, for spreadsheets"),
        Link(sweep.SUMMARY, sweep.SUMMARY, "the rows"),
        Link(sweep.COLUMNS, sweep.COLUMNS, "what the columns mean"),
        Link(sweep.CONFIG, sweep.CONFIG, "every setting, versions, device"),
    ]
    cells = [key for key in read_recorded(out).cells if sweep.finished(out, key)]
    for key in cells[:_LINKED]:
        path = f"{sweep.cell_folder(Path(), key).as_posix()}/{sweep.ARRAYS}"
        found.append(Link(path, path, "arrays for numpy.load"))
    return found


def runs_beside(out: Path, study: str) -> list[Link]:
    """Pages of the runs of a study in the folders beside `out`, the newest first."""
    found: list[tuple[Recorded, Link]] = []
    here = out.resolve()
    for folder in here.parent.iterdir():
        # Unlike a path's own method this is false, too, for what may not be looked at.
        if folder == here or not os.path.isfile(folder / PAGE):
            continue
        try:
            recorded = read_recorded(folder)
        except NoResultsError:
            continue
        if recorded.study == study:
            found.append((recorded, Link(f"../{folder.name}/{PAGE}", folder.name, changed_in_words(recorded.changed))))
    found.sort(key=lambda one: (one[0].began, one[1].text), reverse=True)
    return [link for _, link in found[:_LINKED]]


def changed_in_words(changed: Mapping[str, Any] | None) -> str:
    """The settings that a run was given, of an old version's run that they are not known.

    >>> changed_in_words({"epochs": 3, "layers": (1, 2), "landscape": ()})
    'epochs 3, layers 1,2, landscape none'
    >>> changed_in_words({}), changed_in_words(None)
    ('defaults', 'settings as in its config.json')
    """
    if changed is None:
        return "settings as in its config.json"
    return ", ".join(f"{name} {_words(value)}" for name, value in changed.items()) or "defaults"


def _words(value: Any) -> str:
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
