"""The command `qjaxsim study hessian`: options to settings, results to tables. JAX is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from qjaxsim.studies.shared.options import (
    FROM_DATA_SETS,
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
    "patches", "layers", "qubits", "parameters", "seed", "images", "epochs", "best_epoch", "train_loss",
    "train_accuracy", "test_loss", "test_accuracy", "lambda_max", "lambda_max_power", "lambda_min", "trace",
    "gn_lambda_max", "residual_norm_ratio", "outliers_gap", "near_zero_fraction", "exact_zeros", "gradient_in_top_k",
    "seconds_train", "seconds_hessian",
)  # fmt: skip

_CONTROL_TABLE = (
    "control", "patches", "layers", "seed", "n_classes", "aggregation", "scale", "learning_rate", "parameters",
    "train_loss", "lambda_max", "gn_lambda_max", "outliers_gap", "near_zero_fraction", "gn_null",
)  # fmt: skip


def hessian(
    command: typer.Context,
    dataset: Annotated[str, typer.Option(help="digits (built in), mnist or fashion_mnist.")] = "digits",
    patches: Annotated[str, typer.Option(metavar="LIST", help="Patch counts to sweep, square numbers.")] = "1,4,9",
    layers: Annotated[str, typer.Option(metavar="LIST", help="Layers of each trainable block to sweep.")] = "2",
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Seeds to sweep (weights, minibatches).")] = "1001",
    qubits: Annotated[int | None, typer.Option(help="Qubits of a circuit. [default: 5 for digits, else 8]")] = None,
    patch_size: Annotated[
        int | None, typer.Option(help="Side of a patch, pixels. [default: 4 for digits, else 8]")
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="LIST", help="Labels to keep. [default: all]")] = None,
    images: Annotated[int | None, typer.Option(help="Training images, a stratified choice. [default: all]")] = None,
    curvature_images: Annotated[
        int | None,
        typer.Option(help="Training images for the spectrum. [default: all of digits, else 2000]"),
    ] = None,
    lambda_images: Annotated[
        int | None,
        typer.Option(help="Training images for the paper's power iteration. [default: those of the spectrum]"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images. [default: 30 for digits, else 50]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="[default: 64 for digits, else 1000]")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="First rate. [default: the paper's for the depth, 0.01 to 50 layers]")
    ] = None,
    schedule: Annotated[str, typer.Option(help="cosine_cycle (the paper's), cosine or constant.")] = "cosine_cycle",
    weight_decay: Annotated[float, typer.Option(help="Coupled L2, not part of any reported loss.")] = 5e-5,
    aggregation: Annotated[str, typer.Option(help="mean or sum over the circuits.")] = "mean",
    scale: Annotated[float, typer.Option(help="Constant factor of the logits.")] = 100.0,
    dtype: Annotated[str, typer.Option(help="Precision of curvature, float64 or float32.")] = "float64",
    training_dtype: Annotated[
        str | None, typer.Option(help="Precision of training; the paper's is float32. [default: that of curvature]")
    ] = None,
    spectrum: Annotated[str, typer.Option(help="dense, lanczos, or auto: dense up to 12,000 parameters.")] = "auto",
    top: Annotated[int, typer.Option(help="Leading eigenvalues that lanczos computes.")] = 20,
    landscape: Annotated[
        str, typer.Option(metavar="LIST", help="Planes: pca (of the path), eigen (leading vectors), random; or none.")
    ] = "pca,eigen",
    landscape_points: Annotated[int, typer.Option(help="Grid points along each axis.")] = 20,
    landscape_images: Annotated[
        int | None, typer.Option(help="Training images for the landscape. [default: those of the spectrum]")
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="LIST",
            help="Controls to run beside the sweep, or all: aggregation, scale, parameters, learning-rate, loss, "
            "classes, seeds, nulls.",
        ),
    ] = None,
    data_seed: Annotated[int, typer.Option(help="Chooses the images when not all are used.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Prepared data sets. [default: TFDS_DATA_DIR]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Results folder. [default: runs/hessian/TIME]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study that --out holds.")] = False,
) -> None:
    """Hessian eigenspectra of distributed patch circuits trained on images (arXiv:2504.19239).

    Trains every combination of --patches, --layers and --seeds, takes the Hessian at the checkpoint of lowest training
    loss, and leaves a table, figures and report.html in --out.
    """
    import jax

    if "float64" in (dtype, training_dtype):
        jax.config.update("jax_enable_x64", True)
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.hessian.claims import verdicts
    from qjaxsim.studies.hessian.published import comparison_rows
    from qjaxsim.studies.hessian.settings import CONTROLS, HessianSettings
    from qjaxsim.studies.hessian.study import STUDY, run_hessian_study

    settings = HessianSettings(
        dataset=dataset,
        patches=integers("patches", patches),
        layers=integers("layers", layers),
        seeds=integers("seeds", seeds),
        qubits=qubits,
        patch_size=patch_size,
        classes=None if classes is None else integers("classes", classes),
        images=images,
        curvature_images=curvature_images,
        lambda_images=lambda_images,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        aggregation=aggregation,
        scale=scale,
        dtype=dtype,
        training_dtype=training_dtype,
        spectrum=spectrum,
        top=top,
        landscape=() if landscape == "none" else names(landscape),
        landscape_points=landscape_points,
        landscape_images=landscape_images,
        controls=CONTROLS if controls == "all" else names(controls or ""),
        data_seed=data_seed,
    )
    refuse_idle_options(command, FROM_DATA_SETS, settings)
    folder = results_folder(STUDY, out, resume)
    rows = run_hessian_study(settings, folder, data_dir=data_dir, resume=resume, command=command_line())
    keep(folder=folder, rows=rows)
    alike = [row for row in rows if row["control"] in ("baseline", "seeds")]
    print_table(alike, _TABLE, title=f"Hessian spectra on {dataset}")
    if others := [row for row in rows if row["control"] != "baseline"]:
        print_table(others, _CONTROL_TABLE, title="Controls", keys=("control", "patches", "layers", "seed"))
    print_verdicts(verdicts(rows))
    if published := comparison_rows(settings.resolved(), rows):
        print_comparison(published)
    print(f"results in {folder}: summary.csv, summary.json, figures/, report.html")
