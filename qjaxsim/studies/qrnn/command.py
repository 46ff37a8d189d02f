"""The command `qjaxsim study qrnn`: options to settings, results to tables. JAX is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from qjaxsim.studies.shared.options import (
    command_line,
    integers,
    keep,
    names,
    print_comparison,
    print_verdicts,
    refuse_idle_options,
    results_folder,
)

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


def qrnn(
    command: typer.Context,
    task: Annotated[str, typer.Option(help="memorise, xor, letters, dna, mnist or mnist-generate.")] = "xor",
    experiments: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="training, optimizers, initial, topology, baselines, gradients, hessian, neuron.",
        ),
    ] = "training",
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Seeds, trained side by side.")] = "0,1,2,3,4",
    lengths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Words of a sequence. [default: the task's; dna 10,50,200,1000]")
    ] = None,
    workspace: Annotated[int | None, typer.Option(help="Lanes of the cell's state. [default: the task's]")] = None,
    stages: Annotated[int | None, typer.Option(help="Work stages. [default: the task's]")] = None,
    degree: Annotated[int | None, typer.Option(help="Largest subset of sources. [default: the task's]")] = None,
    order: Annotated[int, typer.Option(help="Order of the neurons.")] = 2,
    optimizer: Annotated[str, typer.Option(help="adam, rmsprop, sgd or lbfgs.")] = "adam",
    learning_rate: Annotated[
        float | None, typer.Option(help="[default: the task's; dna-clean min(0.003, 0.04 / length)]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences of an update. [default: the task's]")] = None,
    updates: Annotated[int | None, typer.Option(help="Most updates. [default: the task's]")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Validation loss at which a seed stops. [default: the task's]")
    ] = None,
    digits: Annotated[str, typer.Option(metavar="LIST", help="Classes of mnist, two to ten digits.")] = "0,1",
    dataset: Annotated[str, typer.Option(help="mnist or fashion_mnist, for the tasks on images.")] = "mnist",
    features: Annotated[
        str, typer.Option(help="Of mnist: pixels, pca, tsne, or umap (supervised; needs umap-learn).")
    ] = "pixels",
    coordinates: Annotated[int | None, typer.Option(help="Of the features. [default: pca 8, tsne 2, umap 4]")] = None,
    bits: Annotated[int | None, typer.Option(help="Of each coordinate. [default: pca 4, tsne 8, umap 3]")] = None,
    deskew: Annotated[bool, typer.Option("--deskew", help="Take the slant out of the images.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Published grids of initial (500 cells) and topology (96 cells).")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Prepared data sets. [default: TFDS_DATA_DIR]")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Results folder. [default: runs/qrnn/TIME]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study that --out holds.")] = False,
) -> None:
    """Recurrent quantum network on its published tasks, with the controls they lack (arXiv:2006.14619)."""
    import jax

    chosen = names(experiments)
    if "hessian" in chosen:
        jax.config.update("jax_enable_x64", True)
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.qrnn.published import claims, comparison_rows
    from qjaxsim.studies.qrnn.settings import QrnnSettings
    from qjaxsim.studies.qrnn.study import STUDY, run_qrnn_study

    settings = QrnnSettings(
        task=task,
        experiments=chosen,
        seeds=integers("seeds", seeds),
        lengths=None if lengths is None else integers("lengths", lengths),
        workspace=workspace,
        stages=stages,
        degree=degree,
        order=order,
        optimizer=optimizer,
        learning_rate=learning_rate,
        batch_size=batch_size,
        updates=updates,
        threshold=threshold,
        digits=integers("digits", digits),
        dataset=dataset,
        features=features,
        coordinates=coordinates,
        bits=bits,
        deskew=deskew,
        full=full,
    )
    refuse_idle_options(command, {"data_dir": {"task": ("mnist", "mnist-generate")}}, settings)
    folder = results_folder(STUDY, out, resume)
    rows = run_qrnn_study(settings, folder, data_dir=data_dir, resume=resume, command=command_line())
    keep(folder=folder, rows=rows)
    shown = [name for name in _TABLE if any(row.get(name) is not None for row in rows)]
    print_table(rows, shown, title=f"Recurrent quantum network: {task}", keys=("task", "length", "network"))
    if found := claims(rows, settings.encoding):
        print_verdicts(found)
    if published := comparison_rows(rows, settings.encoding):
        print_comparison(published, "arXiv:2006.14619")
    print(f"results in {folder}: summary.csv, summary.json, figures/, report.html")
