"""Jobs on hardware, with a stand-in for IBM's service that keeps what is submitted in a folder and runs it later."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.command import main as cli

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")
from qiskit_ibm_runtime import Batch, IBMBackend, QiskitRuntimeService, RuntimeEncoder, Session  # noqa: E402
from qiskit_ibm_runtime.decoders.defaults import DEFAULT_DECODERS  # noqa: E402
from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError, RuntimeJobFailureError  # noqa: E402
from qiskit_ibm_runtime.fake_provider import FakeManilaV2  # noqa: E402
from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program  # noqa: E402
from qiskit_ibm_runtime.options_models.simulator import SimulatorOptions  # noqa: E402
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS  # noqa: E402
from qjaxsim_qiskit import ibm  # noqa: E402
from qjaxsim_qiskit.ibm import jobs  # noqa: E402

CONVERTER = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"]


class Api:
    """The calls of IBM's interface that sessions and backends make; written to the folder's list."""

    def __init__(self, folder):
        self.folder = folder

    def backend_properties(self, name, **_):
        return FakeManilaV2().properties().to_dict()

    def create_session(self, backend, instance, max_time, mode):
        note(self.folder, f"open {mode}")
        return {"id": "session1"}

    def close_session(self, session_id):
        note(self.folder, f"close {session_id}")


def note(folder, line):
    with (folder / "calls").open("a") as file:
        file.write(line + "\n")


def calls(folder):
    return (folder / "calls").read_text().splitlines()


class Service(QiskitRuntimeService):
    """One backend, ibm_standin, which is the device behind FakeManilaV2. Jobs wait for the file `STATE`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._channel = "ibm_quantum_platform"

    def __new__(cls, *_):
        return object.__new__(cls)

    def active_instance(self):
        return "crn:v1:standin"

    def _get_api_client(self, instance=None):
        return Api(self.folder)

    def backends(self, name=None, **_):
        configuration = FakeManilaV2().configuration()
        configuration.backend_name = "ibm_standin"
        return [IBMBackend(configuration, self, Api(self.folder), instance=self.active_instance())]

    def backend(self, name, **_):
        from qiskit.providers.exceptions import QiskitBackendNotFoundError

        if name != "ibm_standin":
            raise QiskitBackendNotFoundError("No backend matches the criteria.")
        return self.backends()[0]

    def _run(self, program_id, inputs, options=None, session_id=None, **_):
        number = len(list(self.folder.glob("job*.json")))
        note(self.folder, f"submit {program_id} session={session_id}")
        (self.folder / f"job{number}.json").write_text(json.dumps(inputs, cls=RuntimeEncoder))
        return self.job(f"job{number}")

    def job(self, job_id):
        return Job(self.folder, job_id)


class Job:
    """A job whose state is what the folder's file STATE says, and whose result is made from what was submitted."""

    def __init__(self, folder, job_id):
        self.folder, self.id = folder, job_id

    def job_id(self):
        return self.id

    def status(self):
        path = self.folder / "STATE"
        return path.read_text() if path.exists() else "QUEUED"

    def result(self):
        while self.status() == "QUEUED":
            time.sleep(0.05)
        if self.status() == "ERROR":
            raise RuntimeJobFailureError("Unable to retrieve job result. Coupler is cold.")
        if self.status() == "CANCELLED":
            raise RuntimeInvalidStateError("Job was cancelled.")
        if self.status() == "OFFLINE":
            raise ConnectionError("no route to host")
        model = CONVERTER.model.model_validate_json((self.folder / f"{self.id}.json").read_text())
        program, _ = CONVERTER.decoder(model)
        for item in program.items:
            if hasattr(item, "samplex"):
                item.samplex.finalize()
        result = run_quantum_program(FakeManilaV2(), program, SimulatorOptions(seed_simulator=7))
        for decoder in DEFAULT_DECODERS["executor"]:
            result = decoder.decode(result) if decoder.is_applicable(result) else result
        return result


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "service").mkdir()
    return tmp_path / "service"


@pytest.fixture
def service(folder):
    return Service(folder)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "records"


def circuit():
    x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (3,))
    made = qj.Circuit(3).ry(x[0], 0).rx(x[1], 1).cx(0, 2)
    for qubit in range(3):
        made.ry(w[qubit], qubit)
    return made.cx(1, 0)


PARAMS = {"x": np.array([[0.3, 2.0], [1.4, -0.6]]), "w": np.array([0.2, 0.9, -0.5])}
OBSERVABLES = [qj.Z(0), qj.Z(2), qj.X(0) @ qj.Y(1) + 0.5 * qj.Z(1)]


def submit(service, out, **options):
    options = {"shots": 400, "resilience_level": 0, "wait": False, **options}
    return ibm.run(circuit(), PARAMS, OBSERVABLES, backend="ibm_standin", service=service, out=out, **options)


# --- submitted now, fetched later --------------------------------------------------------------------------------


def test_a_job_is_recorded_at_once_and_fetched_later(service, folder, out, capsys):
    record = submit(service, out)
    printed = capsys.readouterr().out
    assert "job job0 on ibm_standin, channel ibm_quantum_platform, 400 shots" in printed
    assert f"qjaxsim ibm fetch job0 --out {out}" in printed
    assert record.status == "submitted" and record.instance == "crn:v1:standin" and record.evs is None
    assert ibm.fetch("job0", out=out, service=service).status == "queued"
    assert ibm.load("job0", out).status == "submitted"  # asking changes nothing
    (folder / "STATE").write_text("DONE")
    fetched = ibm.fetch("job0", out=out, service=service)
    assert fetched.status == "done" and fetched.evs.shape == fetched.stds.shape == (2, 3)
    exact = qj.expectation(circuit(), OBSERVABLES)(PARAMS)
    np.testing.assert_allclose(fetched.exact, exact, atol=1e-12)
    # The device is noisy: near, and nearer than any other order of qubits would be.
    assert np.abs(fetched.evs - exact).max() < 0.3
    (folder / "job0.json").unlink()
    again = ibm.fetch("job0", out=out)  # no service is asked any more
    np.testing.assert_array_equal(again.evs, fetched.evs)
    assert calls(folder) == ["submit executor session=None"]


def test_waiting_gives_what_fetching_gives(service, folder, out):
    (folder / "STATE").write_text("DONE")
    waited, later = submit(service, out, wait=True), submit(service, out)
    np.testing.assert_array_equal(waited.evs, ibm.fetch(later.job_id, out=out, service=service).evs)


def test_counts_come_later_with_their_exact_probabilities(service, folder, out):
    record = ibm.run(circuit(), PARAMS, backend="ibm_standin", service=service, shots=300, wait=False, out=out)
    (folder / "STATE").write_text("DONE")
    fetched = ibm.fetch(record.job_id, out=out, wait=True, service=service)
    np.testing.assert_allclose(fetched.exact, qj.probabilities(circuit())(PARAMS), atol=1e-12)
    assert [sum(one.values()) for one in fetched.counts] == [300, 300]
    assert max(fetched.total_variation) < 0.3
    beside = out / "job0.npy"
    whole, other = beside.read_bytes(), io.BytesIO()
    np.save(other, fetched.exact[0])
    for damaged in (b"", whole[:5], whole[:-3], other.getvalue()):
        beside.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"job0.npy' must hold the exact prob.* shape \(2, 8\), but does not; with"
        ):
            ibm.fetch("job0", out=out)
    beside.unlink()
    assert ibm.fetch("job0", out=out).exact is None


@pytest.mark.parametrize(("mode", "opened"), [("session", "dedicated"), ("batch", "batch")])
def test_sessions_and_batches_are_opened_and_closed(mode, opened, service, folder, out):
    assert submit(service, out, mode=mode).mode == mode
    assert calls(folder) == [f"open {opened}", "submit executor session=session1", "close session1"]


@pytest.mark.parametrize("kind", [Session, Batch])
def test_an_open_session_takes_several_jobs(kind, service, folder, out):
    with kind(backend=service.backend("ibm_standin")) as session:
        for _ in range(2):
            assert submit(service, out, mode=session).mode == kind.__name__.lower()
    assert calls(folder)[1:] == ["submit executor session=session1"] * 2 + ["close session1"]


def test_older_primitives_submit_too(service, folder, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.executor_estimator", None)
    record = submit(service, out, resilience_level=2, mode="batch")
    assert record.primitive.endswith("EstimatorV2") and record.resilience_level == 2
    assert calls(folder)[1:] == ["submit estimator session=session1", "close session1"]
    inputs = json.loads((folder / "job0.json").read_text())
    assert inputs["resilience_level"] == 2 and inputs["options"]["default_shots"] == 400


def test_a_session_on_another_backend_is_refused(service, out):
    with (
        pytest.raises(ValueError, match="`mode` must be open on backend ibm_standin, but is on fake_manila"),
        Session(backend=FakeManilaV2()) as session,
    ):
        submit(service, out, mode=session)


def test_wrong_options_open_no_session(service, folder, out):
    with pytest.raises(ValueError, match="resilience_level: Input should be 0, 1 or 2"):
        submit(service, out, mode="session", resilience_level=3)
    assert not (folder / "calls").exists() and not out.exists()


def test_a_dry_run_submits_nothing(service, folder, out):
    record = submit(service, out, dry_run=True)
    assert record.status == "dry run" and record.job_id == "" and record.depth > 3 and "cx" in record.operations
    assert not (folder / "calls").exists() and not out.exists()


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "message"),
    [("ERROR", "Coupler is cold"), ("CANCELLED", "Job was cancelled")],
)
def test_a_failed_job_is_recorded_as_failed(state, message, service, folder, out):
    submit(service, out)
    (folder / "STATE").write_text(state)
    for _ in range(2):  # told by the service, then by the record
        with pytest.raises(RuntimeError, match=f"Job job0 failed: .*{message}"):
            ibm.fetch("job0", out=out, service=service)
    assert ibm.load("job0", out).status == "failed"


def test_a_lost_connection_does_not_end_a_job(service, folder, out):
    (folder / "STATE").write_text("OFFLINE")
    with pytest.raises(ConnectionError):
        submit(service, out, wait=True)
    assert ibm.load("job0", out).status == "submitted"
    (folder / "STATE").write_text("DONE")
    assert ibm.fetch("job0", out=out, service=service).status == "done"


def test_a_report_that_fails_loses_no_job(service, folder, out):
    def broken(line):
        raise BrokenPipeError(line)

    with pytest.raises(BrokenPipeError, match="job job0 on ibm_standin"):
        submit(service, out, report=broken)
    (folder / "STATE").write_text("DONE")
    assert ibm.fetch("job0", out=out, service=service).status == "done"


def test_unknown_backends_of_a_service(service, out):
    with pytest.raises(ValueError, match=r"'ibm_standing' is none \(near it: ibm_standin\)"):
        ibm.run(circuit(), PARAMS, backend="ibm_standing", service=service, out=out)


def test_records_that_are_none(out, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no record of job 'job9'; name the folder with --out"):
        ibm.fetch("job9", out=out)
    with pytest.raises(ValueError, match="`job_id` must be letters, digits, - and _, but is '../job0'"):
        ibm.fetch("../job0", out=out)
    with pytest.raises(ValueError, match="`job_id` must be letters, digits, - and _, but is 3"):
        ibm.fetch(3, out=out)
    (tmp_path / "odd.json").write_text('{"kind": "expectation"}')
    with pytest.raises(ValueError, match="odd.json' must be the record of a job, but is none"):
        ibm.fetch("odd", out=tmp_path)


# --- killed while waiting ----------------------------------------------------------------------------------------

CHILD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("standin", sys.argv[1])
standin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(standin)
standin.submit(standin.Service(sys.argv[2]), sys.argv[3], wait=True)
"""


def test_a_job_outlives_the_process_that_waits_for_it(service, folder, out, monkeypatch, capsys):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, __file__, str(folder), str(out)], env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    record = out / "job0.json"
    deadline = time.monotonic() + 60
    while not record.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert child.poll() is None, "it waits for its result"
    child.send_signal(signal.SIGKILL)
    child.wait()
    monkeypatch.setattr(jobs, "connect", lambda channel, instance: service)
    assert cli.main(["ibm", "fetch", "job0", "--out", str(out)]) == 1
    assert f"job job0 is queued; its result: qjaxsim ibm fetch job0 --out {out}" in capsys.readouterr().out
    (folder / "STATE").write_text("DONE")
    assert cli.main(["ibm", "fetch", "job0", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "X0 Y1 + 0.5 Z1" in printed and "deviation" in printed
    assert json.loads(record.read_text())["status"] == "done"
