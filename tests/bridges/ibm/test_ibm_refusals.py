"""What no simulated backend runs, and what is left of a job that fails."""

import json
import sys

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import memory

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")
from qiskit import QuantumCircuit, transpile  # noqa: E402
from qiskit.circuit import Gate, Parameter  # noqa: E402
from qiskit.providers.fake_provider import GenericBackendV2  # noqa: E402
from qiskit.quantum_info import Kraus, Operator  # noqa: E402
from qiskit_aer import AerSimulator  # noqa: E402
from qiskit_aer.noise import NoiseModel, amplitude_damping_error, depolarizing_error, pauli_error  # noqa: E402
from qiskit_ibm_runtime import Session  # noqa: E402
from qiskit_ibm_runtime.fake_provider import FakeManilaV2  # noqa: E402
from qjaxsim_qiskit import ibm  # noqa: E402
from qjaxsim_qiskit.ibm import jobs, parts, primitives, records  # noqa: E402
from qjaxsim_qiskit.ibm.work import prepare, pub  # noqa: E402

from tests.ibm_cases import OBSERVABLES, submit  # noqa: E402

pytestmark = [
    # Aer says of a noiseless GenericBackendV2 that its noise model will lack thermal relaxation.
    pytest.mark.filterwarnings("ignore:Qiskit backend .* has no QubitProperties:UserWarning"),
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "`shots` must be an integer of at least 1, but is 0"),
        ({"shots": True}, "`shots` must be an integer of at least 1, but is True"),
        ({"optimization_level": 4}, "`optimization_level` must be an integer from 0 to 3, but is 4"),
        ({"seed": -1}, "`seed` must be an integer from 0 to 2147483647, but is -1"),
        ({"mode": "turbo"}, "`mode` must be one of job, session, batch, but is 'turbo'"),
        ({"resilience_level": 3}, "options of the primitive are out of range: resilience_level: Input should be 0"),
        ({"resilience_level": True}, "`resilience_level` must be an integer of at least 0, but is True"),
        ({"exact": "no"}, "`exact` must be True or False, but is 'no'"),
        ({"noisy": "no"}, "`noisy` must be True or False, but is 'no'"),
        ({"dry_run": 1}, "`dry_run` must be True or False, but is 1"),
        ({"wait": "no"}, "`wait` must be True or False, but is 'no'"),
        ({"wait": False}, "`wait` must be true in local mode"),
        ({"channel": "ibm_quantum"}, "but is 'ibm_quantum' .IBM closed the channel ibm_quantum; ibm_quantum_platform"),
        ({"channel": "moon"}, "`channel`, .* must be one of local, ibm_quantum_platform, ibm_cloud, but is 'moon'"),
        ({"backend": "fake_manilla"}, r"'fake_manilla' is none \(near it: fake_manila"),
        ({"backend": "fake_armonk"}, "The circuit has 4 qubits, but backend fake_armonk has 1; choose a wider backend"),
        ({"observables": [qj.Z(4)]}, "acts on qubit 4, but the circuit has 4 qubits"),
        ({"observables": [qj.Z(0), qj.Z(1) - qj.Z(1)]}, "Observable 1 must have a term, but is 0"),
        ({"params": {"v": np.zeros(11)}}, r"`params` lacks \['a'\]"),
        ({"params": {"v": np.full(11, np.nan), "a": 0.0}}, "`params` must hold finite numbers, but v does not"),
    ],
)  # fmt: skip
def test_wrong_arguments(options, message, theirs, params, tmp_path):
    arguments = {"params": params, "observables": OBSERVABLES, "backend": "fake_manila", **options}
    with pytest.raises(ValueError, match=message):
        submit(theirs, arguments.pop("params"), arguments.pop("observables"), tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("backend", "shown"), [(3, "int"), (None, "NoneType"), (FakeManilaV2, "the class FakeManila")])
def test_what_is_no_backend(backend, shown, theirs, params, tmp_path):
    with pytest.raises(TypeError, match=f"Argument `backend` must be a BackendV2 of Qiskit's, but is {shown}"):
        submit(theirs, params, OBSERVABLES, tmp_path, backend=backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": None}, r"`mode` must be one of job, session, batch, or an open .* Batch, but is None \(NoneType\)"),
        ({"mode": Session}, r"`mode` must be one of job, session, batch, or an open .*Session'> \(ABCMeta|type\)"),
        ({"mode": FakeManilaV2()}, r"`mode` must be one of job, session, batch, or an open .* \(FakeManilaV2\)"),
        ({"report": None}, r"`report` must be a function of a line, such as print, but is None \(NoneType\)"),
    ],
)
def test_arguments_of_other_types(options, message, theirs, params, tmp_path):
    with pytest.raises(TypeError, match=message):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila", **options)
    assert list(tmp_path.iterdir()) == []


def test_fetch_waits_or_does_not(tmp_path):
    with pytest.raises(ValueError, match="`wait` must be True or False, but is 'no'"):
        ibm.fetch("any", out=tmp_path, wait="no")


def test_counts_know_no_resilience(theirs, params, tmp_path):
    with pytest.raises(ValueError, match="`resilience_level` is for expectation values, but is 1"):
        submit(theirs, params, None, tmp_path, backend="fake_manila", resilience_level=1)


def test_only_the_qubits_in_use_of_a_wide_device_are_simulated(tmp_path, monkeypatch):
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(0, 2)
    circuit.ry(0.3, 1)
    asked = []
    monkeypatch.setattr(jobs, "check_local", lambda backend, width, report: asked.append(width))
    counts = submit(circuit, None, None, tmp_path, backend="fake_guadalupe")
    dry = submit(circuit, None, None, tmp_path, backend="fake_guadalupe", dry_run=True)
    values = submit(circuit, None, [qj.Z(0) @ qj.Z(2), qj.X(1)], tmp_path, backend="fake_guadalupe", resilience_level=0)
    # A GHZ state with the noise of a good device.
    assert counts.total_variation[0] < 0.2 and len(counts.physical_qubits) == 3 and dry.status == "dry run"
    np.testing.assert_allclose(values.exact, [1, 0], atol=1e-12)
    assert 0.7 < values.evs[0] < 1 and abs(values.evs[1]) < 5 * values.stds[1]
    assert asked == [3, 3, 3]


def test_a_part_of_a_device_has_its_noise():
    from qiskit_aer.noise import NoiseModel
    from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2

    backend = FakeGuadalupeV2()
    circuit = QuantumCircuit(3)
    circuit.sx([0, 1, 2])
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    isa = transpile(circuit, backend, initial_layout=[12, 13, 14], optimization_level=0)
    submission = parts.used_part(isa, backend)
    assert submission.circuit.num_qubits == 3 and list(submission.places) == [0, 1, 2]
    whole, part = NoiseModel.from_backend(backend), submission.backend.options.noise_model
    for name in ("sx", "cx"):
        for qubits, error in part._local_quantum_errors[name].items():
            assert error == whole._local_quantum_errors[name][tuple(12 + qubit for qubit in qubits)]
    assert len(part._local_quantum_errors["cx"]) == 4 and len(part._local_readout_errors) == 3
    for (qubit,), error in part._local_readout_errors.items():
        assert error == whole._local_readout_errors[(12 + qubit,)]


def test_too_many_qubits_in_use(monkeypatch):
    lines = []
    jobs.check_local(FakeManilaV2(), 13, lines.append)
    assert lines == ["13 qubits of fake_manila are simulated, which may take minutes"]
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**8 - 1)
    with pytest.raises(MemoryError, match=r"but 4 of fake_manila take 2\.38e-07 GiB, .* use fewer qubits"):
        jobs.check_local(FakeManilaV2(), 4, lines.append)


def test_foreign_instructions_are_refused(theirs):
    circuit = theirs.copy()
    circuit.barrier()
    with pytest.raises(ValueError, match="holds rx, ry, but backend fake_manila has only .*cx.*; transpile it"):
        primitives.check_isa(circuit, FakeManilaV2())


def test_a_failed_simulation_is_recorded(theirs, params, tmp_path, monkeypatch):
    import qiskit_ibm_runtime.fake_provider.local_service as local
    from qiskit.exceptions import QiskitError

    def fail(*_, **__):
        raise QiskitError("no more\nshots.")

    monkeypatch.setattr(local, "run_quantum_program", fail)
    with pytest.raises(RuntimeError, match=r"^Job .* failed: no more shots\.$"):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila")
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["status"] == "failed"
    with pytest.raises(RuntimeError, match="failed: no more shots"):
        ibm.fetch(path.stem, out=tmp_path)


def test_a_local_job_without_its_result_cannot_be_fetched(theirs, params, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    def kill(*_):
        raise KilledError

    monkeypatch.setattr(jobs, "finish_job", kill)
    with pytest.raises(KilledError):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila")
    (path,) = tmp_path.iterdir()
    with pytest.raises(RuntimeError, match="was simulated in a process that ended before its result; run it again"):
        ibm.fetch(path.stem, out=tmp_path)


@pytest.mark.parametrize("package", ["qiskit_ibm_runtime", "qiskit_aer"])
def test_missing_packages(package, theirs, params, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf'{package} is missing; install it with: pip install -e "\.\[ibm\]" in a clone'
    ):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila")


def test_older_primitives_need_aer_too(old_runtime, theirs, params, tmp_path, monkeypatch):
    """They would run without noise, and say nothing."""
    backend = FakeManilaV2()
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    with pytest.raises(ImportError, match="qiskit_aer is missing"):
        submit(theirs, params, OBSERVABLES, tmp_path, backend=backend)


def test_observables_and_samples_are_crossed(theirs, params):
    """As many of one as of the other would be paired if the observables had no axis of their own."""
    work = prepare(theirs, params, OBSERVABLES)
    submission = parts.Submission(theirs, None, None)
    _, operators, values = pub(work, submission, primitives.EXPECTATION)
    assert np.array(operators, dtype=object).shape[:2] == (3, 1) and values.shape == (3, 12)


def test_every_field_of_a_record_is_written(theirs, params, tmp_path):
    record = submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila", shots=50, resilience_level=0)
    content = json.loads((tmp_path / f"{record.job_id}.json").read_text())
    assert content.keys() == {*records.JobRecord.__dataclass_fields__, "deviations", "total_variation"}


def test_a_gate_of_ones_own_under_a_standard_name_is_written_out():
    own = Gate("rz", 1, [])
    own.definition = QuantumCircuit(1)
    own.definition.h(0)
    circuit = QuantumCircuit(3)
    circuit.append(own, [2])
    circuit.cx(2, 0)
    work = prepare(circuit, {}, [qj.Z(0)])
    assert work.circuit.count_ops() == {"h": 1, "cx": 1}
    assert Operator(work.circuit) == Operator(circuit)


def noisy_circuits():
    ours = qj.Circuit(3).h(0).bit_flip(0.1, 0).cx(0, 2)
    theirs = QuantumCircuit(3)
    theirs.h(0)
    theirs.append(depolarizing_error(0.1, 2).to_instruction(), [0, 2])
    branch = QuantumCircuit(3, 1)
    branch.measure(0, 0)
    with branch.if_test((0, 1)):
        branch.append(Kraus(amplitude_damping_error(0.3)).to_instruction(), [1])
    return [ours, theirs, branch]


@pytest.mark.parametrize("circuit", noisy_circuits())
def test_channels_are_refused(circuit, tmp_path):
    with pytest.raises(ValueError, match="must be free of channels to run on a backend, .* `AerSimulator.noise_model="):
        submit(circuit, None, None, tmp_path, backend=AerSimulator())
    assert list(tmp_path.iterdir()) == []


def test_a_noise_of_one_s_own_is_the_simulator_s(tmp_path):
    """As the refusal of channels has it."""
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("XI", 0.2), ("II", 0.8)]), "cx")
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.cx(0, 2)
    record = submit(circuit, None, None, tmp_path, backend=AerSimulator(noise_model=model), optimization_level=0)
    # X on the target, which is the error's second qubit, in a fifth of the runs.
    (counts,) = record.counts
    assert set(counts) == {"101", "100"} and abs(counts["100"] - 200) < 5 * np.sqrt(1000 * 0.2 * 0.8)


def test_delays_of_a_free_duration_are_refused(tmp_path):
    circuit = QuantumCircuit(2)
    circuit.ry(0.3, 0)
    circuit.delay(Parameter("wait"), 1)
    with pytest.raises(
        ValueError, match="durations to be run on a backend, but that of operation 1 is wait; bind it in"
    ):
        submit(circuit, {"wait": 0.3}, [qj.Z(0)], tmp_path, backend="fake_manila")


def test_delays_between_a_device_s_ticks_are_refused(tmp_path):
    device = FakeManilaV2()
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.delay(5000, 0, "ns")
    steps = 5e-6 / device.dt
    near = 16 * round(steps / 16)
    with pytest.raises(ValueError, match=rf"must be multiples of 16 dt .* operation 1 is {steps:.0f}; .* is {near} dt"):
        submit(circuit, None, None, tmp_path, backend=device, dry_run=True)
    circuit.data.pop()
    circuit.delay(near * device.dt, 0, "s")
    assert submit(circuit, None, None, tmp_path, backend=device, dry_run=True).operations["delay"] == 1


def test_observables_need_gates_that_turn_bases(tmp_path):
    device = GenericBackendV2(2, basis_gates=["cz", "rx", "rz"], noise_info=False, seed=1)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    with pytest.raises(ValueError, match="needs a backend with the gates rz and sx, .* generic.* has no sx; choose an"):
        submit(circuit, None, [qj.X(0)], tmp_path, backend=device)
    assert list(tmp_path.iterdir()) == []


def test_observables_of_a_circuit_with_branches_are_refused(tmp_path):
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)
    with pytest.raises(ValueError, match="`observables` needs a circuit without branches .*; ask for counts, without"):
        submit(circuit, None, [qj.Z(1)], tmp_path, backend="fake_manila", dry_run=True)


def test_values_at_which_an_angle_is_none_are_refused(tmp_path):
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("a").log(), 0)
    circuit.cx(0, 1)
    for exact in (True, False):
        with pytest.raises(ValueError, match=r"^Angles must be .*, but .*log\(a\) is none at a = -0.5\.$"):
            submit(circuit, {"a": [0.5, -0.5]}, [qj.Z(1)], tmp_path, backend="fake_manila", exact=exact)
    assert list(tmp_path.iterdir()) == []
    assert submit(circuit, {"a": [0.5, 1.5]}, [qj.Z(1)], tmp_path, backend="fake_manila", shots=100).status == "done"


def test_counts_on_a_simulator_made_from_a_wide_device(tmp_path):
    from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2

    circuit = QuantumCircuit(2)
    circuit.x(1)
    simulator = AerSimulator.from_backend(FakeGuadalupeV2())
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "check_local", lambda backend, width, report: asked.append(width))
        record = submit(circuit, None, None, tmp_path, backend=simulator)
        submit(circuit, None, [qj.Z(0)], tmp_path, backend=simulator, dry_run=True)
    assert asked == [2, 16]
    assert record.counts[0]["01"] > 800
