"""Qiskit Aer's statevector method with its own gate fusion, circuit transpiled before the timing."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, reversed_qubits
from qjaxsim_bench.tasks import Task, gates


def circuit(task: Task) -> Any:
    """The circuit with Qiskit's order of qubits."""
    from qiskit import QuantumCircuit

    at = reversed_qubits(task.n_qubits)
    made = QuantumCircuit(task.n_qubits)
    for name, qubits, angle in gates(task.ops, task.theta):
        getattr(made, name)(*(() if angle is None else (angle,)), *(at[q] for q in qubits))
    return made


def prepare(task: Task, dtype: str) -> Work:
    """The task as a job of the simulator."""
    from qiskit import transpile
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(method="statevector", precision=dtype)
    made = circuit(task)
    if task.kind == "state":
        made.save_statevector()
        ready = transpile(made, simulator, optimization_level=0)
        return Work(lambda: simulator.run(ready).result(), lambda result: np.asarray(result.get_statevector().data))
    at = reversed_qubits(task.n_qubits)
    terms = [(word, [at[q] for q in qubits], value) for word, qubits, value in task.terms]
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=task.n_qubits)
    made.save_expectation_value(operator, range(task.n_qubits))
    ready = transpile(made, simulator, optimization_level=0)
    return Work(lambda: simulator.run(ready).result(), lambda result: np.array([result.data()["expectation_value"]]))


PEERS = {
    "aer": Peer(
        "aer",
        ("qiskit-aer", "qiskit"),
        "statevector method, its default fusion and threads, run() of a transpiled circuit",
        ("single", "double"),
        {"state": 24, "expectation": 16},
        prepare,
    )
}
