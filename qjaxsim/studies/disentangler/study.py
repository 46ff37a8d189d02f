"""The study `disentangler`: layers as matrix product operators between disentangling circuits (arXiv:2410.17397).

A character transformer is trained, or a weight matrix read from a file. Its layers are compressed at every bond and
with every circuit of a grid, beside matrices of low rank and plain MPOs of as many numbers; Gaussian noise goes through
the same. Then the model is rebuilt with the results, healed or not.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.studies.disentangler.cell import FileStudy, ModelStudy, Study
from qjaxsim.studies.disentangler.claims import disentangler_verdicts
from qjaxsim.studies.disentangler.columns import COLUMNS
from qjaxsim.studies.disentangler.published import comparison_rows
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.shared import sweep

STUDY = "disentangler"


def run_disentangler_study(
    settings: DisentanglerStudySettings,
    out: Path,
    *,
    loaded: LoadedMatrix | None = None,
    inputs: np.ndarray | None = None,
    text: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> list[dict[str, Any]]:
    """Run the sweep, write its results folder, figures and report.

    Args:
        settings: what to run.
        out: results folder; see `qjaxsim.studies.shared.sweep` for what is in it. The trained weights are the arrays
            of the cells "sSEED-train".
        loaded: a matrix instead of the built-in model; there is no part "model" then.
        inputs: what the loaded matrix receives, (N, in); for its activation error.
        text: what the built-in model learns; default the language reference that ships with Python.
        resume: go on with the study that `out` holds.
        progress: bars; None makes them on standard error.
        command: the command line, for the report.

    Returns:
        Rows, columns as in `COLUMNS`.

    Raises:
        ValueError: for settings that do not fit each other, the matrix or the text, or an unusable folder; before any
            work.
        FileNotFoundError: for a text that is not there.
    """
    progress = progress or Progress()
    study = FileStudy(settings, out, progress, loaded, inputs) if loaded else ModelStudy(settings, out, progress, text)
    rows = sweep.run_sweep(
        STUDY,
        {**asdict(study.settings), **study.recorded()},
        [sweep.Cell(key, {}) for key in study.cells],
        lambda cell, folder: study.cells[cell.key](folder),
        out,
        columns=COLUMNS,
        resume=resume,
        progress=progress,
    )
    _write_report(study, rows, command)
    return rows


_INTRODUCTION = """A layer's matrix is written as two circuits of small gates around a matrix product operator, so that
the operator can be cut to a small bond. Every row gives the operator's numbers (classical), the circuits' angles
(circuit) and both together: the circuits are stored on a quantum processor or simulated, but never free to describe.

Read each disentangled row beside the rows of as many numbers: a matrix of low rank (svd) and plain operators without
circuits (mpo), on qubits with the sides padded and on few unpadded sites. Gaussian noise has no structure to
disentangle, so what it reaches with the same circuits is what circuits do to any matrix. Removing the layer (zero) is
the scale of every change of perplexity. The break-even price says what an angle may cost for the circuits to pay.

No time is compared: running such a layer on a quantum computer takes state preparation and estimation of amplitudes for
every token."""


def _write_report(study: Study, rows: list[dict[str, Any]], command: str) -> None:
    from qjaxsim.report.page import write_report
    from qjaxsim.studies.disentangler.figures import layer_tables, model_table, write_disentangler_figures

    tables = layer_tables(rows)
    write_report(
        study.out / "report.html",
        title="Tensor-network disentanglers",
        introduction=_INTRODUCTION,
        settings={**asdict(study.settings), **study.recorded()},
        # The model first where there is one; the grid has hundreds of rows and a table a layer.
        rows=model_table(rows) or tables.pop(0).rows,
        columns=COLUMNS,
        command=command or "qjaxsim study disentangler",
        versions=sweep.environment(),
        verdicts=[verdict._asdict() for verdict in disentangler_verdicts(rows)],
        comparison=comparison_rows(rows),
        tables=tables,
        figures=write_disentangler_figures(rows, study.out / "figures"),
        keys=("layer", "method", "chi", "gate_qubits", "depth"),
    )
