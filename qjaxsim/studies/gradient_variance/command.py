"""The command `qjaxsim study gradient-variance`: options to settings, results to tables. JAX is imported late."""

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

_KEYS = ("control", "variant", "qubits", "layers", "batch")
_TABLE = (
    "qubits", "layers", "batch", "updates", "grad_var_first", "grad_var_last", "std_last", "loss",
    "accuracy_train", "accuracy_test", "std_test",
)  # fmt: skip
_CONTROL_TABLE = ("control", "variant", *_TABLE)


def gradient_variance(
    command: typer.Context,
    dataset: Annotated[str, typer.Option(help="digits (built in), mnist or fashion_mnist.")] = "digits",
    qubits: Annotated[str, typer.Option(metavar="LIST", help="Qubits to sweep.")] = "2,4,6,8",
    layers: Annotated[str, typer.Option(metavar="LIST", help="Entangling layers to sweep.")] = "2,3,4,5,6",
    batches: Annotated[str, typer.Option(metavar="LIST", help="Batch sizes to sweep.")] = "4,8,16,32,64",
    centre: Annotated[
        str, typer.Option(metavar="Q,L,B", help="Qubits, layers, batch size that the other two sweeps keep.")
    ] = "4,3,16",
    seeds: Annotated[
        str, typer.Option(metavar="LIST", help="Seeds (parameters, order of images), trained side by side.")
    ] = "0,1,2,3,4",
    images: Annotated[int | None, typer.Option(help="Training images. [default: all of digits, else 2000]")] = None,
    test_images: Annotated[int | None, typer.Option(help="Test images. [default: all of digits, else 1000]")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 5,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    pre: Annotated[str, typer.Option(help="Layer before the circuit: linear, tanh or conv.")] = "linear",
    pairing: Annotated[
        str, typer.Option(help="CNOT pairs: alternate (by layer), both (in every layer), chain or ring.")
    ] = "alternate",
    dtype: Annotated[str, typer.Option(help="Precision of training, float32 or float64.")] = "float32",
    controls: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="LIST",
            help="Controls to run beside the sweep, or all: updates, scale, initialisations, shots, pairing, "
            "pre-layer, learning-rate.",
        ),
    ] = None,
    shots: Annotated[
        str, typer.Option(metavar="LIST", help="Measurements for each expectation value, control shots.")
    ] = "128,1024",
    draws: Annotated[int, typer.Option(help="Random initialisations, control initialisations.")] = 200,
    hessian: Annotated[
        bool, typer.Option("--hessian", help="Hessian spectra at start and end of training at the centre.")
    ] = False,
    hessian_images: Annotated[int, typer.Option(help="Training images of these.")] = 500,
    data_seed: Annotated[int, typer.Option(help="Chooses the images when not all are used.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Prepared data sets. [default: TFDS_DATA_DIR]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Results folder. [default: runs/gradient-variance/TIME]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study that --out holds.")] = False,
) -> None:
    """Gradient variance of a hybrid classifier against qubits, depth and batch size (Moto and Yoshida).

    Sweeps --qubits, --layers and --batches one at a time about --centre, all --seeds of a cell side by side, and leaves
    tables, figures and report.html in --out.
    """
    import jax

    if hessian or dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.gradient_variance.claims import verdicts
    from qjaxsim.studies.gradient_variance.settings import CONTROLS, GradientSettings
    from qjaxsim.studies.gradient_variance.study import STUDY, run_gradient_study
    from qjaxsim.studies.gradient_variance.tables import short_rows, tables

    settings = GradientSettings(
        dataset=dataset,
        qubits=integers("qubits", qubits),
        layers=integers("layers", layers),
        batches=integers("batches", batches),
        centre=integers("centre", centre),
        seeds=integers("seeds", seeds),
        images=images,
        test_images=test_images,
        epochs=epochs,
        learning_rate=learning_rate,
        pre=pre,
        pairing=pairing,
        dtype=dtype,
        controls=CONTROLS if controls == "all" else names(controls or ""),
        shots=integers("shots", shots),
        draws=draws,
        hessian=hessian,
        hessian_images=hessian_images,
        data_seed=data_seed,
    )
    refuse_idle_options(command, FROM_DATA_SETS, settings)
    folder = results_folder(STUDY, out, resume)
    rows = run_gradient_study(settings, folder, data_dir=data_dir, resume=resume, command=command_line())
    keep(folder=folder, rows=rows)
    short = short_rows(rows)
    baseline = [row for row in short if row["control"] == "baseline"]
    print_table(baseline, _TABLE, title=f"Gradient variance on {dataset}, means over seeds", keys=_KEYS)
    if others := [row for row in short if row["control"] != "baseline"]:
        print_table(others, _CONTROL_TABLE, title="Controls", keys=_KEYS)
    for table in tables(settings.resolved(), rows):
        print_table(table.rows, title=table.title, keys=list(table.rows[0])[:1])
    print_verdicts(verdicts(rows))
    print(f"results in {folder}: summary.csv, summary.json, figures/, report.html")
