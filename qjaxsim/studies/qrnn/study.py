"""The study `qrnn`: the recurrent quantum network on its published tasks, with controls (arXiv:2006.14619)."""

from pathlib import Path

from qjaxsim.common.memory import require_memory
from qjaxsim.common.progress import Progress
from qjaxsim.report.tables import ReportTable, present
from qjaxsim.studies.qrnn.cell import gradient_cell, hessian_cell, neuron_cell, training_cell
from qjaxsim.studies.qrnn.cells import Run, runs
from qjaxsim.studies.qrnn.claims import claims
from qjaxsim.studies.qrnn.columns import COLUMNS
from qjaxsim.studies.qrnn.digits import DigitWords, load_digit_words, task_of
from qjaxsim.studies.qrnn.figures import write_figures
from qjaxsim.studies.qrnn.networks import QuantumNetwork
from qjaxsim.studies.qrnn.published import comparison_rows
from qjaxsim.studies.qrnn.settings import QrnnSettings
from qjaxsim.studies.qrnn.tasks import SequenceTask
from qjaxsim.studies.qrnn.trained import MODELS
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import refuse_idle
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(given: QrnnSettings, out: Path, progress: Progress, *, data_dir: Path | None = None) -> Prepared:
    """Cells with their tasks. The arrays of a trained cell hold its parameters (`params_NAME`, seeds in front)."""
    refuse_idle(given)
    settings = given.resolved()
    encoding = settings.encoding
    digits = None if encoding is None else load_digit_words(encoding, data_dir)
    by_key = {run.key: run for run in runs(settings)}
    for run in by_key.values():
        _check(settings, run)
    tasks: dict[tuple[str, int], SequenceTask] = {}
    for run in by_key.values():
        # One object for equal tasks, so that what is compiled for it is shared.
        if (run.task, run.length) not in tasks:
            tasks[run.task, run.length] = task_of(run.task, run.length, digits)

    def run_cell(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        run = by_key[cell.key]
        return _cell(run, tasks[run.task, run.length], folder, progress, digits)

    cells = [sweep.Cell(key, run.settings) for key, run in by_key.items()]
    return Prepared(settings, cells, run_cell, {} if digits is None else {"images_source": digits.source})


def _check(settings: QrnnSettings, run: Run) -> None:
    """Refuse what a cell could not do, or would not do as asked, before any work."""
    if run.experiment == "neuron":
        return
    sequences = len(run.seeds) * run.schedule.batch_size
    require_memory(
        8 * sequences * run.length, f"{sequences:,} sequences of {run.length:,} words", "choose fewer or shorter ones"
    )
    if settings.encoding is not None:
        least = len(settings.encoding.digits)
        if run.schedule.batch_size < least:
            raise ValueError(
                f"Argument `batch_size` must be at least the number of `digits`, {least}, of which an update has as "
                f"many each, but is {run.schedule.batch_size}."
            )
    if isinstance(run.network, QuantumNetwork):
        topology = run.network.topology
        if run.experiment != "topology" and topology.degree > topology.n_sources:
            raise ValueError(
                f"Argument `degree` must be at most the {topology.n_sources} sources of a neuron with `workspace` "
                f"{topology.workspace}, but is {topology.degree}."
            )
        topology.require_table()
        lanes = topology.width + topology.workspace
        what = f"{sequences:,} states of {lanes} lanes"
        require_memory(2 * sequences * 2**lanes * 4, what, "choose a smaller `workspace` or `batch_size`")


def _cell(
    run: Run, task: SequenceTask, folder: Path, progress: Progress, digits: DigitWords | None
) -> sweep.CellResult:
    if run.experiment == "gradients":
        return gradient_cell(run, task)
    if run.experiment == "hessian":
        return hessian_cell(run, task, folder, progress)
    if run.experiment == "neuron":
        return neuron_cell(run)
    return training_cell(run, task, folder, progress, digits)


_INTRODUCTION = """A recurrent network of quantum neurons reads one word a step and predicts the next. All of it is
simulated with postselection, as published: a neuron's failures, and all words but those that training sets the lanes
to, are projected away and the state is normalised. On a quantum computer that would cost amplitude amplification; the
overhead columns say at least how much.

The loss is the published one, a softmax cross-entropy fed with probabilities, less its smallest value. Accuracy is of
sampled words, as published, and of the most probable ones. Columns are medians over seeds.

On the task dna the lanes are set to the answer itself after the mark, in training and in evaluation. The controls show
what that means: inputs blanked, all words sampled, and dna-clean, where all targets but the last are 0."""


_TABLE = (
    "experiment", "task", "length", "network", "workspace", "stages", "degree", "bias", "spread_theta", "spread_phi",
    "spread_rotation", "parameters", "optimizer", "learning_rate", "updates", "updates_mad", "reached",
    "validation_loss", "accuracy_sampled", "accuracy_argmax", "accuracy_blanked_inputs", "accuracy_all_sampled",
    "overhead_start", "overhead_peak", "overhead_end", "step_success_log10", "test_accuracy_sampled",
    "test_accuracy_argmax", "test_accuracy_ensemble", "test_accuracy_vote", "test_word_accuracy_sampled",
    "test_word_accuracy_argmax", "lookup_accuracy", "drawn_agreement", "gradient_norm", "gradient_norm_early",
    "lambda_max", "lambda_min", "success_postselected", "failure_amplified_1", "failure_amplified_2",
    "branch_shift_postselected", "branch_shift_amplified_2", "ms_per_update",
)  # fmt: skip


def _tables(settings: QrnnSettings, rows: Rows) -> list[ReportTable]:
    title = f"Recurrent quantum network: {settings.task}"
    return [ReportTable(title, rows, columns=present(_TABLE, rows), keys=_REPEATED)]


# Of the keys, those that stand in every part of a table that is split.
_REPEATED = ("experiment", "task", "length", "network")
_KEYS = (
    *_REPEATED, "workspace", "stages", "degree", "bias", "spread_theta", "spread_phi",
    "spread_rotation", "optimizer", "learning_rate",
)  # fmt: skip


STUDY = Study(
    name="qrnn",
    settings=QrnnSettings,
    title=lambda settings: f"Recurrent quantum network: {settings.task}",
    introduction=_INTRODUCTION,
    source="arXiv:2006.14619",
    columns=COLUMNS,
    keys=_KEYS,
    headline=("test_accuracy_argmax", "accuracy_argmax", "gradient_norm", "success_postselected"),
    models=MODELS,
    prepare=_prepare,
    claims=lambda settings, rows: claims(rows, settings.encoding),
    comparison=lambda settings, rows: comparison_rows(rows, settings.encoding),
    figures=lambda settings, rows, out: write_figures(rows, sweep.rows_arrays(out, rows), out / "figures"),
    tables=_tables,
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_REPEATED)],
    double=lambda settings: "hessian" in settings.experiments,
)
