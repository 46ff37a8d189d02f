"""The study `noisy-fisher`: what noise turns on and suppresses in the quantum Fisher information.

A cell a number of layers, since all its matrices, of all angles and strengths, are one compiled program (`cell.py`).
"""

from pathlib import Path

from qjaxsim.common.progress import Progress
from qjaxsim.common.words import counted
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.noisy_fisher.cell import RANDOM, run_cell
from qjaxsim.studies.noisy_fisher.claims import noisy_verdicts
from qjaxsim.studies.noisy_fisher.columns import COLUMNS
from qjaxsim.studies.noisy_fisher.figures import write_noisy_figures
from qjaxsim.studies.noisy_fisher.published import PAPER, comparison_rows
from qjaxsim.studies.noisy_fisher.settings import NoisyFisherSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(settings: NoisyFisherSettings, out: Path, progress: Progress) -> Prepared:
    def run(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        return run_cell(settings, cell.settings["layers"], progress)

    cells = [sweep.Cell(f"p{layers}", {"layers": layers}) for layers in settings.layers]
    return Prepared(settings, cells, run)


_INTRODUCTION = """Layers of exp(-i theta sum ZZ / 2) exp(-i phi sum X / 2) on a ring that begins in |+>, each ZZ as CX
RZ CX, with Pauli noise after every gate on each of its qubits. The quantum Fisher information matrix (QFIM) is that of
the noisy density matrix, by its symmetric logarithmic derivative, in the angles: at random angles, and at the minimum
of the energy - sum ZZ - sum X without noise that training from them leads to.

Controls: the noiseless state mixed with the identity until it is as pure as the noisy one, which multiplies the whole
matrix by a number; ranks at three tolerances and above a hundredth of the largest eigenvalue; and the Hessian of the
energy under the same noise, whose zeros at the minimum are those of the QFIM. Under the noise that point is no
stationary point, and what turns on there may be negative."""

_KEYS = ("layers", "point", "seed", "noise", "strength")
_TABLE = (
    "layers", "point", "noise", "strength", "purity", "rank", "rank_loose", "rank_coarse", "largest", "kept",
    "turned_on", "smallest", "hessian_rank", "hessian_min", "hessian_turned_on",
)  # fmt: skip


def _tables(settings: NoisyFisherSettings, rows: Rows) -> list[ReportTable]:
    """Of the first seed; the page has all."""
    first = [row for row in rows if row["seed"] == settings.seeds[0]]
    return [
        ReportTable(
            f"{'Random angles' if point == RANDOM else 'Minimum without noise'}, seed {settings.seeds[0]}",
            [row for row in first if row["point"] == point],
            columns=[name for name in _TABLE if name != "point" and (point != RANDOM or name[:7] != "hessian")],
            keys=("layers", "noise", "strength"),
        )
        for point in dict.fromkeys(row["point"] for row in rows)
    ]


STUDY = Study(
    name="noisy-fisher",
    settings=NoisyFisherSettings,
    title=lambda settings: f"Quantum Fisher information under noise on {counted(settings.qubits, 'qubit')}",
    introduction=_INTRODUCTION,
    source=PAPER,
    columns=COLUMNS,
    keys=_KEYS,
    headline=("rank",),
    models=None,  # angles are an array of each cell
    prepare=_prepare,
    claims=lambda settings, rows: noisy_verdicts(rows),
    comparison=comparison_rows,
    figures=lambda settings, rows, out: write_noisy_figures(rows, sweep.rows_arrays(out, rows), out / "figures"),
    tables=_tables,
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
    double=lambda settings: True,
)
