"""The command `qjaxsim study attention`. JAX is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from qjaxsim.studies.shared.options import (
    FROM_DATA_SETS,
    command_line,
    integers,
    keep,
    names,
    print_verdicts,
    refuse_idle_options,
    results_folder,
)

_TABLE = (
    "attention", "seed", "parameters", "train_loss", "train_accuracy", "test_accuracy", "best_test_accuracy",
    "largest_fall", "selected", "heads_per_token", "fractional", "gap_anneal", "gap_greedy", "gap_tabu", "gap_round",
    "energy_scale", "exact_hits", "ms_build", "ms_sample", "ms_rest", "seconds_train",
)  # fmt: skip


def attention(
    command: typer.Context,
    dataset: Annotated[
        str, typer.Option(help="digits (built in), mnist, fashion_mnist or a prepared CIFAR-10, whole or part.")
    ] = "digits",
    attention: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="all, or some of qama-v2, greedy, ones, random, threshold, qama-v1, boltzmann, hard, circuit, "
            "bottleneck, softmax, none.",
        ),
    ] = "all",
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Seeds to sweep (weights, minibatches).")] = "1",
    images: Annotated[
        int | None, typer.Option(help="Training images, a stratified choice. [default: 1400 of digits, else 4096]")
    ] = None,
    test_images: Annotated[int | None, typer.Option(help="Test images. [default: 350 of digits, else all]")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images. [default: 30 for digits, else 5; published 50]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="[default: 70 for digits, else the published 128]")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Adam's rate. [default: 0.003 for digits, else the published 0.001]")
    ] = None,
    patch_size: Annotated[int | None, typer.Option(help="[default: 2 for digits, else the published 4]")] = None,
    dim: Annotated[int | None, typer.Option(help="Size of a token. [default: 32 for digits, else 64]")] = None,
    n_heads: Annotated[
        int | None, typer.Option("--heads", help="[default: 4 for digits, else the published 8]")
    ] = None,
    reads: Annotated[int, typer.Option(help="Chains a problem.")] = 8,
    sweeps: Annotated[int, typer.Option(help="Annealing sweeps a chain.")] = 20,
    gradient: Annotated[
        str, typer.Option(help="Through the selection: frozen (published), straight-through or gibbs.")
    ] = "frozen",
    bits: Annotated[
        int | None,
        typer.Option(help="Round problems to signed integers of so many bits; 8 is a coherent Ising machine's."),
    ] = None,
    energy_images: Annotated[int, typer.Option(help="Test images whose energies are compared.")] = 32,
    data_seed: Annotated[int, typer.Option(help="Chooses the images when not all are used.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Prepared data sets. [default: TFDS_DATA_DIR]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Results folder. [default: runs/attention/TIME]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study that --out holds.")] = False,
) -> None:
    """Attention that selects tokens by annealing, beside softmax and trivial controls (arXiv:2504.11083).

    Trains every kind with every seed in one small vision transformer, compares energies, selections and times, and
    leaves a table, figures and report.html in --out.
    """
    from qjaxsim.models.attention import KINDS
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.attention.claims import attention_verdicts
    from qjaxsim.studies.attention.published import PAPER, comparison_rows
    from qjaxsim.studies.attention.settings import AttentionStudySettings
    from qjaxsim.studies.attention.study import STUDY, run_attention_study

    settings = AttentionStudySettings(
        dataset=dataset,
        attention=KINDS if attention == "all" else names(attention),
        seeds=integers("seeds", seeds),
        images=images,
        test_images=test_images,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patch_size=patch_size,
        dim=dim,
        n_heads=n_heads,
        reads=reads,
        sweeps=sweeps,
        gradient=gradient,
        bits=bits,
        energy_images=energy_images,
        data_seed=data_seed,
    )
    refuse_idle_options(command, FROM_DATA_SETS, settings)
    folder = results_folder(STUDY, out, resume)
    rows = run_attention_study(settings, folder, data_dir=data_dir, resume=resume, command=command_line())
    keep(folder=folder, rows=rows)
    shown = [name for name in _TABLE if any(row.get(name) is not None for row in rows)]
    print_table(rows, shown, title=f"Attention on {dataset}", keys=("attention", "seed"))
    print_verdicts(attention_verdicts(rows))
    if published := comparison_rows(settings.resolved(), rows):
        keep(published=published)
        print_table(published, title=f"Published accuracies ({PAPER}, authors' logs) beside ours", keys=("quantity",))
    print(f"results in {folder}: summary.csv, summary.json, figures/, report.html")
