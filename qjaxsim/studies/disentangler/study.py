"""The study `disentangler`: layers as matrix product operators between disentangling circuits (arXiv:2410.17397).

A character transformer is trained, or a published encoder of sentences or one weight matrix is read. Layers are
compressed at every bond and with every circuit of a grid, beside matrices of low rank and plain MPOs of as many
numbers; Gaussian noise goes through the same. Then the model is rebuilt with the results, healed or not.
"""

from pathlib import Path

import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.datasets.weights import LoadedMatrix
from qjaxsim.report.tables import ReportTable, present
from qjaxsim.studies.disentangler.cell import FileCells, LayerCells, ModelCells
from qjaxsim.studies.disentangler.claims import disentangler_verdicts
from qjaxsim.studies.disentangler.columns import COLUMNS
from qjaxsim.studies.disentangler.encoder_cell import EncoderCells
from qjaxsim.studies.disentangler.figures import (
    layer_tables,
    model_table,
    profile_layer,
    write_disentangler_figures,
)
from qjaxsim.studies.disentangler.published import PAPER, comparison_rows
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.disentangler.trained import MODELS
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(
    settings: DisentanglerStudySettings,
    out: Path,
    progress: Progress,
    *,
    loaded: LoadedMatrix | None = None,
    inputs: np.ndarray | None = None,
    text: Path | None = None,
    encoder: Path | None = None,
) -> Prepared:
    """Cells of one matrix, of an encoder, or of the built-in model, whose weights are the arrays of "sSEED-train".

    Args:
        settings: what to run.
        out: results folder.
        progress: bars.
        loaded: a matrix instead of the built-in model; there is no part "model" then.
        inputs: what the loaded matrix receives, (N, in); for its activation error.
        text: what the built-in model learns, or sentences for an encoder; default the language reference that ships
            with Python.
        encoder: folder of a published encoder of sentences instead of the built-in model.
    """
    cells: LayerCells
    if loaded and encoder:
        raise ValueError("Argument `encoder` must be left out with `loaded`, which is a matrix without a model.")
    if loaded:
        cells = FileCells(settings, out, progress, loaded, inputs)
    elif encoder:
        cells = EncoderCells(settings, out, progress, encoder, text)
    else:
        cells = ModelCells(settings, out, progress, text)
    return Prepared(
        cells.settings,
        [sweep.Cell(key, {}) for key in cells.cells],
        lambda cell, folder: cells.cells[cell.key](folder),
        cells.recorded(),
    )


_INTRODUCTION = """A layer's matrix is written as two circuits of small gates around a matrix product operator, so that
the operator can be cut to a small bond. Every row gives the operator's numbers (classical), the circuits' angles
(circuit) and both together: the circuits are stored on a quantum processor or simulated, but never free to describe.

Read each disentangled row beside the rows of as many numbers: a matrix of low rank (svd) and plain operators without
circuits (mpo), on qubits with the sides padded and on few unpadded sites. Gaussian noise has no structure to
disentangle, so what it reaches with the same circuits is what circuits do to any matrix. Removing the layer (zero) is
the scale of everything that the model loses. The break-even price says what an angle may cost for the circuits to pay.

No time is compared: running such a layer on a quantum computer takes state preparation and estimation of amplitudes for
every token."""


_KEYS = ("layer", "source", "method", "chi", "gate_qubits", "depth")
_MODEL = (
    "layer", "method", "chi", "gate_qubits", "depth", "classical", "circuit", "total", "size", "perplexity",
    "perplexity_change", "accuracy", "perplexity_bond", "accuracy_bond", "perplexity_circuits", "accuracy_circuits",
    "distance", "agreement", "distance_bond", "agreement_bond", "distance_circuits", "agreement_circuits",
)  # fmt: skip
_LAYER = (
    "source", "method", "chi", "gate_qubits", "depth", "rank", "classical", "circuit", "total", "size", "error",
    "activation_error", "merit", "bound", "entropy_before", "entropy", "break_even_dense", "break_even_svd",
    "perplexity_change", "accuracy", "distance", "agreement", "cnots", "cnot_depth", "unitary_deviation",
)  # fmt: skip
_SHOTS = ("layer", "source", "chi", "gate_qubits", "depth", "shots", "shot_error")


def _tables(settings: DisentanglerStudySettings, rows: Rows) -> list[ReportTable]:
    """Of hundreds of rows for a whole model the layer that the profile is of, in full; the others are in the files."""
    profile = profile_layer(rows)
    found = []
    for part, title in (("layers", "Layer"), ("bond", "Circuits as wide as the registers"), ("depth", "Depth")):
        if shown := [row for row in rows if row["part"] == part and row["layer"] == profile]:
            found.append(ReportTable(f"{title}: {profile}", shown, columns=present(_LAYER, shown), keys=_KEYS))
    if shown := [row for row in rows if row["part"] == "shots"]:
        found.append(ReportTable(f"Shots: {profile}", shown, columns=_SHOTS, keys=("layer", "source", "chi")))
    if table := model_table(rows):
        found.append(ReportTable("The model rebuilt", table, columns=present(_MODEL, table), keys=_KEYS))
    return found


def _page(settings: DisentanglerStudySettings, rows: Rows) -> list[ReportTable]:
    """The model first where there is one; the grid has hundreds of rows and a table a layer."""
    if not rows:
        return [ReportTable("Results", [])]
    tables = layer_tables(rows)
    first = model_table(rows) or tables.pop(0).rows
    return [ReportTable("Results", first, keys=("layer", "method", "chi", "gate_qubits", "depth")), *tables]


STUDY = Study(
    name="disentangler",
    settings=DisentanglerStudySettings,
    title=lambda settings: "Tensor-network disentanglers",
    introduction=_INTRODUCTION,
    source=f"{PAPER} and others",
    columns=COLUMNS,
    keys=_KEYS,
    headline=("perplexity", "distance", "error"),
    models=MODELS,
    prepare=_prepare,
    claims=lambda settings, rows: disentangler_verdicts(rows),
    comparison=lambda settings, rows: comparison_rows(rows),
    figures=lambda settings, rows, out: write_disentangler_figures(rows, out / "figures"),
    tables=_tables,
    page=_page,
)
