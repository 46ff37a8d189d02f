"""The command `qjaxsim crosscheck`: the same circuit here and on Qiskit Aer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.common.words import counted
from qjaxsim.studies.shared.options import Evolution, Qubits, check_output, keep, refuse_idle_options
from qjaxsim.studies.shared.setting import GIVEN, Needs, require_at_most

if TYPE_CHECKING:
    from qjaxsim_qiskit.crosschecking.checks import CrossCheck
    from qjaxsim_qiskit.importing.imported import ImportedCircuit

_COLUMNS = (
    "quantity", "measure", "value", "bound", "agrees", "first_ours", "repeated_ours", "first_theirs", "repeated_theirs",
)  # fmt: skip
_FORMATS = {"value": ".2e", "bound": ".0e"} | dict.fromkeys(_COLUMNS[5:], ".3g")
# Model -> the study that trains it.
MODELS = {"patches": "hessian", "hybrid": "gradient-variance"}
# When options have an effect.
_OF_FILE, _OF_MODEL = {"file": GIVEN}, {"model": GIVEN}
_NEEDS: dict[str, Needs] = {
    **dict.fromkeys(("run", "cell", "images", "data_dir"), _OF_MODEL),
    "qnn": {"model": ("hybrid",)},
    "params": _OF_FILE,
    "random_params": _OF_FILE,
    "observables": _OF_FILE,
    "evolution": _OF_FILE,
    "qubits": _OF_FILE,
    "noise": _OF_FILE,
    "seed": ({"shots": GIVEN}, {"gradients": GIVEN}),
    "max_rotations": {"gradients": GIVEN},
}


def crosscheck(
    command: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="An OpenQASM 2 or 3 program (.qasm) or a QPY file (.qpy).",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Instead of FILE, a trained model: patches or hybrid.")] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Results folder that holds the model."),
    ] = None,
    cell: Annotated[str | None, typer.Option(metavar="KEY", help="Its cell. [default: the first finished]")] = None,
    images: Annotated[int, typer.Option(help="Test images that the model is run on.")] = 4,
    qnn: Annotated[
        bool, typer.Option("--qnn", help="Of hybrid, compare with Qiskit Machine Learning's EstimatorQNN too.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Prepared data sets. [default: TFDS_DATA_DIR]")
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Parameters by name, .npz or .json."),
    ] = None,
    random_params: Annotated[
        int | None, typer.Option(metavar="SEED", help="Parameters uniform in [-pi, pi). [default: seed 0]")
    ] = None,
    observables: Annotated[
        str | None,
        typer.Option(metavar="LIST", help='Pauli sums such as "Z0,X0 X1". [default: X and Z on every qubit, a string]'),
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Also draw so often on both sides, and test the counts.")] = None,
    seed: Annotated[int, typer.Option(help="Of draws, and of the parameters whose gradients are compared.")] = 0,
    gradients: Annotated[bool, typer.Option(help="Compare gradients with parameter shift on Aer.")] = True,
    max_rotations: Annotated[int, typer.Option(help="Shifted rotations at most, for each circuit.")] = 400,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest difference. [default: 1e-10, 2e-5 for float32]")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Our precision, float64 or float32.")] = "float64",
    evolution: Evolution = "synthesis",
    qubits: Qubits = "auto",
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="BACKEND|FILE",
            help="Compare under noise: of a fake backend, such as fake_manila, or of a model in a .json file.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write everything as JSON.")] = None,
) -> None:
    """Compare a circuit's or a trained model's states, expectation values, counts and gradients with Qiskit Aer.

    Prints a table; exit code 1 if anything is outside its tolerance.
    """
    import jax

    from qjaxsim.command.circuit_files import read_circuit

    if dtype not in ("float64", "float32"):
        close = did_you_mean(dtype, ("float64", "float32"))
        raise ValueError(f"Option --dtype must be float64 or float32, but is {dtype!r}{close}.")
    if (file is None) == (model is None):
        raise ValueError("Give either FILE or --model, the one to check.")
    refuse_idle_options(command, _NEEDS)
    check_output(out)
    jax.config.update("jax_enable_x64", dtype == "float64")
    options: dict[str, Any] = {
        "shots": shots, "seed": seed, "gradients": gradients, "max_rotations": max_rotations, "tolerance": tolerance
    }  # fmt: skip
    if file is not None:
        imported = read_circuit(file, evolution=evolution, qubits=qubits)
        found = _file(imported, file.name, params, random_params, observables, options | _noise(noise))
        for note in imported.notes:
            print(f"- {note}")
    else:
        found = _model(str(model), run, cell, images, data_dir, qnn, options)
    keep(**found.to_json())
    _print(found)
    if out is not None:
        from qjaxsim.common import files

        files.write_json(out, found.to_json(), nan_as_null=True)
        print(f"written to {out}")
    if not found.agrees:
        raise typer.Exit(1)


def _file(
    imported: "ImportedCircuit",
    title: str,
    params: Path | None,
    random_params: int | None,
    observables: str | None,
    options: dict[str, Any],
) -> "CrossCheck":
    from qjaxsim_qiskit import crosscheck

    from qjaxsim.command.circuit_files import parse_observables, read_params

    circuit = imported.circuit
    chosen = None if observables is None else parse_observables(observables, circuit.n_qubits)
    values = read_params(params, circuit, random_params)
    return crosscheck(imported.source, values, chosen, title=title, **options)


def _noise(given: str | None) -> dict[str, Any]:
    """The option of `crosscheck`: a model where a file is named, else the name of a backend."""
    if given is None:
        return {}
    if not given.endswith(".json"):
        return {"noise": given}
    from qjaxsim.circuits.noise_files import read_noise

    return {"noise": read_noise(Path(given))}


def _model(
    model: str,
    run: Path | None,
    cell: str | None,
    images: int,
    data_dir: Path | None,
    qnn: bool,
    options: dict[str, Any],
) -> "CrossCheck":
    if model not in MODELS:
        raise ValueError(
            f"Option --model must be one of {', '.join(MODELS)}, but is {model!r}{did_you_mean(model, MODELS)}."
        )
    if run is None:
        raise ValueError("Option --model needs --run, the results folder of a study that trained it.")
    if images < 1:
        raise ValueError(f"Option --images must be a positive number, but is {images}.")
    from qjaxsim_qiskit.crosschecking.models import crosscheck_hybrid, crosscheck_patches

    from qjaxsim.studies.shared.run import load_run

    opened = load_run(run)
    if opened.study != MODELS[model]:
        raise ValueError(
            f"Option --run must be a results folder of the study {MODELS[model]!r}, but {run} holds {opened.study!r}."
        )
    trained: Any = opened.cell(cell, data_dir=data_dir)
    require_at_most("images", images, len(trained.examples.x_test), "test images")
    x, title = trained.examples.x_test[:images], f"{model}, {trained.key}"
    if model == "patches":
        return crosscheck_patches(trained.model, trained.params, x, title=title, **options)
    title += f", seed {trained.seed}"  # one of several in its cell
    return crosscheck_hybrid(trained.model, trained.params, x, qnn=qnn, title=title, **options)


def _print(found: "CrossCheck") -> None:
    from qjaxsim.report.tables import print_table

    rows = [{name: row[name] for name in _COLUMNS} for row in found.rows()]
    title = (
        f"{found.title}: {counted(found.n_qubits, 'qubit')}, {counted(found.n_parameters, 'parameter')}, "
        f"{counted(found.samples, 'set')} of values, {found.dtype}; times in seconds"
    )
    print_table(rows, title=title, keys=("quantity", "agrees"), formats=_FORMATS)
    for detail in dict.fromkeys(f"{c.quantity}: {c.detail}" for c in found.checks if c.detail):
        print(f"- {detail}")
    print("agrees" if found.agrees else "DIFFERS: some values are outside their bounds")
