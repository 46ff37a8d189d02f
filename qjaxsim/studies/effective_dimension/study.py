"""The study `effective-dimension`: whether a quantum network's is larger than a classical one's, with controls.

A cell a model, interval of parameters and seed: the Fisher matrices at all draws of the parameters, and the effective
dimensions that follow from them.
"""

from pathlib import Path

from qjaxsim.common.memory import require_memory
from qjaxsim.common.progress import Progress
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.effective_dimension.cell import run_cell
from qjaxsim.studies.effective_dimension.claims import PAPER, dimension_verdicts
from qjaxsim.studies.effective_dimension.columns import COLUMNS
from qjaxsim.studies.effective_dimension.figures import write_dimension_figures
from qjaxsim.studies.effective_dimension.models import model_of
from qjaxsim.studies.effective_dimension.published import comparison_rows
from qjaxsim.studies.effective_dimension.settings import EffectiveDimensionSettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.study import Prepared, Study


def _prepare(settings: EffectiveDimensionSettings, out: Path, progress: Progress) -> Prepared:
    size = max(model_of(model, settings.frequency).parameters for model in settings.models)
    # Matrices beside those scaled to one trace, and the slopes of two probabilities: the least there is at once.
    matrices, slopes = 2 * 8 * settings.thetas * size**2, 2 * 8 * settings.inputs * size
    require_memory(matrices, f"Keeping the Fisher matrices of {settings.thetas:,} draws", "choose fewer `thetas`")
    require_memory(slopes, f"Taking slopes at {settings.inputs:,} inputs", "choose fewer `inputs`")
    cells = [
        sweep.Cell(f"{model}-{interval}-s{seed}", {"model": model, "interval": interval, "seed": seed})
        for model in settings.models
        for interval in settings.intervals
        for seed in settings.seeds
    ]
    return Prepared(settings, cells, lambda cell, folder: run_cell(settings, **cell.settings))


_INTRODUCTION = """With F the Fisher matrices of a model of d parameters at draws of its parameters, F^ = d F /
tr(mean of F) and kappa = n / (2 pi ln n), the effective dimension is d_n = 2 ln(mean of sqrt(det(1 + kappa F^))) / ln
kappa: how many directions of the parameters n data tell apart. Parameters and inputs are drawn as the authors did,
with the same generators and seeds, so that seed 0 gives their numbers for both quantum networks. The published
classical row, said to be of 40 parameters, is of matrices of 28 x 28, on draws that the public programs do not tell;
the network of 28 parameters stands beside it here.

Controls: other seeds; angles over their whole period in place of 0 to 1, which is where the published ones lie;
Fisher matrices scaled to the same trace draw by draw; and a classical model that was not compared, logistic
regression on 40 random cosines of the inputs. The definition divides by the trace, so that it says nothing on how
strongly a model depends on its parameters, only on how evenly."""

_KEYS = ("model", "interval", "seed", "samples")
_TABLE = ("parameters", "trace", "spread", "rank", "share", "share_alike")

STUDY = Study(
    name="effective-dimension",
    settings=EffectiveDimensionSettings,
    title=lambda settings: "Effective dimension of quantum and classical models",
    introduction=_INTRODUCTION,
    source=PAPER,
    columns=COLUMNS,
    keys=_KEYS,
    headline=("share",),
    models=None,  # nothing is trained
    prepare=_prepare,
    claims=lambda settings, rows: dimension_verdicts(rows),
    comparison=comparison_rows,
    figures=lambda settings, rows, out: write_dimension_figures(rows, sweep.rows_arrays(out, rows), out / "figures"),
    tables=lambda settings, rows: [
        ReportTable("Effective dimensions", rows, columns=(*_KEYS, *_TABLE), keys=_KEYS),
    ],
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
    double=lambda settings: True,
)
