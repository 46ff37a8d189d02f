"""The study `attention`: annealed selection against softmax attention and trivial controls (arXiv:2504.11083).

A sweep over kinds of attention and seeds in one small vision transformer: same seeds, minibatches and budget for every
kind. Each cell trains, then compares energies with other solvers, counts what is selected and splits the time.
"""

from dataclasses import replace
from pathlib import Path

from qjaxsim.common.memory import require_memory
from qjaxsim.common.progress import Progress
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.report.tables import ReportTable, present
from qjaxsim.studies.attention.cell import model_of, run_cell
from qjaxsim.studies.attention.claims import attention_verdicts
from qjaxsim.studies.attention.columns import COLUMNS
from qjaxsim.studies.attention.examples import load_examples
from qjaxsim.studies.attention.figures import write_attention_figures
from qjaxsim.studies.attention.published import PAPER, comparison_rows
from qjaxsim.studies.attention.settings import ANNEALED, AttentionStudySettings
from qjaxsim.studies.attention.trained import MODELS
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.setting import refuse_idle
from qjaxsim.studies.shared.study import Prepared, Study
from qjaxsim.training.loop import require_trajectory


def _prepare(given: AttentionStudySettings, out: Path, progress: Progress, *, data_dir: Path | None = None) -> Prepared:
    refuse_idle(given)
    settings = given.resolved()
    examples = load_examples(settings, data_dir, given)
    # A default larger than the data set means all of it, which is what the record should say.
    settings = replace(
        settings, **{name: min(value, n) for name, n in _sizes(examples).items() if (value := getattr(settings, name))}
    )
    models: dict[str, VisionTransformer] = {kind: model_of(settings, examples, kind) for kind in settings.attention}
    assert settings.batch_size is not None
    if settings.batch_size > len(examples.x_train):
        raise ValueError(
            f"Argument `batch_size` must be at most the number of training images, {len(examples.x_train)}, but is "
            f"{settings.batch_size}; choose a smaller one."
        )
    for model in models.values():
        _check(settings, model)
    cells = {f"{kind}-s{seed}": (kind, seed) for seed in settings.seeds for kind in settings.attention}

    def run(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        kind, seed = cells[cell.key]
        return run_cell(settings, models[kind], seed, examples, folder, progress)

    grid = [sweep.Cell(key, {"attention": kind, "seed": seed}) for key, (kind, seed) in cells.items()]
    return Prepared(settings, grid, run, {"images_source": examples.source})


def _check(settings: AttentionStudySettings, model: VisionTransformer) -> None:
    """Refuse what cannot fit, before any work."""
    assert settings.batch_size is not None and settings.epochs is not None
    batch, tokens = settings.batch_size, model.n_tokens
    each = model.attention.n_heads * tokens * (tokens + (settings.reads if model.attention.kind in ANNEALED else 0))
    layers = 3 * model.dim * (model.dim + model.hidden)
    require_memory(
        4 * (batch * each + 4 * layers), f"A minibatch of {batch:,} images", "choose smaller sizes or `reads`"
    )
    require_trajectory(settings.epochs, layers, 4)


def _sizes(examples: Examples) -> dict[str, int]:
    """Setting -> images that there are of it."""
    return {"images": len(examples.x_train), "test_images": len(examples.x_test), "energy_images": len(examples.x_test)}


_INTRODUCTION = """A small vision transformer is trained with one kind of attention after the other: the same images,
seeds, minibatches and number of updates. Annealed attention of the second published version selects tokens by
minimising a quadratic binary problem built from queries, keys and values, and emits one number a token and head times a
learned vector. Its controls keep everything but the selection.

Read the annealed rows beside the controls: where a model without attention, or one that selects everything or at
random, comes as close to softmax, closeness says nothing about the selection. Energies show whether annealing finds
lower states than greedy descent. Times are of a classical simulation; the time of a hardware anneal would leave out
building and loading the problem."""


_KEYS = ("attention", "seed")
_TABLE = (
    *_KEYS, "parameters", "train_loss", "train_accuracy", "test_accuracy", "best_test_accuracy",
    "largest_fall", "selected", "heads_per_token", "fractional", "gap_anneal", "gap_greedy", "gap_tabu", "gap_round",
    "energy_scale", "exact_hits", "ms_build", "ms_sample", "ms_rest", "seconds_train",
)  # fmt: skip


STUDY = Study(
    name="attention",
    settings=AttentionStudySettings,
    title=lambda settings: f"Attention by annealing on {settings.dataset}",
    introduction=_INTRODUCTION,
    source=f"{PAPER}, authors' logs",
    columns=COLUMNS,
    keys=_KEYS,
    headline=("test_accuracy",),
    models=MODELS,
    prepare=_prepare,
    claims=lambda settings, rows: attention_verdicts(rows),
    comparison=comparison_rows,
    figures=lambda settings, rows, out: write_attention_figures(rows, sweep.rows_arrays(out, rows), out / "figures"),
    tables=lambda settings, rows: [
        ReportTable(f"Attention on {settings.dataset}", rows, columns=present(_TABLE, rows), keys=_KEYS)
    ],
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
)
