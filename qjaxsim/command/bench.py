"""The command `qjaxsim bench`: options to settings. The suite is imported when it runs."""

import threading
from pathlib import Path
from typing import Annotated

import typer

from qjaxsim.studies.shared.options import command_line, keep, names, results_folder

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


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, within five minutes.")] = False,
    peers: Annotated[
        str | None, typer.Option(metavar="LIST", help=f"Simulators to compare with: {', '.join(PEERS)}. [default: all]")
    ] = None,
    problems: Annotated[
        str | None, typer.Option(metavar="LIST", help=f"What to compute: {', '.join(PROBLEMS)}. [default: all]")
    ] = None,
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
    run has some 800 cells and takes hours on two cores; --problems, --peers and --targets choose.
    """
    from qjaxsim_bench import report, suite
    from qjaxsim_bench.groups import Cell, Settings
    from qjaxsim_bench.peers.environments import parsed

    from qjaxsim.common.progress import Progress
    from qjaxsim.studies.shared.results_folder import claimed

    for name, value in (("seconds", seconds), ("timeout", timeout)):
        if value is not None and not 0 < value < threading.TIMEOUT_MAX:
            raise ValueError(f"Argument `{name}` must be a positive number of seconds, but is {value}.")
    settings = Settings(
        suite.check_names("problems", names(problems), PROBLEMS) if problems is not None else PROBLEMS,
        suite.check_names("peers", names(peers), PEERS) if peers is not None else PEERS,
        quick,
        seconds or (0.3 if quick else 2.0),
        timeout or (40.0 if quick else 300.0),
        targets,
    )
    places = None if environments is None else parsed(environments)
    folder = results_folder("bench", out, resume, suite.SETTINGS)
    total = len(suite.cells(settings))
    progress = Progress()
    with claimed(folder), progress, progress.bar("bench", total) as advance:
        suite.begin(folder, settings, resume)
        progress.message(f"results folder: {folder}")

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
