"""How errors of Aer's and of devices are read, and what a device cannot run."""

import numpy as np
import pytest

import qjaxsim as qj

pytest.importorskip("qiskit_aer", reason="Qiskit Aer is not installed")

from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Reset
from qiskit.circuit.library import CXGate, HGate, PauliGate, RYGate, SGate, UnitaryGate, XGate
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import DensityMatrix, Kraus, SuperOp, random_unitary
from qiskit_aer import noise
from qjaxsim_qiskit import crosscheck, from_aer_noise_model, from_qiskit
from qjaxsim_qiskit.ordering import reverse_matrix


class Named(Gate):
    """A gate of one qubit whose name says nothing."""

    def __init__(self, inner):
        super().__init__("x", 1, [])
        self.inner = inner

    def _define(self):
        self.definition = QuantumCircuit(1)
        self.definition.append(self.inner, [0])


def test_errors_of_many_circuits_are_those_of_qiskits_algebra():
    damped, dephased = (
        Kraus(SuperOp(each)).to_instruction()
        for each in (noise.amplitude_damping_error(0.3), noise.phase_damping_error(0.3))
    )
    circuits = [
        ((Named(HGate()), [1]), (damped, [0])),
        ((Named(SGate()), [1]), (dephased, [0])),
        ((XGate(), [1]), (PauliGate("XYZ"), [2, 0, 1])),
        ((PauliGate("XYI"), [2, 0, 1]), (Reset(), [1]), (CXGate(ctrl_state=0), [2, 0])),
        ((CXGate(), [2, 0]), (RYGate(0.3), [1]), (RYGate(0.7), [1]), (UnitaryGate(random_unitary(2, seed=1)), [2])),
    ]
    made = []
    for parts in circuits:
        made.append(QuantumCircuit(3))
        for operation, qubits in parts:
            made[-1].append(operation, qubits)
    error = noise.QuantumError(list(zip(made, (0.2, 0.3, 0.1, 0.15, 0.25), strict=True)))
    model = noise.NoiseModel()
    model.add_all_qubit_quantum_error(error, "ccx")
    circuit = QuantumCircuit(3)
    circuit.ry(0.4, 0)
    circuit.h([1, 2])
    circuit.ccx(0, 2, 1)
    found = qj.density_matrix(from_aer_noise_model(model).apply(from_qiskit(circuit).circuit))()
    exact = DensityMatrix(circuit).evolve(SuperOp(error), [0, 2, 1])
    np.testing.assert_allclose(found, reverse_matrix(exact.data), atol=1e-12)


def test_a_device_is_read_by_its_few_instructions(monkeypatch):
    """Errors of this device are 1,023 circuits; its instructions on one and two qubits are some dozens."""
    fake = pytest.importorskip("qiskit_ibm_runtime.fake_provider", reason="qiskit-ibm-runtime is not installed")
    model = noise.NoiseModel.from_backend(fake.FakeManilaV2())
    made, own = [], SuperOp.__init__
    monkeypatch.setattr(SuperOp, "__init__", lambda self, *args, **options: made.append(own(self, *args, **options)))
    from_aer_noise_model(model)
    assert len(made) < 300


def test_circuits_that_a_device_cannot_run_are_told():
    device = GenericBackendV2(4, seed=1)
    with pytest.raises(ValueError, match=r"The circuit has 5 qubits, but backend generic_backend_4q has 4; choose"):
        crosscheck(qj.Circuit(5).h(range(5)), noise=device)
    branch = qj.Circuit(3).h(0).measure(0, 0).if_bits(0, 1, qj.Circuit(3).x(2))
    with pytest.raises(ValueError, match=r"^Operation 2 of the circuit is if_else, but backend generic_backend_4q f"):
        crosscheck(branch, noise=device)
    pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
    from qjaxsim_qiskit import ibm

    with pytest.raises(ValueError, match=r"^Operation 2 of the circuit is if_else, but backend generic_backend_4q f"):
        ibm.run(branch, {}, backend=device)
