"""The command `qjaxsim study disentangler`. JAX is imported when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qjaxsim.studies.disentangler.settings import PARTS, DisentanglerStudySettings
from qjaxsim.studies.shared.command import OUT, RESUME, run_and_print, with_settings
from qjaxsim.studies.shared.options import refuse_idle_options
from qjaxsim.studies.shared.setting import ABSENT, GIVEN

if TYPE_CHECKING:
    import numpy as np

# When options that are no settings have an effect.
_NEEDS: dict[str, Any] = {
    **dict.fromkeys(("key", "index", "orientation"), {"weights": GIVEN}),
    "inputs": {"weights": GIVEN, "dry_run": ABSENT},
    **dict.fromkeys(("text", "encoder"), {"weights": ABSENT}),
}


@with_settings(DisentanglerStudySettings)
def disentangler(
    command: typer.Context,
    *,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One matrix instead of the built-in model: .npy, .npz, .safetensors or .safetensors.index.json.",
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Name of the array in the file, if it has several.")] = None,
    index: Annotated[int | None, typer.Option(help="Layer of a stack, for arrays with three axes.")] = None,
    orientation: Annotated[
        str,
        typer.Option(help="Of the file's matrix: out-in (torch), in-out (Flax), or infer, which says what it found."),
    ] = "infer",
    inputs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Inputs of that layer (N, in), .npy, for the activation error.",
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A published encoder of sentences (BERT and its kin) instead of the built-in model: a folder with "
            "config.json, model.safetensors (or its index and shards) and tokenizer.json.",
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text for the built-in model, or the encoder. [default: Python's language reference]",
        ),
    ] = None,
    chosen: dict[str, Any],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it takes, and whether bond and circuits can pay.")
    ] = False,
    out: Annotated[Path | None, OUT] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Layers as MPOs between disentangling circuits, beside SVD and plain MPOs of as many numbers (arXiv:2410.17397).

    Compresses a matrix of a file, layers of a published encoder of sentences, or every layer of a character transformer
    trained here, and Gaussian noise of the same norm; rebuilds the model; and leaves a table, figures and report.html
    in --out. The angles of circuits are counted beside the numbers of the MPO everywhere.
    """
    from qjaxsim.datasets.weights import load_matrix

    refuse_idle_options(command, _NEEDS)
    loaded = None if weights is None else load_matrix(weights, key=key, index=index, orientation=orientation)
    if loaded is not None:
        print(f"{loaded.name}: {loaded.matrix.shape[0]} x {loaded.matrix.shape[1]} (out x in); the file has "
              f"{loaded.orientation}, {loaded.reason}")  # fmt: skip
        if command.params["parts"] == "all":  # all that a file has; "model" by name is refused
            chosen["parts"] = tuple(part for part in PARTS if part != "model")
    settings = DisentanglerStudySettings(**chosen)
    refuse_idle_options(command, _NEEDS, settings)
    if dry_run:
        _print_plan(settings, loaded, text, encoder)
    else:
        given = {"loaded": loaded, "inputs": _inputs(inputs), "text": text, "encoder": encoder}
        run_and_print("disentangler", settings, out, resume, **given)


def _print_plan(settings: Any, loaded: Any, text: Path | None, encoder: Path | None) -> None:
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.disentangler.plan import plan_rows

    rows = plan_rows(settings, loaded, text, encoder)
    columns = [name for name in rows[0] if name != "can_it_pay"]
    print_table(rows, columns, title="Before computing", keys=("layer", "chi", "gate_qubits", "depth"))
    for row in rows:
        circuit = f"{row['gate_qubits']}-qubit gates, depth {row['depth']}"
        print(f"{row['layer']} ({row['shape']}), bond {row['chi']}, {circuit}: {row['can_it_pay']}")


def _inputs(path: Path | None) -> "np.ndarray | None":
    import numpy as np

    from qjaxsim.common.files import UNREADABLE, why_unreadable

    if path is None:
        return None
    try:
        with path.open("rb") as file:
            array: np.ndarray = np.load(file, allow_pickle=False)
    except UNREADABLE as error:
        raise ValueError(
            f"Option --inputs must be a .npy file of numbers, but {path.name} is not: {why_unreadable(error)}."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        held = f"{array.dtype}" if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"Option --inputs must be a .npy file of real numbers, but {path.name} holds {held}.")
    return array
