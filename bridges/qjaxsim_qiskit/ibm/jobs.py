"""Jobs on a backend: submitted, waited for, fetched, with the exact values beside the measured ones."""

import datetime
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import qjaxsim as qj
from qjaxsim.common import interrupts, memory
from qjaxsim.common.checks import as_path, integer_from, require_switch, shown
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim_qiskit.ibm.parts import n_used, used_part, whole
from qjaxsim_qiskit.ibm.predicted import predicted_values
from qjaxsim_qiskit.ibm.primitives import COUNTS, EXPECTATION, check_bases, new_primitive, to_isa
from qjaxsim_qiskit.ibm.records import DONE, DRY_RUN, FAILED, FOLDER, SUBMITTED, JobRecord, load
from qjaxsim_qiskit.ibm.work import REGISTER, Work, exact_values, in_batch, prepare, pub, refuse_channels
from qjaxsim_qiskit.meaning.angles import require_angles
from qjaxsim_qiskit.service import LOCAL, channel_of, connect, find_backend, plain_errors, plain_text

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MODES = ("job", "session", "batch")
_PACKAGES = ("qjaxsim", "qiskit", "qiskit-ibm-runtime", "qiskit-aer")
# States of a job on IBM's side that do not change any more.
_FINAL = ("DONE", "ERROR", "CANCELLED")
# More qubits than this, simulated with noise, take minutes.
_QUICK_QUBITS = 12


def run(
    circuit: "qj.Circuit | QuantumCircuit",
    params: Any = None,
    observables: Any = None,
    *,
    backend: Any,
    channel: str | None = None,
    instance: str | None = None,
    service: Any = None,
    shots: int = 4096,
    mode: Any = "job",
    resilience_level: int | None = None,
    optimization_level: int = 1,
    seed: int = 0,
    evolution: str = "synthesis",
    exact: bool = True,
    noisy: bool = True,
    wait: bool = True,
    dry_run: bool = False,
    out: str | Path = FOLDER,
    title: str = "",
    report: Callable[[str], None] = print,
) -> JobRecord:
    """The record of a job on a backend, with its result and the exact values.

    The circuit is transpiled to the backend and submitted as one job: every observable at every set of parameters. As
    soon as the job has an id, the id is reported and the record is in `out`, for `fetch` from any process.

    Args:
        circuit: ours, or Qiskit's, of which final measurements are left out; a transpiled one is brought back to the
            qubits that it was written for, and transpiled anew.
        params: its parameters by name, as for `qjaxsim.expectation`, with batch axes or without; of Qiskit's circuits
            also as Qiskit binds them, as for `ImportedCircuit.params`.
        observables: Pauli sums, ours or Qiskit's operators of the circuit's width, whose expectation values are
            estimated; None for counts of all qubits.
        backend: a name, or a Qiskit `BackendV2`. One that is not IBM's own is simulated in this process.
        channel: for a backend by name: "local" (fake backends), "ibm_quantum_platform" or "ibm_cloud"; default local
            for names of fake backends, otherwise as for `connect`.
        instance: service instance, for a backend by name; default that of the account.
        service: an open `QiskitRuntimeService`, instead of the two.
        shots: for each measurement basis and set of parameters; the runtime may round it up.
        mode: "job", "session" or "batch" (opened for this job and closed after it), or an open `Session` or `Batch`.
        resilience_level: mitigation by the runtime's Estimator, 0 (none) to 2; default 1, of readout errors.
        optimization_level: of Qiskit's transpiler, 0 to 3.
        seed: of the transpiler and of the local simulator.
        evolution: what a PauliEvolutionGate of a Qiskit circuit is, as for `from_qiskit`; it is run and computed alike.
        exact: also compute the exact values. Without, Qiskit's circuits are still imported, and refused where their
            state would not fit in memory.
        noisy: also compute what the backend's own noise model predicts, for circuits of up to eight qubits on it (with
            Aer). From resilience level 1 on without readout errors, which the runtime takes out.
        wait: wait for the result. Local jobs end with this process, so they must be waited for.
        dry_run: transpile, check and compute the exact values, but submit nothing.
        out: folder of records.
        title: for tables; default the circuit's name.
        report: takes lines on what happens.

    Returns:
        The record: done, or as submitted without `wait`, or with status "dry run".

    Raises:
        ImportError: if a package is missing, naming the extra.
        ValueError: for wrong arguments, an unknown backend, a circuit too wide for it, one with channels, or one that
            cannot be imported.
        TypeError: for params that are no real arrays.
        PermissionError: without an account that IBM accepts.
        MemoryError: if the exact values, or the simulation of a local backend, do not fit in memory.
        RuntimeError: if the job or IBM's service fails.
    """
    kind = COUNTS if observables is None else EXPECTATION
    out = as_path("out", out)
    shots, seed = integer_from(1, "shots", shots), integer_from(0, "seed", seed, 2**31 - 1)
    optimization_level = integer_from(0, "optimization_level", optimization_level, 3)
    for name, switch in (("exact", exact), ("noisy", noisy), ("wait", wait), ("dry_run", dry_run)):
        require_switch(name, switch)
    _check_options(kind, mode, resilience_level, report)
    work = prepare(circuit, params, observables, evolution)
    refuse_channels(work.circuit)
    for note in work.notes:
        report(note)
    if isinstance(backend, str):
        service = connect(channel_of(backend, channel), instance) if service is None else service
        backend = find_backend(backend, service)
    local = not _on_hardware(backend)
    if local and not wait:
        raise ValueError("Argument `wait` must be true in local mode, whose jobs end with this process.")
    isa = to_isa(
        work.measured if kind == COUNTS else work.circuit,
        backend,
        optimization_level=optimization_level,
        seed=seed,
        local=local,
    )
    if kind == EXPECTATION:
        check_bases(backend)
    require_angles(isa, work.runs)
    submission = used_part(isa, backend) if local else whole(isa, backend)
    if local:
        # Aer itself leaves out idle qubits where counts are all that is asked for.
        measured = kind == COUNTS
        check_local(backend, n_used(submission.circuit) if measured else submission.circuit.num_qubits, report)
    level = (1 if resilience_level is None else resilience_level) if kind == EXPECTATION else None
    options: dict[str, Any] = {"shots": shots, "resilience_level": level, "seed": seed, "local": local}
    # Made once before any session is opened and paid for, so that wrong options are found in time.
    _, described = new_primitive(kind, submission.backend if local or isinstance(mode, str) else mode, **options)
    record = JobRecord(
        job_id="",
        status=DRY_RUN,
        kind=kind,
        title=title or work.circuit.name,
        **_place(backend, local),
        mode=mode if isinstance(mode, str) else type(mode).__name__.lower(),
        **described,
        shots=shots,
        optimization_level=optimization_level,
        seed=seed,
        **_transpiled(work, isa),
        versions=_versions(),
        submitted=_now(),
        exact=exact_values(work, kind) if exact else None,
        observables=tuple(str(each).removeprefix("1 ") for each in work.observables),
        batch=work.batch,
    )
    if noisy and exact and find_spec("qiskit_aer") is not None:
        record = replace(record, predicted=predicted_values(work, isa, backend, kind, record.resilience_level))
    if dry_run:
        return record
    out.mkdir(parents=True, exist_ok=True)
    submitting = plain_errors(f"Submitting to {backend.name}")
    with submitting, _target(mode, backend, submission.backend) as target, _closed(mode, target):
        job = new_primitive(kind, target, **options)[0].run([pub(work, submission, kind)])
        record = _submitted(record, job, out, report)
        return finish_job(record, job, out) if wait else record


def fetch(job_id: str, *, out: str | Path = FOLDER, wait: bool = False, service: Any = None) -> JobRecord:
    """The record of a job submitted earlier, with its result if there is one by now.

    Args:
        job_id: as `run` reported it.
        out: folder of records.
        wait: wait for the result.
        service: an open service; default the one that the record names.

    Returns:
        The record, done, or with the status that IBM gives it (such as "queued").

    Raises:
        FileNotFoundError: if the folder has no record of the job.
        ValueError: for a wrong id or a file that is no record.
        PermissionError: without an account that IBM accepts.
        RuntimeError: if the job or IBM's service fails, or a local job ended without its result.
    """
    require_switch("wait", wait)
    record = load(job_id, out)
    if record.status == DONE:
        return record
    if record.status == FAILED:
        raise RuntimeError(f"Job {job_id} failed: {record.error}")
    if record.channel == LOCAL:
        raise RuntimeError(f"Job {job_id} was simulated in a process that ended before its result; run it again.")
    service = connect(record.channel, record.instance) if service is None else service
    with plain_errors(f"Fetching job {job_id}"):
        job = service.job(job_id)
        status = str(job.status())
        if not wait and status not in _FINAL:
            return replace(record, status=status.lower())
        return finish_job(record, job, out)


# --- where it runs -----------------------------------------------------------------------------------------------


def _on_hardware(backend: Any) -> bool:
    """Whether jobs go to IBM; it is how the runtime itself decides."""
    with plain_errors("Running on a backend"):
        from qiskit_ibm_runtime import IBMBackend

        return isinstance(backend, IBMBackend)


def check_local(backend: Any, width: int, report: Callable[[str], None]) -> None:
    """Say that a wide simulation takes long.

    Raises:
        MemoryError: if it does not fit.
    """
    needed, free = 2.0 ** (width + 4), memory.available_bytes()
    if needed > free:
        raise MemoryError(
            f"Local mode simulates every qubit of a backend that the circuit uses, but {width} of {backend.name} take "
            f"{needed / memory.GIB:.3g} GiB, of which {free / memory.GIB:.3g} are free; use fewer qubits, or a "
            "fake device itself in place of a simulator made from it."
        )
    if width > _QUICK_QUBITS:
        report(f"{width} qubits of {backend.name} are simulated, which may take minutes")


def _target(mode: Any, backend: Any, simulator: Any) -> AbstractContextManager[Any]:
    """What the primitive runs in; a session or batch opened here accepts no more jobs afterwards.

    Args:
        mode: as of `run`.
        backend: as of `run`.
        simulator: of the qubits in use in local mode, where sessions hold nothing; else the backend.
    """
    from qiskit_ibm_runtime import Batch, Session

    if not isinstance(mode, str):
        if mode.backend() != backend.name:
            raise ValueError(f"Argument `mode` must be open on backend {backend.name}, but is on {mode.backend()}.")
        return nullcontext(mode) if simulator is backend else type(mode)(backend=simulator)
    if mode == "job":
        return nullcontext(simulator)
    return (Session if mode == "session" else Batch)(backend=simulator)


def _closed(mode: Any, target: Any) -> AbstractContextManager[None]:
    """A session or batch opened here is closed, also when the process is interrupted: it costs while it is open."""
    opened = isinstance(mode, str) and mode != "job"
    return interrupts.cleaned_up(target.close) if opened else nullcontext()


def _place(backend: Any, local: bool) -> dict[str, Any]:
    if local:
        return {"channel": LOCAL, "instance": None, "backend": backend.name}
    with plain_errors("Running on a backend"):
        service = backend.service
        return {"channel": service.channel, "instance": service.active_instance(), "backend": backend.name}


def _transpiled(work: Work, isa: "QuantumCircuit") -> dict[str, Any]:
    layout = isa.layout
    places = range(isa.num_qubits) if layout is None else layout.initial_index_layout(filter_ancillas=True)
    return {
        "n_qubits": work.circuit.num_qubits,
        "physical_qubits": tuple(places),
        "operations": dict(isa.count_ops()),
        "depth": isa.depth(),
    }


def _submitted(record: JobRecord, job: Any, out: str | Path, report: Callable[[str], None]) -> JobRecord:
    """The record with the job's id, reported and in `out`."""
    record = replace(record, job_id=job.job_id(), status=SUBMITTED, submitted=_now())
    try:
        # Printed first: should the disk be full, the id is still known.
        report(f"job {record.job_id} on {record.backend}, channel {record.channel}, {record.shots} shots")
    finally:  # also where the report fails, as into a closed pipe: the job is paid for
        path = record.save(out)
    if record.channel != LOCAL:
        report(f"recorded in {path}; its result: qjaxsim ibm fetch {record.job_id} --out {out}")
    return record


# --- the result --------------------------------------------------------------------------------------------------


def finish_job(record: JobRecord, job: Any, out: str | Path) -> JobRecord:
    """The record with the job's result, also in `out`; a job that failed is recorded as such."""
    from qiskit.providers.exceptions import JobError
    from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError, RuntimeJobMaxTimeoutError

    with plain_errors(f"Job {record.job_id}"):
        try:
            data = job.result()[0].data
        except Exception as error:
            # A lost connection is not the job's end.
            ended = isinstance(error, JobError | RuntimeInvalidStateError | RuntimeJobMaxTimeoutError)
            if ended or record.channel == LOCAL:
                replace(record, status=FAILED, error=plain_text(error), finished=_now()).save(out)
            raise
    result = _counts(record, data) if record.kind == COUNTS else _expectations(record, data)
    record = replace(record, status=DONE, finished=_now(), **result)
    record.save(out)
    return record


def _expectations(record: JobRecord, data: Any) -> dict[str, Any]:
    def arranged(values: Any) -> np.ndarray:
        # (m, samples), or (m, 1) where what was submitted has no parameters.
        return in_batch(np.asarray(values, float).T, record.batch)

    # With twirling, `stds` is the scatter of the random twirls. Where these are few, that is itself uncertain, and the
    # error of all shots as one pool is a lower bound.
    pooled = getattr(data, "ensemble_standard_error", data.stds)
    return {"evs": arranged(data.evs), "stds": np.maximum(arranged(data.stds), arranged(pooled))}


def _counts(record: JobRecord, data: Any) -> dict[str, Any]:
    drawn = data[REGISTER]
    samples = int(np.prod(record.batch, dtype=int))
    # Qiskit writes qubit 0 last.
    each = [drawn.get_counts(number) if drawn.shape else drawn.get_counts() for number in range(samples)]
    return {"counts": tuple({text[::-1]: int(count) for text, count in sorted(one.items())} for one in each)}


# --- small things ------------------------------------------------------------------------------------------------


def _check_options(kind: str, mode: Any, resilience_level: int | None, report: Any) -> None:
    """Refuse what Qiskit would notice late, or not at all; the largest resilience level is left to the runtime."""
    if isinstance(mode, str) and mode not in MODES:
        raise ValueError(
            f"Argument `mode` must be one of {', '.join(MODES)}, but is {mode!r}{did_you_mean(mode, MODES)}."
        )
    if not isinstance(mode, str) and not _is_opened(mode):
        raise TypeError(
            f"Argument `mode` must be one of {', '.join(MODES)}, or an open Session or Batch, but is {shown(mode)} "
            f"({type(mode).__name__})."
        )
    if not callable(report):
        raise TypeError(
            f"Argument `report` must be a function of a line, such as print, but is {shown(report)} "
            f"({type(report).__name__})."
        )
    if resilience_level is not None:
        integer_from(0, "resilience_level", resilience_level)
    if kind == COUNTS and resilience_level is not None:
        raise ValueError(
            f"Argument `resilience_level` is for expectation values, but is {resilience_level} and there are no "
            "observables; leave it out for counts."
        )


def _is_opened(mode: Any) -> bool:
    """Whether it is a session or a batch of the runtime's."""
    with plain_errors("Running on a backend"):
        from qiskit_ibm_runtime import Batch, Session

        return isinstance(mode, Session | Batch)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
