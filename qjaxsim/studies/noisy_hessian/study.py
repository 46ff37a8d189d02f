"""The study `noisy-hessian`: at which noise and how many shots outliers and negative eigenvalues drown.

A cell a seed: a classifier of four qubits is trained without noise, then its Hessian is taken exactly under noise of
every strength, from density matrices, and the energy's by the parameter-shift rule with the errors that shots give.
"""

from pathlib import Path

from qjaxsim.common.progress import Progress
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.noisy_hessian.cell import run_cell
from qjaxsim.studies.noisy_hessian.claims import noisy_verdicts
from qjaxsim.studies.noisy_hessian.columns import COLUMNS
from qjaxsim.studies.noisy_hessian.examples import load_features
from qjaxsim.studies.noisy_hessian.figures import write_noisy_figures
from qjaxsim.studies.noisy_hessian.settings import NoisyHessianSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import Prepared, Study


def _prepare(
    settings: NoisyHessianSettings, out: Path, progress: Progress, *, data_dir: Path | None = None
) -> Prepared:
    data = load_features(settings, data_dir)

    def run(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        return run_cell(settings, cell.settings["seed"], data, folder, progress)

    cells = [sweep.Cell(f"s{seed}", {"seed": seed}) for seed in settings.seeds]
    return Prepared(settings, cells, run, {"images_source": data.source})


_INTRODUCTION = """A classifier of four qubits, angles from the four leading principal components of the images and <Z>
times a constant as logits, is trained without noise. At its weights the Hessian of the cross-entropy is taken exactly,
from density matrices, with a depolarizing channel after every gate on each of its qubits. The control multiplies all
expectation values of the noiseless circuit by the factor that fits the noisy ones best, which is what one global
depolarizing channel does: what it shows as well is a smaller signal, not a changed landscape.

Shots are counted for the parameter-shift rule, from the exact variance of every shifted evaluation: of the loss, where
every image has evaluations of its own, to first order in their errors; and of an energy, minus the mean <Z> of the
images' classes, where a shot takes an image by chance. The sign of the most negative eigenvalue is known where it is
two standard errors from zero and also larger than what errors alone make of a Hessian of zeros, which has negative
eigenvalues, too. Fewer than about a hundred shots say that errors are small, not how many will do: the loss has a bias
then.

The weights are a minimum without noise at best: under noise they are no stationary point, and the energy's Hessian is
taken at the minimum of another function."""

_KEYS = ("seed", "noise", "strength")
_TABLE = (
    *_KEYS,
    "signal", "train_loss", "train_accuracy", "lambda_max", "ratio_max", "lambda_min", "negative", "rank", "outliers",
    "overlap", "overlap_control", "shots_max", "shots_sign_min", "shots_edge_min", "energy_lambda_max",
    "energy_lambda_min", "energy_shots_max", "energy_shots_sign_min", "energy_shots_edge_min",
)  # fmt: skip

STUDY = Study(
    name="noisy-hessian",
    settings=NoisyHessianSettings,
    title=lambda settings: f"Curvature under noise and shots on {settings.dataset}",
    introduction=_INTRODUCTION,
    source="",
    columns=COLUMNS,
    keys=_KEYS,
    headline=("lambda_max",),
    models=None,  # weights are an array of each cell
    prepare=_prepare,
    claims=lambda settings, rows: noisy_verdicts(settings.shots, rows),
    comparison=lambda settings, rows: [],  # the published ranks are of another matrix and another circuit
    figures=lambda settings, rows, out: write_noisy_figures(
        settings.shots, settings.classes, rows, sweep.rows_arrays(out, rows), out / "figures"
    ),
    tables=lambda settings, rows: [
        ReportTable(f"Curvature under noise on {settings.dataset}", rows, columns=_TABLE, keys=_KEYS)
    ],
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
    double=lambda settings: True,
)
