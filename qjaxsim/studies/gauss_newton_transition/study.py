"""The study `gauss-newton-transition`: which part of H = G + R carries the dynamics at the end of gradient descent.

A cell a circuit and learning rate: descents to all targets side by side, then the exact split of the Hessian at each
end.
"""

from pathlib import Path

from qjaxsim.common.progress import Progress
from qjaxsim.report.row import Row
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.gauss_newton_transition.cell import run_cell
from qjaxsim.studies.gauss_newton_transition.claims import PAPER, controls, transition_verdicts
from qjaxsim.studies.gauss_newton_transition.columns import COLUMNS
from qjaxsim.studies.gauss_newton_transition.figures import write_transition_figures
from qjaxsim.studies.gauss_newton_transition.published import comparison_rows
from qjaxsim.studies.gauss_newton_transition.settings import TransitionSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(settings: TransitionSettings, out: Path, progress: Progress) -> Prepared:
    first = (settings.angles[0], settings.learning_rates[0])
    cells = [
        sweep.Cell(f"angles{angles}-rate{rate}-s{seed}", {"seed": seed, "angles": angles, "learning_rate": rate})
        for angles, rate in [first, *controls(settings)]
        for seed in settings.seeds
    ]
    return Prepared(settings, cells, lambda cell, folder: run_cell(settings, progress, **cell.settings))


def _of_study(settings: TransitionSettings, rows: Rows) -> Rows:
    """Rows that are no controls."""
    first = (settings.angles[0], settings.learning_rates[0])
    return [row for row in rows if (row["angles"], row["learning_rate"]) == first]


def _figures(settings: TransitionSettings, rows: Rows, out: Path) -> list:
    own = _of_study(settings, rows)
    return write_transition_figures(own, sweep.rows_arrays(out, own), out / "figures")


_INTRODUCTION = """Gradient descent on (<O> - O0)^2 / 2 for the open XXZ chain O = -sum(XX + YY + 2 ZZ) - 2 sum Z,
with rotations about random Pauli strings between fixed Haar-random unitaries, to targets O0 above, at and below the
least value O_min that O has. The Hessian at the end is split exactly: G = (gradient of <O>) (gradient of <O>)^T, and
R = (<O> - O0) (Hessian of <O>). Above O_min the target is reached, so that R is zero; below it <O> ends at its
minimum, where its gradient and with it G are zero; at O_min both vanish, and with them the gap that makes convergence
exponential.

Controls: other circuits and first angles; another learning rate; fewer angles, some of them fewer than the dimension
of the states. The numbers set beside ours are of one random circuit of an independent program, so that only their
order of magnitude can be compared, and the number of eigenvalues."""

_KEYS = ("angles", "learning_rate", "seed", "target")
_TABLE = (
    "error", "hessian_max", "gauss_newton_max", "residual_max", "residual_share", "gauss_newton_rank", "residual_rank",
    "slowest", "rate", "exponent", "decay",
)  # fmt: skip


def _tables(settings: TransitionSettings, rows: Rows) -> list[ReportTable]:
    own: list[Row] = [*_of_study(settings, rows)]
    return [ReportTable("Ends of gradient descent", own, columns=(*_KEYS, *_TABLE), keys=_KEYS)]


STUDY = Study(
    name="gauss-newton-transition",
    settings=TransitionSettings,
    title=lambda settings: "From the Gauss-Newton part to the residual part of the Hessian",
    introduction=_INTRODUCTION,
    source=f"an independent program, for {PAPER}",
    columns=COLUMNS,
    keys=_KEYS,
    headline=("hessian_max",),
    models=None,  # nothing that predicts
    prepare=_prepare,
    claims=transition_verdicts,
    comparison=comparison_rows,
    figures=_figures,
    tables=_tables,
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
    double=lambda settings: True,
)
