"""qulacs in C++, double precision, with the circuit as given and with its optimiser."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, reversed_qubits
from qjaxsim_bench.tasks import Task, gates


def circuit(task: Task) -> Any:
    """The circuit; qulacs rotates by the opposite sign and counts qubits from the other end."""
    import qulacs

    at = reversed_qubits(task.n_qubits)
    made = qulacs.QuantumCircuit(task.n_qubits)
    for name, qubits, angle in gates(task.ops, task.theta):
        q = [at[i] for i in qubits]
        if name in ("rx", "ry", "rz"):
            assert angle is not None
            getattr(made, f"add_{name.upper()}_gate")(q[0], -angle)
        elif name == "cp":
            assert angle is not None
            gate = qulacs.gate.to_matrix_gate(qulacs.gate.U1(q[1], angle))
            gate.add_control_qubit(q[0], 1)
            made.add_gate(gate)
        else:
            names = {"h": "H", "t": "T", "cx": "CNOT", "swap": "SWAP"}
            getattr(made, f"add_{names[name]}_gate")(*q)
    return made


def _work(task: Task, optimise: bool) -> Work:
    import qulacs
    from qulacs.circuit import QuantumCircuitOptimizer

    made = circuit(task)
    if optimise:
        QuantumCircuitOptimizer().optimize(made, 4)
    state = qulacs.QuantumState(task.n_qubits)

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


_KINDS = {"state": 24, "expectation": 16}
PEERS = {
    "qulacs": Peer(
        "qulacs",
        ("qulacs",),
        "update_quantum_state on a prepared circuit and state, its default threads",
        ("double",),
        _KINDS,
        lambda task, dtype: _work(task, False),
    ),
    "qulacs-optimised": Peer(
        "qulacs-optimised",
        ("qulacs",),
        "the same after QuantumCircuitOptimizer.optimize(circuit, 4), optimised before the timing",
        ("double",),
        _KINDS,
        lambda task, dtype: _work(task, True),
    ),
}
