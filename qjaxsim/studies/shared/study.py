"""A study as one record, and the one way to run it: cells, table, verdicts, comparison, figures, page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.common.environment import environment
from qjaxsim.common.hosts import team
from qjaxsim.common.progress import Progress
from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.headline import facts_of, headline_of
from qjaxsim.report.page import write_report
from qjaxsim.report.row import Row
from qjaxsim.report.tables import ReportTable
from qjaxsim.report.verdict import Verdict, verdict_rows
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.beside import BESIDE, downloads, runs_beside, usage
from qjaxsim.studies.shared.recorded import now
from qjaxsim.studies.shared.sharpness import sharpness_figures
from qjaxsim.studies.shared.trained import ModelReader

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Prepared:
    """What a study is about to compute, all of it checked.

    Attributes:
        settings: with every default filled in.
        cells: the grid, in the order of the summary.
        run: maps a cell and its folder to its result.
        recorded: what decides the results beside the settings, as JSON values.
        done: called when all cells are finished.
    """

    settings: Any
    cells: Sequence[sweep.Cell]
    run: Callable[[sweep.Cell, Path], sweep.CellResult]
    recorded: Mapping[str, Any] = field(default_factory=dict)
    done: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Study:
    """All that tells one study from another.

    Attributes:
        name: as the command has it.
        settings: class of its settings.
        title: of the page, from settings.
        introduction: of the page; empty lines separate paragraphs.
        source: where the numbers of `comparison` were published.
        columns: column -> meaning and unit.
        keys: columns that tell the rows of its first table apart, the most important first.
        headline: columns of that table that matter most; the first that rows have is the run's number in lists and on
            its page.
        models: how its trained models are read; None where it keeps none.
        prepare: maps (settings, out, progress) and the sources of `run_study` to what will be computed. Refuses, before
            any work, what cannot be.
        claims: from settings and rows to verdicts on published claims.
        comparison: from settings and rows to published numbers beside ours.
        figures: from settings, rows and results folder to the figures of the page, written.
        tables: from settings and rows to the tables that the command prints.
        page: the same for the page, results first; default one table of all rows.
        double: whether settings ask for double precision.
        by_samples: whether processes that are left over may share the samples of a cell's Hessian: what comes before
            it is kept in the cell's folder, so that they need not do it again.
    """

    name: str
    settings: type
    title: Callable[[Any], str]
    introduction: str
    source: str
    columns: Mapping[str, str]
    keys: Sequence[str]
    headline: Sequence[str]
    models: ModelReader | None
    prepare: Callable[..., Prepared]
    claims: Callable[[Any, Rows], list[Verdict]]
    comparison: Callable[[Any, Rows], Sequence[Row]]
    figures: Callable[[Any, Rows, Path], list[ReportFigure]]
    tables: Callable[[Any, Rows], list[ReportTable]]
    page: Callable[[Any, Rows], list[ReportTable]] = lambda settings, rows: [ReportTable("Results", rows)]
    double: Callable[[Any], bool] = lambda settings: False
    by_samples: bool = False


class Results(NamedTuple):
    """What a study found.

    Attributes:
        settings: with every default filled in.
        rows: its table.
        verdicts: on published claims.
        comparison: published numbers beside ours.
    """

    settings: Any
    rows: Rows
    verdicts: list[Verdict]
    comparison: Sequence[Row]


def run_study(
    study: Study,
    settings: Any,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
    **sources: Any,
) -> Results:
    """Run a study's cells, write its results folder, figures and report.

    Args:
        study: which.
        settings: what to run.
        out: results folder; see `qjaxsim.studies.shared.sweep` for what is in it. Figures go to `figures`, the page to
            `report.html`.
        resume: go on with the study that `out` holds, also within a cell.
        progress: bars; None makes them on standard error.
        command: the command line, for the report.
        sources: where data come from, by the names that the study has for them: `data_dir` with prepared data sets,
            None for TFDS's place; for the study of layers `loaded`, `inputs` and `text`.

    Returns:
        Rows, columns as in `study.columns`, and what they say of published claims and numbers.

    Raises:
        ValueError: for settings that do not fit the data or each other, or an unusable folder; before any work.
        MemoryError: if it does not fit in memory; before any work.
        qjaxsim.datasets.DatasetNotFoundError: if a data set is not at hand.
    """
    if study.double(settings) and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise ValueError(
            "Argument `settings` asks for double precision ('float64'), which needs JAX's x64 mode; set "
            "JAX_ENABLE_X64=1 or choose 'float32'."
        )
    progress = progress or Progress()
    work = study.prepare(settings, out, progress, **sources)
    recorded = {**asdict(work.settings), **work.recorded}
    rows = sweep.run_sweep(
        study.name,
        recorded,
        work.cells,
        work.run,
        out,
        columns=study.columns,
        resume=resume,
        progress=progress,
        by_samples=study.by_samples,
        notes={"began": now(), "changed": changed_settings(settings)},
    )
    work.done()
    found = Results(work.settings, rows, study.claims(work.settings, rows), study.comparison(work.settings, rows))
    if team.leads:
        _write_page(study, found, recorded, out, command)
    return found


def changed_settings(settings: Any) -> dict[str, Any]:
    """Settings that are not their defaults, by name."""
    values = ((field, getattr(settings, field.name)) for field in fields(settings))
    return {field.name: value for field, value in values if value != field.default}


def _write_page(study: Study, found: Results, recorded: Mapping[str, Any], out: Path, command: str) -> None:
    first, *more = study.page(found.settings, found.rows)
    write_report(
        out / "report.html",
        title=study.title(found.settings),
        introduction=study.introduction,
        settings=recorded,
        rows=first.rows,
        columns=study.columns,
        command=command or f"qjaxsim study {study.name}",
        versions=environment(),
        headline=facts_of(headline_of(study.headline, first.rows), study.columns),
        verdicts=verdict_rows(found.verdicts),
        comparison=found.comparison,
        tables=more,
        figures=[*study.figures(found.settings, found.rows, out), *sharpness_figures(found.rows, out)],
        keys=first.keys,
        usage=usage(study, found.settings, out),
        downloads=downloads(out),
        links=runs_beside(out, study.name),
        links_note=BESIDE,
    )
