"""Runs of one study side by side: settings that differ, results row by row, a figure, a page."""

import os
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qjaxsim.report.headline import headline_column, is_number
from qjaxsim.report.page import Link, write_report
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.shared.beside import COMPARISON_PAGE, PAGE, changed_in_words
from qjaxsim.studies.shared.listing import first_table, state_of
from qjaxsim.studies.shared.run import Run
from qjaxsim.studies.shared.side_by_side_figure import MOST, write_figure

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class SideBySide:
    """Runs of one study, called A, B, ...; A is the one that others are compared with.

    Attributes:
        runs: letter -> run.
        keys: columns that tell configurations apart: the fewest of the study's that do in every run.
        headline: column of the figure and of the short table; None where no run has its numbers.
        results: a row for each configuration and number: the keys, "column", a value for each letter, and "B - A",
            "B / A" and so on, None where one is missing.
    """

    runs: dict[str, Run]
    keys: tuple[str, ...]
    headline: str | None
    results: Rows

    @property
    def overview(self) -> Rows:
        """A row a run: its letter, when it began, state, settings given, folder."""
        return [
            {
                "run": letter,
                "began": run.recorded.began.strftime("%Y-%m-%d %H:%M"),
                "state": state_of(run),
                "folder": str(run.folder),
                "changed": changed_in_words(run.recorded.changed),
            }
            for letter, run in self.runs.items()
        ]

    @property
    def settings(self) -> Rows:
        """A row for each setting that is not the same in all runs."""
        return _differing("setting", {letter: run.recorded.settings for letter, run in self.runs.items()})

    @property
    def versions(self) -> Rows:
        """The same of versions and device of the last start."""
        return _differing("version", {letter: run.recorded.versions for letter, run in self.runs.items()})

    @property
    def shared(self) -> Rows:
        """The results of configurations that at least two runs have."""
        return [row for row in self.results if sum(row[letter] is not None for letter in self.runs) > 1]

    @property
    def short(self) -> Rows:
        """The results of the headline column alone."""
        shown = (row for row in self.results if row["column"] == self.headline)
        return [{name: value for name, value in row.items() if name != "column"} for row in shown]


def side_by_side(runs: Sequence[Run]) -> SideBySide:
    """Runs of one study, matched row by row.

    Rows are those of the first table of each run's page. Two belong together if they agree in the columns `keys`; a
    study's column that is not needed to tell the rows of any run apart is no key, so that runs which differ in one
    setting everywhere are compared across it. Rows that agree in all keys are matched in their order.

    Args:
        runs: two or more, finished or not.

    Raises:
        ValueError: for fewer or more than can be told apart, runs of different studies, or damaged rows.
    """
    _check(runs)
    tables = [first_table(run) for run in runs]
    keys = _fewest_keys(tables, runs[0].record.keys)
    letters = string.ascii_uppercase[: len(runs)]
    placed = [dict(_places(rows, keys)) for rows in tables]
    results = []
    for place in dict.fromkeys(place for one in placed for place in one):
        own = {letter: one.get(place, {}) for letter, one in zip(letters, placed, strict=True)}
        configuration = dict(zip(keys, place, strict=False))
        results += [
            {**configuration, "column": column, **_compared({letter: row.get(column) for letter, row in own.items()})}
            for column in dict.fromkeys(name for row in own.values() for name in row)
            if column not in keys and any(is_number(row.get(column)) for row in own.values())
        ]
    headline = headline_column(runs[0].record.headline, [row for rows in tables for row in rows])
    return SideBySide(dict(zip(letters, runs, strict=True)), keys, headline, results)


def write_page(found: SideBySide, out: Path, command: str) -> Path:
    """The page of a comparison, with its figure and links to the pages of the runs.

    Args:
        found: the comparison.
        out: folder, created when missing; `compare.html` and `compare.png` are written into it.
        command: the command line, for the page.
    """
    first = next(iter(found.runs.values()))
    tables = [
        ReportTable("Runs", found.overview),
        ReportTable("Settings that differ", found.settings, "" if found.settings else "There are none."),
        ReportTable("Versions that differ", found.versions, "" if found.versions else "There are none."),
    ]
    differing = {row["setting"] for row in found.settings}
    common = {name: value for name, value in first.recorded.settings.items() if name not in differing}
    return write_report(
        out / COMPARISON_PAGE,
        title=f"Runs of the study {first.study} side by side",
        introduction=f"{_results_of(found)} {_INTRODUCTION}",
        settings=common,
        rows=found.short,
        columns=first.record.columns,
        command=command,
        versions=first.recorded.versions,
        tables=tables,
        figures=write_figure(found, out / "compare.png"),
        appendix=[ReportTable("All numbers of configurations that several runs have", found.shared)],
        links=list(_links(found, out)),
        links_note="The pages of these runs.",
        keys=found.keys,
    )


_INTRODUCTION = """Differences and ratios are to run A. A row compares what the runs have of one configuration; a
configuration is told by the columns before the numbers, the fewest that tell the rows of each run apart. Where only
some runs have it, the others show a dash.

Two runs that differ in a setting may differ by it, or by chance: look at the spread over seeds before reading a
difference."""


def _results_of(found: SideBySide) -> str:
    if found.headline is None:
        return "No run has numbers in a headline column."
    meaning = next(iter(found.runs.values())).record.columns.get(found.headline, "see its summary")
    return f"Results are of the column {found.headline}: {meaning}."


def _links(found: SideBySide, out: Path) -> Iterator[Link]:
    for letter, run in found.runs.items():
        page = run.folder / PAGE
        if page.is_file():
            href = Path(os.path.relpath(page.resolve(), out.resolve())).as_posix()
            # Without a dot in front a browser may take what stands before a colon for a protocol.
            yield Link(href if href.startswith(".") else f"./{href}", f"Run {letter}", str(run.folder))


def _check(runs: Sequence[Run]) -> None:
    if not 2 <= len(runs) <= MOST:
        raise ValueError(f"Argument `runs` must name 2 to {MOST} results folders, but names {len(runs)}.")
    folders = [run.folder.resolve() for run in runs]
    if len(set(folders)) < len(folders):
        raise ValueError("Argument `runs` must name each results folder once, but names one twice.")
    studies = list(dict.fromkeys(run.study for run in runs))
    if len(studies) > 1:
        raise ValueError(
            f"Argument `runs` must name results of one study, but names {' and '.join(studies)}, whose numbers are "
            f"different things."
        )


def _differing(what: str, values: dict[str, dict[str, Any]]) -> Rows:
    names = dict.fromkeys(name for one in values.values() for name in one)
    rows = [{what: name, **{letter: one.get(name) for letter, one in values.items()}} for name in names]
    return [row for row in rows if len({repr(row[letter]) for letter in values}) > 1]


def _fewest_keys(tables: Sequence[Rows], keys: Iterable[str]) -> tuple[str, ...]:
    """The keys that are needed to tell the rows of some run apart; the last are given up first."""
    kept = [name for name in keys if any(row.get(name) is not None for rows in tables for row in rows)]

    def distinct(names: Sequence[str]) -> list[int]:
        return [len({_place(row, names) for row in rows}) for rows in tables]

    for name in reversed(kept[:]):
        fewer = [one for one in kept if one != name]
        if distinct(fewer) == distinct(kept):
            kept = fewer
    return tuple(kept)


def _places(rows: Rows, keys: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Rows by their keys; of rows that share them the first, second, ... each have a place of their own."""
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        place = _place(row, keys)
        seen[place] = seen.get(place, 0) + 1
        yield (*place, seen[place]), row


def _place(row: dict[str, Any], keys: Sequence[str]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in (row.get(name) for name in keys))


def _compared(values: dict[str, Any]) -> dict[str, Any]:
    """Values by letter, then what each has over the first and times the first."""
    numbers: dict[str, Any] = {letter: value if is_number(value) else None for letter, value in values.items()}
    (first, base), *others = numbers.items()
    found = dict(numbers)
    for letter, value in others:
        both = base is not None and value is not None
        found[f"{letter} - {first}"] = value - base if both else None
        found[f"{letter} / {first}"] = value / base if both and base else None
    return found
