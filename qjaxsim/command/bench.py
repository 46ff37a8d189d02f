"""The command `qjaxsim bench`: options to settings. The suite is imported when it runs."""

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qjaxsim.studies.shared.options import (
    Evolution,
    Qubits,
    command_line,
    keep,
    names,
    refuse_idle_options,
    results_folder,
)
from qjaxsim.studies.shared.setting import ABSENT, GIVEN, Needs

if TYPE_CHECKING:
    from qjaxsim_bench.own import OwnCircuit

# Written out, since the suite is slow to import and `--help` names them; a test compares.
PROBLEMS = (
    "hybrid", "layered", "random", "qft", "gradient", "hamiltonian", "hvp", "hessian", "qnn", "training",
    "patches", "qrnn", "kernel", "noise", "vqe-gradient", "vqe-hessian", "metric", "qaoa-gradient", "qaoa-hessian",
    "evolution", "grover", "quantum-volume", "wide-unitary", "preparation", "clifford-t", "parameters", "qasm",
    "pauli-sum", "eager-hessian", "crosscheck", "remap", "allreduce", "compile-depth", "memory-depth",
    "residual-images",
)  # fmt: skip
PEERS = (
    "by-hand", "gate-by-gate", "pennylane", "pennylane-mixed", "lightning", "lightning-kokkos", "catalyst",
    "tensorcircuit", "qujax", "horqrux", "qsimcirq", "qulacs", "qulacs-optimised", "aer", "qnn-shift", "qnn-reverse",
)  # fmt: skip
# With FILE: what is computed of its circuit.
OF_FILE = ("own-state", "own-expectation", "own-gradient", "own-hessian")
# When options have an effect.
_OF_FILE = {"file": GIVEN}
_NEEDS: dict[str, Needs] = {
    **dict.fromkeys(("params", "random_params", "observable", "evolution", "qubits"), _OF_FILE),
    "targets": {"file": ABSENT},
}


def bench(
    command: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Instead of the suite's circuits, an OpenQASM 2 or 3 program (.qasm) or a QPY file (.qpy).",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, within five minutes.")] = False,
    peers: Annotated[
        str | None, typer.Option(metavar="LIST", help=f"Simulators to compare with: {', '.join(PEERS)}. [default: all]")
    ] = None,
    problems: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help=f"What to compute: {', '.join(PROBLEMS)}; of FILE {', '.join(OF_FILE)}. [default: all]",
        ),
    ] = None,
    params: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Parameters of the circuit by name, .npz or .json.")
    ] = None,
    random_params: Annotated[
        int | None, typer.Option(metavar="SEED", help="Parameters uniform in [-pi, pi). [default: seed 0]")
    ] = None,
    observable: Annotated[
        str | None,
        typer.Option(metavar="SUM", help='A Pauli sum such as "Z0 Z1 + 0.5 X2". [default: mean of Z over all qubits]'),
    ] = None,
    evolution: Evolution = "synthesis",
    qubits: Qubits = "auto",
    seconds: Annotated[
        float | None, typer.Option(help="Time for repeated calls of a cell. [default: 2, quick .3]")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one cell. [default: 300, quick 40]")] = None,
    targets: Annotated[
        bool, typer.Option("--targets", help="Only what targets speak of: their sizes, precisions and simulators.")
    ] = False,
    environments: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Virtual environments of simulators that exclude our versions, catalyst=DIR,horqrux=DIR.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Results. [default: runs/bench/TIME]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that --out holds.")] = False,
) -> None:
    """Benchmark this engine and its peers on the same work in turns, results compared first.

    Prints all times and the table of targets; writes bench.json, bench.csv, targets.md, figures and report.html. A
    simulator that is not installed (extra "bench"), fails, differs or exceeds its time is a row that says so. A full
    run has some 800 cells and takes hours on two cores; --problems, --peers and --targets choose. With FILE all get the
    gates of its circuit, and numbers for its parameters.
    """
    refuse_idle_options(command, _NEEDS)
    from qjaxsim_bench import report, suite
    from qjaxsim_bench.groups import Cell, Settings
    from qjaxsim_bench.peers.environments import parsed

    from qjaxsim.common.progress import Progress
    from qjaxsim.studies.shared.results_folder import claimed

    for name, value in (("seconds", seconds), ("timeout", timeout)):
        if value is not None and not 0 < value < threading.TIMEOUT_MAX:
            raise ValueError(f"Argument `{name}` must be a positive number of seconds, but is {value}.")
    if file is None and problems is not None and (own := [name for name in names(problems) if name in OF_FILE]):
        raise ValueError(f"Argument `problems` has {own[0]}, which is computed of a circuit; give FILE.")
    chosen = None if problems is None else suite.check_names("problems", names(problems), OF_FILE if file else PROBLEMS)
    circuit = None
    if file is not None:
        circuit = _own(file, params, random_params, observable, evolution, qubits)
        chosen = _of_circuit(circuit, chosen)
    settings = Settings(
        chosen or PROBLEMS,
        suite.check_names("peers", names(peers), PEERS) if peers is not None else PEERS,
        quick,
        seconds or (0.3 if quick else 2.0),
        timeout or (40.0 if quick else 300.0),
        targets,
        None if circuit is None else circuit.name,
    )
    places = None if environments is None else parsed(environments)
    progress = Progress()
    with results_folder("bench", out, resume, suite.SETTINGS) as folder, claimed(folder), progress:
        suite.begin(folder, settings, resume, circuit)
        progress.message(f"results folder: {folder}")
        cells = suite.cells(settings, folder)
        if idle := [name for name in settings.peers if peers is not None and name not in {cell.peer for cell in cells}]:
            progress.message(f"not asked, since they lack such work or take too long: {', '.join(idle)}")
        with progress.bar("bench", len(cells)) as advance:

            def begin(cell: Cell) -> None:
                progress.message(cell.name)
                advance(1)

            record = suite.run(settings, folder, begin, places)
    keep(folder=folder, cells=report.rows(record), targets=report.target_rows(record))
    report.print_results(record)
    report.write_all(record, folder, command_line())
    print(f"Results in {folder}")
    if any(cell["status"] == "differs" for cell in record["cells"]):
        raise RuntimeError("Some results differ from ours; the table says which.")


def _own(
    file: Path, params: Path | None, random_params: int | None, observable: str | None, evolution: str, qubits: str
) -> "OwnCircuit":
    """The circuit of a file, with its parameters and observable."""
    from qjaxsim_bench.own import own_circuit

    from qjaxsim.circuits.observables import PauliSum
    from qjaxsim.command.circuit_files import parse_observables, read_circuit, read_params

    imported = read_circuit(file, evolution=evolution, qubits=qubits)
    for note in imported.notes:
        print(f"- {note}")
    circuit = imported.circuit
    values = read_params(params, circuit, random_params)
    if any(values[name].shape != shape for name, shape in circuit.parameters.items()):
        raise ValueError("Option --params must hold one set of values, but the file has a batch of them.")
    sums = parse_observables(observable, circuit.n_qubits)
    if observable is None:
        sums = [sum(sums, PauliSum({})) / circuit.n_qubits]
    if len(sums) != 1:
        raise ValueError(f"Option --observable must be one Pauli sum, but {observable!r} has {len(sums)}.")
    return own_circuit(re.sub(r"[^\w.-]", "_", file.stem), circuit, values, sums[0])


def _of_circuit(circuit: "OwnCircuit", chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    """The problems that a circuit makes, or those chosen of them."""
    if chosen and (missing := [name for name in chosen if name not in circuit.problems()]):
        why = "angles that are sums of parameters" if circuit.bends else "a circuit with parameters"
        raise ValueError(f"Option --problems has {missing[0]}, which needs {why}; leave it out.")
    return chosen or circuit.problems()
