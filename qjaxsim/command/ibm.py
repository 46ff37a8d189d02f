"""The commands below `qjaxsim ibm`: circuits on IBM's backends, or on fake ones without an account."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qjaxsim.studies.shared.options import Evolution, Qubits, check_output, keep, refuse_idle_options
from qjaxsim.studies.shared.setting import ABSENT, Except, Needs

if TYPE_CHECKING:
    from qjaxsim_qiskit.ibm import JobRecord

_FORMATS = {"value": ".4f", "error": ".4f", "exact": ".4f", "noisy": ".4f", "deviation": ".1f"}
_ROWS = 40
# When options have an effect.
_NEEDS: dict[str, Needs] = {
    "resilience_level": {"counts": ABSENT},
    "wait": {"dry_run": ABSENT},
    "mode": {"dry_run": ABSENT},
    "instance": {"channel": Except("local")},
}

ibm = typer.Typer(help="Run circuits on IBM's backends, or on fake ones without an account.", rich_markup_mode=None)

_Channel = Annotated[
    str | None,
    typer.Option(
        help="local (fake backends, no account), ibm_quantum_platform or ibm_cloud. "
        "[default: local for a fake backend, else the saved account's]"
    ),
]
_Instance = Annotated[str | None, typer.Option(help="Service instance. [default: the account's]")]
_Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder of records.")]


@ibm.command()
def run(
    command: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="An OpenQASM 2 or 3 program (.qasm) or a QPY file (.qpy)."),
    ],
    backend: Annotated[str, typer.Option(metavar="NAME", help="Such as fake_manila or ibm_kingston.")],
    channel: _Channel = None,
    instance: _Instance = None,
    observables: Annotated[
        str | None, typer.Option(metavar="LIST", help='Pauli sums such as "Z0,X0 X1". [default: Z on every qubit]')
    ] = None,
    counts: Annotated[bool, typer.Option("--counts", help="Counts of all qubits instead of observables.")] = False,
    params: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Parameters by name, .npz or .json."),
    ] = None,
    random_params: Annotated[
        int | None, typer.Option(metavar="SEED", help="Parameters uniform in [-pi, pi), instead of a file.")
    ] = None,
    shots: Annotated[int, typer.Option(help="For each measurement basis and set of parameters.")] = 4096,
    mode: Annotated[str, typer.Option(help="job, session or batch.")] = "job",
    resilience_level: Annotated[
        int | None, typer.Option(help="Mitigation, 0 (none) to 2. [default: 1, readout errors]")
    ] = None,
    optimization_level: Annotated[int, typer.Option(help="Of Qiskit's transpiler, 0 to 3.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the transpiler and of the local simulator.")] = 0,
    evolution: Evolution = "synthesis",
    qubits: Qubits = "auto",
    exact: Annotated[bool, typer.Option(help="Compute the exact values beside the measured ones.")] = True,
    noisy: Annotated[
        bool, typer.Option(help="Also what the backend's noise model predicts, for up to eight qubits.")
    ] = True,
    wait: Annotated[bool, typer.Option(help="Wait for the result; otherwise fetch it later.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Transpile and check, but submit nothing.")] = False,
    out: _Out = Path("runs/ibm"),
) -> None:
    """Run a circuit on a backend and compare with the exact values.

    The job's id is printed and recorded in --out as soon as it is submitted. An account is saved with Qiskit's own
    `save_account`, or given by the environment variable QISKIT_IBM_TOKEN.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    from qjaxsim_qiskit import ibm as hardware

    from qjaxsim.command.circuit_files import parse_observables, read_circuit, read_params

    if counts and observables is not None:
        raise ValueError("Give either --counts or --observables.")
    refuse_idle_options(command, _NEEDS)
    check_output(out, "folder")
    imported = read_circuit(file, evolution=evolution, qubits=qubits)
    for note in imported.notes:
        print(f"- {note}")
    circuit = imported.circuit
    if circuit.n_parameters and params is None and random_params is None:
        raise ValueError(
            f"The circuit has free parameters, {', '.join(circuit.parameters)}: give --params FILE or --random-params "
            "SEED."
        )
    record = hardware.run(
        imported.source,
        read_params(params, circuit, random_params),
        None if counts else parse_observables(observables, circuit.n_qubits),
        backend=backend,
        channel=channel,
        instance=instance,
        shots=shots,
        mode=mode,
        resilience_level=resilience_level,
        optimization_level=optimization_level,
        seed=seed,
        exact=exact,
        noisy=noisy,
        wait=wait,
        dry_run=dry_run,
        out=out,
        title=file.name,
    )
    _print(record, out)


@ibm.command()
def fetch(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its id, as `qjaxsim ibm run` printed it.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result.")] = False,
    out: _Out = Path("runs/ibm"),
) -> None:
    """Get the result of a job submitted earlier; exit code 1 if there is none yet."""
    from qjaxsim_qiskit import ibm as hardware

    record = hardware.fetch(job, out=out, wait=wait)
    _print(record, out)
    if record.status != "done":
        raise typer.Exit(1)


@ibm.command()
def backends(command: typer.Context, channel: _Channel = None, instance: _Instance = None) -> None:
    """List the backends of a channel."""
    refuse_idle_options(command, {"instance": {"channel": Except("local")}})
    from qjaxsim_qiskit import ibm as hardware

    from qjaxsim.report.tables import print_table

    rows = hardware.backends(channel, instance)
    keep(backends=rows)
    print_table([{**row, "operations": " ".join(row["operations"])} for row in rows], keys=("backend",))


def _print(record: "JobRecord", out: Path) -> None:
    from qjaxsim.report.tables import print_table

    rows = record.rows() if record.status in ("done", "dry run") else []
    keep(record=record.to_json())
    print()
    print_table(rows[:_ROWS], title=_title(record), keys=("sample", "observable", "outcome"), formats=_FORMATS)
    if len(rows) > _ROWS:
        print(f"{len(rows) - _ROWS} more rows; the record has all of them")
    if record.total_variation is not None:
        print("total variation distance from the exact distribution:", *(f"{v:.4f}" for v in record.total_variation))
    if record.status == "dry run":
        print("dry run: nothing was submitted")
    elif record.status == "done":
        print(f"record in {out / record.job_id}.json")
    else:
        print(f"job {record.job_id} is {record.status}; its result: qjaxsim ibm fetch {record.job_id} --out {out}")


def _title(record: "JobRecord") -> str:
    resilience = "" if record.resilience_level is None else f", resilience level {record.resilience_level}"
    gates = ", ".join(
        f"{count} {name}" for name, count in record.operations.items() if name not in ("barrier", "measure")
    )
    return (
        f"{record.title} on {record.backend}: qubits {', '.join(map(str, record.physical_qubits))}; {gates}; depth "
        f"{record.depth}; {record.shots} shots{resilience}; deviation in units of the error"
    )
