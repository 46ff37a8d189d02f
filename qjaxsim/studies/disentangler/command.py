"""The command `qjaxsim study disentangler`. JAX is imported when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from qjaxsim.studies.shared.setting import ABSENT, GIVEN

if TYPE_CHECKING:
    import numpy as np

_MODEL = (
    "layer", "method", "chi", "gate_qubits", "depth", "classical", "circuit", "total", "size", "perplexity",
    "perplexity_change", "accuracy", "perplexity_bond", "accuracy_bond", "perplexity_circuits", "accuracy_circuits",
)  # fmt: skip
_LAYER = (
    "source", "method", "chi", "gate_qubits", "depth", "rank", "classical", "circuit", "total", "size", "error",
    "activation_error", "merit", "bound", "entropy_before", "entropy", "break_even_dense", "break_even_svd",
    "perplexity_change", "accuracy", "cnots", "cnot_depth", "unitary_deviation",
)  # fmt: skip
_SHOTS = ("layer", "source", "chi", "gate_qubits", "depth", "shots", "shot_error")
# When options that are no settings have an effect.
_NEEDS: dict[str, Any] = {
    **dict.fromkeys(("key", "index", "orientation"), {"weights": GIVEN}),
    "inputs": {"weights": GIVEN, "dry_run": ABSENT},
    "text": {"weights": ABSENT},
}
_KEYS = ("layer", "source", "method", "chi", "gate_qubits", "depth")


def disentangler(
    command: typer.Context,
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
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text for the built-in model. [default: Python's language reference]",
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Of the built-in model: small (117 thousand numbers) or million.")
    ] = "small",
    parts: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="all, or some of layers (grid over layers), depth (overlap against depth), bond (circuits as wide as "
            "the registers), shots (a layer with finitely many shots) and model (the model rebuilt).",
        ),
    ] = "all",
    layers: Annotated[str, typer.Option(metavar="LIST", help="all, or names such as block0.query,block1.up.")] = "all",
    profile_layer: Annotated[
        str | None, typer.Option(help="Layer of the parts depth and bond. [default: the last block's value]")
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Seeds to sweep (training, noise, random starts).")] = "1",
    chi: Annotated[str, typer.Option(metavar="LIST", help="Bonds of the grid.")] = "2,8,16",
    gate_qubits: Annotated[
        str, typer.Option(metavar="LIST", help="Qubits of a gate in the grid; register for as wide as the registers.")
    ] = "2",
    depths: Annotated[str, typer.Option(metavar="LIST", help="Layers of gates in the grid.")] = "8",
    methods: Annotated[
        str, typer.Option(metavar="LIST", help="explicit (polar sweeps), gradient, or both.")
    ] = "explicit",
    target: Annotated[
        str,
        typer.Option(help="Of the optimisation: adaptive (cut anew after each sweep) or fixed (the layer's own cut)."),
    ] = "adaptive",
    sweeps: Annotated[int, typer.Option(help="Sweeps of the explicit method at most.")] = 40,
    gradient_steps: Annotated[int, typer.Option(help="Steps of the gradient method at most.")] = 400,
    restarts: Annotated[int, typer.Option(help="Starts, the best of which is kept.")] = 1,
    balanced_sites: Annotated[
        int, typer.Option(help="Sites of the unpadded MPO, where the sizes have the factors.")
    ] = 3,
    profile_gate_qubits: Annotated[str, typer.Option(metavar="LIST", help="Gates of part depth.")] = "2,3,register",
    profile_depths: Annotated[str, typer.Option(metavar="LIST", help="Depths of part depth.")] = "1,2,4,8,16",
    bond_chi: Annotated[
        str, typer.Option(metavar="LIST", help="Bonds of part bond, full for no cut.")
    ] = "1,2,5,10,50,full",
    model_chi: Annotated[
        str | None, typer.Option(metavar="LIST", help="Bonds of part model. [default: all but the first of --chi]")
    ] = None,
    scopes: Annotated[
        str, typer.Option(metavar="LIST", help="Of part model: one (the profile layer), all (all of --layers at once).")
    ] = "all",
    healing: Annotated[
        str,
        typer.Option(metavar="LIST", help="Trained after replacing: bond (MPO), circuits (gates, too), none."),
    ] = "bond,circuits",
    heal_updates: Annotated[int, typer.Option(help="Minibatches of healing.")] = 100,
    heal_learning_rate: Annotated[float, typer.Option(help="Adam's rate of healing.")] = 1e-3,
    adapter_block: Annotated[int, typer.Option(help="Features that a block of an adapter mixes.")] = 4,
    shots: Annotated[
        str, typer.Option(metavar="LIST", help="Shots of each circuit a row of inputs, in part shots.")
    ] = "1000,100000,10000000",
    width: Annotated[int | None, typer.Option(help="Size of a token. [default: 64 small, 128 million]")] = None,
    n_blocks: Annotated[int | None, typer.Option("--blocks", help="[default: 2 small, 5 million]")] = None,
    n_heads: Annotated[int, typer.Option("--heads", help="Heads of attention.")] = 4,
    context: Annotated[
        int | None, typer.Option(help="Characters seen at once. [default: 64 small, 128 million]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text. [default: 8 small, 12 million]")] = None,
    batch_size: Annotated[int, typer.Option(help="Windows of text a minibatch.")] = 32,
    learning_rate: Annotated[
        float | None, typer.Option(help="Adam's rate of training. [default: 0.003 small, 0.002 million]")
    ] = None,
    test_windows: Annotated[int, typer.Option(help="Windows of test text for perplexities; 0 for all.")] = 256,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it takes, and whether bond and circuits can pay.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Results folder. [default: runs/disentangler/TIME]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study that --out holds.")] = False,
) -> None:
    """Layers as MPOs between disentangling circuits, beside SVD and plain MPOs of as many numbers (arXiv:2410.17397).

    Compresses a matrix of a file, or every layer of a character transformer trained here, and Gaussian noise of the
    same norm; rebuilds the model; and leaves a table, figures and report.html in --out. The angles of circuits are
    counted beside the numbers of the MPO everywhere.
    """
    from qjaxsim.datasets.weights import load_matrix
    from qjaxsim.studies.disentangler.settings import PARTS, DisentanglerStudySettings

    refuse_idle_options(command, _NEEDS)
    loaded = None if weights is None else load_matrix(weights, key=key, index=index, orientation=orientation)
    if loaded is not None:
        print(f"{loaded.name}: {loaded.matrix.shape[0]} x {loaded.matrix.shape[1]} (out x in); the file has "
              f"{loaded.orientation}, {loaded.reason}")  # fmt: skip
    possible = PARTS if loaded is None else tuple(part for part in PARTS if part != "model")
    settings = DisentanglerStudySettings(
        parts=possible if parts == "all" else names(parts),
        layers=names(layers),
        profile_layer=profile_layer,
        seeds=integers("seeds", seeds),
        chi=integers("chi", chi),
        gate_qubits=_numbers("gate-qubits", gate_qubits, "register"),
        depths=integers("depths", depths),
        methods=names(methods),
        target=target,
        sweeps=sweeps,
        gradient_steps=gradient_steps,
        restarts=restarts,
        balanced_sites=balanced_sites,
        profile_gate_qubits=_numbers("profile-gate-qubits", profile_gate_qubits, "register"),
        profile_depths=integers("profile-depths", profile_depths),
        bond_chi=_numbers("bond-chi", bond_chi, "full"),
        model_chi=None if model_chi is None else integers("model-chi", model_chi),
        scopes=names(scopes),
        healing=() if healing == "none" else names(healing),
        heal_updates=heal_updates,
        heal_learning_rate=heal_learning_rate,
        adapter_block=adapter_block,
        shots=integers("shots", shots),
        size=size,
        width=width,
        n_blocks=n_blocks,
        n_heads=n_heads,
        context=context,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        test_windows=test_windows or None,
    )
    refuse_idle_options(command, _NEEDS, settings)
    if dry_run:
        _print_plan(settings, loaded, text)
    else:
        _run(settings, out, loaded, _inputs(inputs), text, resume)


def _print_plan(settings: Any, loaded: Any, text: Path | None) -> None:
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.disentangler.plan import plan_rows

    rows = plan_rows(settings, loaded, text)
    columns = [name for name in rows[0] if name != "can_it_pay"]
    print_table(rows, columns, title="Before computing", keys=("layer", "chi", "gate_qubits", "depth"))
    for row in rows:
        circuit = f"{row['gate_qubits']}-qubit gates, depth {row['depth']}"
        print(f"{row['layer']} ({row['shape']}), bond {row['chi']}, {circuit}: {row['can_it_pay']}")


def _run(settings: Any, out: Path | None, loaded: Any, inputs: Any, text: Path | None, resume: bool) -> None:
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.disentangler.claims import disentangler_verdicts
    from qjaxsim.studies.disentangler.figures import model_table, profile_layer
    from qjaxsim.studies.disentangler.published import PAPER, comparison_rows
    from qjaxsim.studies.disentangler.study import STUDY, run_disentangler_study

    folder = results_folder(STUDY, out, resume)
    rows = run_disentangler_study(
        settings, folder, loaded=loaded, inputs=inputs, text=text, resume=resume, command=command_line()
    )
    keep(folder=folder, rows=rows)
    # Hundreds of rows for a whole model: the layer that the profile is of, in full; the others are in the files.
    profile = profile_layer(rows)
    for part, title in (("layers", "Layer"), ("bond", "Circuits as wide as the registers"), ("depth", "Depth")):
        shown = [row for row in rows if row["part"] == part and row["layer"] == profile]
        if shown:
            present = [name for name in _LAYER if any(row.get(name) is not None for row in shown)]
            print_table(shown, present, title=f"{title}: {profile}", keys=_KEYS)
    if shown := [row for row in rows if row["part"] == "shots"]:
        print_table(shown, _SHOTS, title=f"Shots: {profile}", keys=("layer", "source", "chi"))
    if table := model_table(rows):
        present = [name for name in _MODEL if any(row.get(name) is not None for row in table)]
        print_table(table, present, title="The model rebuilt", keys=_KEYS)
    print_verdicts(disentangler_verdicts(rows))
    if published := comparison_rows(rows):
        print_comparison(published, f"{PAPER} and others")
    print(f"results in {folder}: summary.csv, summary.json, figures/, report.html")


def _numbers(option: str, text: str, word: str) -> tuple[int, ...]:
    """A list such as "2,3,register", the word standing for 0."""
    given = names(text)
    found = integers(option, ",".join(part for part in given if part != word), f" or {word!r}")
    if 0 in found:
        raise ValueError(f"Option --{option} must hold numbers of at least 1 or {word!r}, but holds 0.")
    numbers = iter(found)
    return tuple(0 if part == word else next(numbers) for part in given)


def _inputs(path: Path | None) -> "np.ndarray | None":
    import numpy as np

    if path is None:
        return None
    try:
        with path.open("rb") as file:
            array: np.ndarray = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"Option --inputs must be a .npy file of numbers, but {path.name} is not: {error}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        held = f"{array.dtype}" if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"Option --inputs must be a .npy file of real numbers, but {path.name} holds {held}.")
    return array
