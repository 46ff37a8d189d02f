"""qulacs in C++, double precision, with the circuit as given and with its optimiser."""

import math
from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, angles_of, reversed_qubits
from qjaxsim_bench.tasks import Task, gates

NAMES = {
    "h": "H", "x": "X", "y": "Y", "z": "Z", "s": "S", "sdg": "Sdag", "t": "T", "tdg": "Tdag", "sx": "sqrtX",
    "sxdg": "sqrtXdag", "cx": "CNOT", "cz": "CZ", "swap": "SWAP",
}  # fmt: skip


def circuit(task: Task, theta: np.ndarray) -> Any:
    """The circuit; qulacs rotates by the opposite sign and counts qubits from the other end."""
    import qulacs

    at = reversed_qubits(task.n_qubits)
    made = qulacs.QuantumCircuit(task.n_qubits)
    for name, qubits, angle in gates(task.ops, theta):
        q = [at[i] for i in qubits]
        if name in ("rx", "ry", "rz"):
            assert isinstance(angle, float)
            getattr(made, f"add_{name.upper()}_gate")(q[0], -angle)
        elif name in ("cp", "mcz"):
            gate = qulacs.gate.to_matrix_gate(qulacs.gate.U1(q[-1], math.pi if angle is None else angle))
            for control in q[:-1]:
                gate.add_control_qubit(control, 1)
            made.add_gate(gate)
        elif name == "p":
            made.add_U1_gate(q[0], angle)
        elif name == "rzz":
            assert isinstance(angle, float)
            made.add_multi_Pauli_rotation_gate(q, [3, 3], -angle)
        elif name == "unitary":
            made.add_dense_matrix_gate(q[::-1], angle)
        elif name in ("ccx", "cswap"):
            made.add_gate((qulacs.gate.TOFFOLI if name == "ccx" else qulacs.gate.FREDKIN)(*q))
        else:
            getattr(made, f"add_{NAMES[name]}_gate")(*q)
    return made


def _work(task: Task, optimise: bool) -> Work:
    import qulacs
    from qulacs.circuit import QuantumCircuitOptimizer

    def ready(theta: np.ndarray) -> Any:
        made = circuit(task, theta)
        if optimise:
            QuantumCircuitOptimizer().optimize(made, 4)
        return made

    state = qulacs.QuantumState(task.n_qubits)
    if task.kind == "kernel":
        return _kernel(state, [ready(angles) for angles in angles_of(task)])
    made = ready(task.angle_values)

    def run() -> Any:
        state.set_zero_state()
        made.update_quantum_state(state)
        return state

    if task.kind == "state":
        return Work(run, lambda s: np.asarray(s.get_vector()))
    at = reversed_qubits(task.n_qubits)
    observable = qulacs.Observable(task.n_qubits)
    for word, qubits, value in task.terms:
        observable.add_operator(value, " ".join(f"{w} {at[q]}" for w, q in zip(word, qubits, strict=True)))
    return Work(lambda: np.array([observable.get_expectation_value(run())]))


def _kernel(state: Any, circuits: list[Any]) -> Work:
    """States of all samples, their circuits made before the timing."""

    def run() -> np.ndarray:
        out = []
        for made in circuits:
            state.set_zero_state()
            made.update_quantum_state(state)
            out.append(state.get_vector())
        return np.array(out)

    return Work(run)


_KINDS = {"state": 24, "expectation": 16, "kernel": 8}
PEERS = {
    "qulacs": Peer(
        "qulacs",
        ("qulacs",),
        "update_quantum_state on a prepared circuit and state, its default threads",
        ("double",),
        _KINDS,
        lambda task, dtype: _work(task, False),
        ("qulacs",),
    ),
    "qulacs-optimised": Peer(
        "qulacs-optimised",
        ("qulacs",),
        "the same after QuantumCircuitOptimizer.optimize(circuit, 4), optimised before the timing",
        ("double",),
        _KINDS,
        lambda task, dtype: _work(task, True),
        ("qulacs",),
    ),
}
