"""The study `lie-variance`: whether the variance over random angles is that of the group that the gates generate.

A cell a circuit, number of qubits and seed: draws of an expectation value at every depth.
"""

from pathlib import Path

from qjaxsim.common.progress import Progress
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.lie_variance.cell import run_cell
from qjaxsim.studies.lie_variance.claims import PAPER, variance_verdicts
from qjaxsim.studies.lie_variance.columns import COLUMNS
from qjaxsim.studies.lie_variance.figures import write_variance_figures
from qjaxsim.studies.lie_variance.published import comparison_rows
from qjaxsim.studies.lie_variance.settings import LieVarianceSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(settings: LieVarianceSettings, out: Path, progress: Progress) -> Prepared:
    cells = [
        sweep.Cell(f"{circuit}-n{qubits}-s{seed}", {"circuit": circuit, "qubits": qubits, "seed": seed})
        for circuit in settings.circuits
        for qubits in settings.qubits
        for seed in settings.seeds
    ]
    return Prepared(settings, cells, lambda cell, folder: run_cell(settings, progress, **cell.settings))


_INTRODUCTION = """Angles of a deep circuit drawn at random make its unitary a random element of the group that its
gates generate. The variance of an expectation value over that group is P_g(rho) P_g(O) / dim g, with g the Lie
algebra of the generators, and P_g the squared norm of the part in g of the state or of the observable, one of which
must lie in g. RX and RZZ on an open chain generate so(2n), of n (2n - 1) dimensions, which makes it 1 / (2n - 1) for
<X_0> and the start |+>.

Controls: depth, since only deep circuits are as good as random elements; RZ gates as well, with which the algebra is
all of su(2^n), of 4^n - 1 dimensions, and the variance 1 / (2^n + 1); and standard errors, which say what the number
of draws can tell."""

_KEYS = ("circuit", "qubits", "depth", "seed")
_TABLE = ("variance", "variance_error", "predicted", "deviation", "mean", "dimension")


def _deepest(rows: Rows) -> Rows:
    deepest = max(row["depth"] for row in rows)
    return [row for row in rows if row["depth"] == deepest]


STUDY = Study(
    name="lie-variance",
    settings=LieVarianceSettings,
    title=lambda settings: "Variance over random angles and the Lie algebra of the gates",
    introduction=_INTRODUCTION,
    source=f"an independent program, for {PAPER}",
    columns=COLUMNS,
    keys=_KEYS,
    headline=("variance",),
    models=None,  # nothing is trained
    prepare=_prepare,
    claims=lambda settings, rows: variance_verdicts(rows),
    comparison=lambda settings, rows: comparison_rows(rows),
    figures=lambda settings, rows, out: write_variance_figures(rows, sweep.rows_arrays(out, rows), out / "figures"),
    tables=lambda settings, rows: [
        ReportTable("Variances at the largest depth", _deepest(rows), columns=(*_KEYS, *_TABLE), keys=_KEYS)
    ],
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
)
