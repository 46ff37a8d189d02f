"""A results folder opened again: its settings, its rows, and the trained model of every cell that has one."""

import inspect
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from qjaxsim.common.checks import as_path
from qjaxsim.common.files import DamagedError
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.common.words import counted
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.catalogue import find_study
from qjaxsim.studies.shared.recorded import NoResultsError, read_recorded
from qjaxsim.studies.shared.trained import TrainedModel

# Cells that a message or the representation names.
_NAMED, _SHOWN = 8, 20


class Run:
    """One run of a study, finished or not; iterating goes through the cells whose trained models can be read.

    Attributes:
        folder: the results folder.
        record: the study's `qjaxsim.studies.shared.study.Study`.
        settings: of the study, with every default filled in.
        recorded: `qjaxsim.studies.shared.recorded.Recorded`, among it what decided the results beside the settings.
        cells: keys of all cells, in the order of the summary.
    """

    def __init__(self, folder: str | Path):
        self.folder = as_path("folder", folder)
        self.recorded = read_recorded(self.folder)
        try:
            self.record = find_study(self.recorded.study)
        except ValueError as error:
            raise NoResultsError(self.folder, f"this version has no study {self.recorded.study!r}") from error
        known = {field.name for field in fields(self.record.settings)}
        given = {name: value for name, value in self.recorded.settings.items() if name in known}
        try:
            self.settings: Any = self.record.settings(**given)
        except (TypeError, ValueError) as error:
            raise NoResultsError(
                self.folder, f"this version does not take its settings: {str(error).rstrip('.')}"
            ) from error
        self.cells: tuple[str, ...] = tuple(self.recorded.cells)

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.recorded.study

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the finished cells, as `summary.json` has them; where it is missing, as the cells have them.

        Raises:
            ValueError: if they are damaged.
        """
        try:
            rows = json.loads((self.folder / sweep.SUMMARY).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self._rows_of_cells()
        except (OSError, ValueError, RecursionError) as error:
            raise NoResultsError(self.folder, f"its {sweep.SUMMARY} is damaged ({error})") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise NoResultsError(self.folder, f"its {sweep.SUMMARY} holds no rows")
        return rows

    def _rows_of_cells(self) -> list[dict[str, Any]]:
        try:
            rows = [(key, row) for key in self.finished for row in sweep.read_rows(self.folder, key)]
            return [{sweep.CELL_COLUMN: key, **row} for key, row in rows]
        except (OSError, TypeError, DamagedError) as error:
            raise NoResultsError(self.folder, f"it has no {sweep.SUMMARY}, and its cells' rows are damaged") from error

    @property
    def finished(self) -> tuple[str, ...]:
        """Keys of the finished cells."""
        return tuple(key for key in self.cells if sweep.finished(self.folder, key))

    def __iter__(self) -> Iterator[str]:
        return (key for key in self.finished if self._keeps(key))

    def __getitem__(self, key: str) -> TrainedModel:
        """See `cell`."""
        return self.cell(key)

    def cell(self, key: str | None = None, **choices: Any) -> TrainedModel:
        """The trained model of one finished cell.

        Args:
            key: of the cell; None for the first that has a model.
            choices: what the study lets choose: `data_dir` with prepared data sets for those on images; `seed` where a
                cell trains several; `chi` and `text` for `disentangler`.

        Raises:
            ValueError: if there is no such finished cell with a trained model, naming those that are, if no cell of the
                study keeps one, or for a choice that the cell does not have.
            TypeError: for a choice that the study does not have.
            qjaxsim.datasets.DatasetNotFoundError: if a data set is not at hand.
        """
        key, models = self._chosen(key), self.record.models
        assert models is not None  # there is a cell that keeps one
        known = [one.name for one in inspect.signature(models.read).parameters.values() if one.kind is one.KEYWORD_ONLY]
        for name in choices:
            if name not in known:
                raise TypeError(
                    f"Argument `{name}` is none of the choices {known} of the study {self.study!r}"
                    f"{did_you_mean(name, known)}."
                )
        return models.read(self, key, **choices)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens the folder anew: records of studies hold functions, which have no pickle."""
        return Run, (self.folder,)

    def _chosen(self, key: str | None) -> str:
        there = list(self)
        if key is None and there:
            return there[0]
        if key in there:
            return str(key)
        if not any(map(self._keeps, self.cells)):
            raise ValueError(
                f"Argument `folder` must be a run whose cells keep trained models, but none of {self.folder}, of the "
                f"study {self.study!r}, does; its numbers are `run.rows`."
            )
        what = f"a finished cell of {self.folder} with a trained model ({_listed(there)})"
        if key is None:
            raise ValueError(f"Argument `cell` must be {what}: {len(self.finished)} of {len(self.cells)} are finished.")
        if key not in self.cells:
            raise ValueError(f"Argument `cell` must be {what}, but is {key!r}{did_you_mean(key, there)}.")
        reason = "is not finished" if self._keeps(key) else "keeps no trained model"
        raise ValueError(f"Argument `cell` must be {what}, but {key!r} {reason}.")

    def _keeps(self, key: str) -> bool:
        models = self.record.models
        return models is not None and models.keeps(key, self.recorded.cells[key])

    def __repr__(self) -> str:
        from rich.console import Console

        from qjaxsim.report.tables import print_table

        done = set(self.finished)
        rows = [
            {
                "cell": key,
                "state": "finished" if key in done else "not finished",
                "trained model": ("yes" if key in done else "not yet") if self._keeps(key) else "none",
            }
            for key in self.cells[:_SHOWN]
        ]
        text = io.StringIO()
        print_table(rows, console=Console(file=text, width=1000), keys=())
        more = f"\n... and {len(self.cells) - _SHOWN} more" * (len(self.cells) > _SHOWN)
        cells = counted(len(self.cells), "cell")
        title = f"Run of the study {self.study!r} in {self.folder}: {len(done)} of {cells} finished"
        lines = (line.rstrip() for line in text.getvalue().rstrip().splitlines())
        return "\n".join([title, *lines]) + more


def load_run(folder: str | Path) -> Run:
    """A run of any study, from its results folder: settings, rows and trained models.

    Args:
        folder: as `--out` of `qjaxsim study`, finished or not; by default these are `runs/STUDY/TIME`.

    Raises:
        ValueError: if it is no results folder, is damaged, or is of a newer version.

    Cost: reads one small file; models are read when they are asked for. No pickled data are read.

    >>> try:
    ...     load_run("elsewhere")
    ... except ValueError as error:
    ...     print(error)
    Argument `folder` must be a results folder of a study, but elsewhere holds none (config.json: there is none).
    """
    return Run(folder)


def _listed(keys: Sequence[str]) -> str:
    if not keys:
        return "there is none yet"
    more = f" and {len(keys) - _NAMED} more" * (len(keys) > _NAMED)
    return ", ".join(keys[:_NAMED]) + more
