"""The study `qrnn`: the recurrent quantum network on its published tasks, with controls (arXiv:2006.14619)."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.memory import require_memory
from qjaxsim.common.progress import Progress
from qjaxsim.studies.qrnn import cell as qrnn_scores
from qjaxsim.studies.qrnn.columns import COLUMNS
from qjaxsim.studies.qrnn.digits import DigitWords, generation_task, load_digit_words, mnist_task
from qjaxsim.studies.qrnn.networks import QuantumNetwork
from qjaxsim.studies.qrnn.published import claims, comparison_rows
from qjaxsim.studies.qrnn.settings import QrnnSettings, Run, runs
from qjaxsim.studies.qrnn.tasks import SequenceTask, make_task
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import refuse_idle

STUDY = "qrnn"


def run_qrnn_study(
    settings: QrnnSettings,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> list[dict[str, Any]]:
    """Run the cells, write results folder, figures and report.

    Args:
        settings: what to run.
        out: results folder; see `qjaxsim.studies.shared.sweep` for what is in it. Figures go to `figures`, the page to
            `report.html`; the arrays of a trained cell hold its parameters (`params_NAME`, seeds in front).
        data_dir: where prepared data sets are; None for TFDS's place.
        resume: go on with the study that `out` holds, also within a training.
        progress: bars; None makes them on standard error.
        command: the command line, for the report.

    Returns:
        One row a cell, columns as in `COLUMNS`.

    Raises:
        ValueError: for settings that do not fit, or an unusable folder; before any work.
        qjaxsim.datasets.DatasetNotFoundError: if the images are not at hand.
        FloatingPointError: if a training diverges or projects on an outcome of probability 0.
    """
    refuse_idle(settings)
    settings = settings.resolved()
    progress = progress or Progress()
    encoding = settings.encoding
    digits = None if encoding is None else load_digit_words(encoding, data_dir)
    by_key = {run.key: run for run in runs(settings)}
    for run in by_key.values():
        _check(settings, run)
    tasks: dict[tuple[str, int], SequenceTask] = {}
    for run in by_key.values():
        # One object for equal tasks, so that what is compiled for it is shared.
        if (run.task, run.length) not in tasks:
            tasks[run.task, run.length] = _task(run, digits)

    def run_cell(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        run = by_key[cell.key]
        return _cell(run, tasks[run.task, run.length], folder, progress, digits)

    cells = [sweep.Cell(key, run.settings) for key, run in by_key.items()]
    recorded = asdict(settings) | ({} if digits is None else {"images_source": digits.source})
    rows = sweep.run_sweep(STUDY, recorded, cells, run_cell, out, columns=COLUMNS, resume=resume, progress=progress)
    _write_report(settings, rows, out, command)
    return rows


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


def _task(run: Run, digits: DigitWords | None) -> SequenceTask:
    if digits is None:
        return make_task(run.task, run.length)
    return mnist_task(digits) if run.task == "mnist" else generation_task(digits)


def _cell(
    run: Run, task: SequenceTask, folder: Path, progress: Progress, digits: DigitWords | None
) -> sweep.CellResult:
    if run.experiment == "gradients":
        return qrnn_scores.gradient_cell(run, task)
    if run.experiment == "hessian":
        return qrnn_scores.hessian_cell(run, task, folder, progress)
    if run.experiment == "neuron":
        return qrnn_scores.neuron_cell(run)
    return qrnn_scores.training_cell(run, task, folder, progress, digits)


_INTRODUCTION = """A recurrent network of quantum neurons reads one word a step and predicts the next. All of it is
simulated with postselection, as published: a neuron's failures, and all words but those that training sets the lanes
to, are projected away and the state is normalised. On a quantum computer that would cost amplitude amplification; the
overhead columns say at least how much.

The loss is the published one, a softmax cross-entropy fed with probabilities, less its smallest value. Accuracy is of
sampled words, as published, and of the most probable ones. Columns are medians over seeds.

On the task dna the lanes are set to the answer itself after the mark, in training and in evaluation. The controls show
what that means: inputs blanked, all words sampled, and dna-clean, where all targets but the last are 0."""


def _write_report(settings: QrnnSettings, rows: list[dict[str, Any]], out: Path, command: str) -> None:
    from qjaxsim.report.page import write_report
    from qjaxsim.studies.qrnn.figures import write_figures

    arrays: list[dict[str, np.ndarray]] = [sweep.read_arrays(out, row[sweep.CELL_COLUMN]) for row in rows]
    write_report(
        out / "report.html",
        title=f"Recurrent quantum network: {settings.task}",
        introduction=_INTRODUCTION,
        settings=asdict(settings),
        rows=rows,
        columns=COLUMNS,
        command=command or f"qjaxsim study qrnn --task {settings.task}",
        versions=sweep.environment(),
        verdicts=[verdict._asdict() for verdict in claims(rows, settings.encoding)],
        comparison=comparison_rows(rows, settings.encoding),
        figures=write_figures(rows, arrays, out / "figures"),
    )
