"""The study `overparametrisation`: does training set in where the quantum Fisher information's rank saturates?

For each problem a cell of ranks at random angles, then a cell for every number of angles and optimiser, in which all
starts are trained side by side (`cell.py`).
"""

from pathlib import Path

from qjaxsim.common.memory import require_states
from qjaxsim.common.progress import Progress
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.overparametrisation.cell import RANKS, TRAINING, run_cell, runs
from qjaxsim.studies.overparametrisation.claims import verdicts
from qjaxsim.studies.overparametrisation.columns import COLUMNS
from qjaxsim.studies.overparametrisation.figures import write_figures
from qjaxsim.studies.overparametrisation.published import PAPER, comparison_rows
from qjaxsim.studies.overparametrisation.settings import OverparametrisationSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import refuse_idle
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(settings: OverparametrisationSettings, out: Path, progress: Progress) -> Prepared:
    refuse_idle(settings)
    all_runs = {run.cell.key: run for run in runs(settings)}
    for run in all_runs.values():
        require_states(
            run.problem.width,
            settings.starts * (run.layers + 1),
            "float64",
            f"Training {run.problem.qubits} qubits with {settings.starts} starts side by side",
            "choose fewer `qubits` or `starts`, or smaller `ratios`",
        )

    def run_one(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        return run_cell(settings, all_runs[cell.key], out, progress)

    return Prepared(settings, [run.cell for run in all_runs.values()], run_one)


_INTRODUCTION = """Layers of exp(-i theta sum ZZ / 2) exp(-i phi sum X / 2) on |+> are trained to the ground state of
- sum ZZ - sum X, on a ring and on an open chain; layers of RY, RX and CZ on one half of entangled pairs to a random
unitary. The rank of the quantum Fisher information matrix (QFIM) counts the directions in which angles move the state.
It is taken at random angles, for every number of angles at once: the leading block of the matrix of a long circuit is
the matrix of its beginning.

The claim merges two thresholds: the number of angles at which the rank saturates, and the one from which on half of the
random starts succeed. Both are given here, with the share of starts at either, and for other optimisers. Starts that
fail may stand still in a false minimum or be on their way: the column stalled says how many do which. Just saturated a
QFIM is ill-conditioned, the column weakest, and gradients along its weakest directions small.

For the open chain the public code shifts one angle more in the derivative of the ZZ than there are ZZ, the first X of
the layer. That breaks the reflection of the chain, and its ranks are those of a larger space; here a control."""

_KEYS = ("problem", "qubits", "optimiser", "angles")
_RANK_TABLE = (
    "problem", "qubits", "rank", "angles_needed", "rank_strict", "rank_loose", "gap", "rank_slip", "rank_elsewhere",
    "algebra",
)  # fmt: skip
_TABLE = (
    "problem", "qubits", "optimiser", "angles", "rank_here", "weakest", "share", "share_tenth", "stalled", "reached",
    "cost", "hessian_rank",
)  # fmt: skip


def _tables(settings: OverparametrisationSettings, rows: Rows) -> list[ReportTable]:
    ranks, trained = ([row for row in rows if row["part"] == part] for part in (RANKS, TRAINING))
    return [
        ReportTable("Trainings", trained, columns=_TABLE, keys=_KEYS),
        ReportTable("Ranks at random angles", ranks, columns=_RANK_TABLE, keys=_KEYS[:2]),
    ]


STUDY = Study(
    name="overparametrisation",
    settings=OverparametrisationSettings,
    title=lambda settings: "Rank of the quantum Fisher information against trainability",
    introduction=_INTRODUCTION,
    source=PAPER,
    columns=COLUMNS,
    keys=_KEYS,
    headline=("share",),
    models=None,  # angles are an array of each cell
    prepare=_prepare,
    claims=lambda settings, rows: verdicts(rows),
    comparison=comparison_rows,
    figures=lambda settings, rows, out: write_figures(rows, sweep.rows_arrays(out, rows), out / "figures"),
    tables=_tables,
    page=_tables,
    double=lambda settings: True,
)
