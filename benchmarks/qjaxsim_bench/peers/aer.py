"""Qiskit Aer's statevector method with its own gate fusion, circuit transpiled before the timing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, angles_of, reversed_qubits
from qjaxsim_bench.tasks import Task, gates


def circuit(task: Task, theta: np.ndarray, at: Sequence[int]) -> Any:
    """The circuit as Qiskit's, with qubit q at place at[q]."""
    from qiskit import QuantumCircuit
    from qiskit_aer.noise import depolarizing_error

    made = QuantumCircuit(task.n_qubits)
    for name, qubits, angle in gates(task.ops, theta):
        places = [at[q] for q in qubits]
        if name == "mcz":
            made.mcp(math.pi, places[:-1], places[-1])
        elif name == "unitary":
            made.unitary(angle, places[::-1])  # Qiskit's first qubit is the least significant
        elif name == "depolarizing":
            made.append(depolarizing_error(angle, 1), places)
        elif name == "prepare":
            made.prepare_state(angle, places[::-1])
        else:
            getattr(made, name)(*(() if angle is None else (angle,)), *places)
    return made


def prepare(task: Task, dtype: str) -> Work:
    """The task as a job of the simulator."""
    from qiskit import transpile
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(method="statevector", precision=dtype)
    at = reversed_qubits(task.n_qubits)
    if task.kind == "kernel":
        return _kernel(simulator, [circuit(task, angles, at) for angles in angles_of(task)])
    if task.kind == "noisy":
        circuits = [circuit(task, np.concatenate([x, task.theta]), at) for x in task.inputs]  # type: ignore[union-attr]
        return _noisy(AerSimulator(method="density_matrix", precision=dtype), circuits, at)
    made = circuit(task, task.angle_values, at)
    if task.kind == "state":
        made.save_statevector()
        ready = transpile(made, simulator, optimization_level=0)
        return Work(lambda: simulator.run(ready).result(), lambda result: np.asarray(result.get_statevector().data))
    terms = [(word, [at[q] for q in qubits], value) for word, qubits, value in task.terms]
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=task.n_qubits)
    made.save_expectation_value(operator, range(task.n_qubits))
    ready = transpile(made, simulator, optimization_level=0)
    return Work(lambda: simulator.run(ready).result(), lambda result: np.array([result.data()["expectation_value"]]))


def _kernel(simulator: Any, circuits: list[Any]) -> Work:
    """States of all samples in one job."""
    from qiskit import transpile

    for made in circuits:
        made.save_statevector()
    ready = transpile(circuits, simulator, optimization_level=0)

    def states(result: Any) -> np.ndarray:
        return np.array([np.asarray(result.get_statevector(i).data) for i in range(len(circuits))])

    return Work(lambda: simulator.run(ready).result(), states)


def _noisy(simulator: Any, circuits: list[Any], at: Sequence[int]) -> Work:
    """<Z> of every qubit of all samples in one job of density matrices."""
    from qiskit.quantum_info import SparsePauliOp

    for made in circuits:
        for q, place in enumerate(at):
            operator = SparsePauliOp.from_sparse_list([("Z", [place], 1.0)], num_qubits=len(at))
            made.save_expectation_value(operator, range(len(at)), label=f"z{q}")

    def values(result: Any) -> np.ndarray:
        return np.array([[result.data(i)[f"z{q}"] for q in range(len(at))] for i in range(len(circuits))])

    return Work(lambda: simulator.run(circuits).result(), values)


PEERS = {
    "aer": Peer(
        "aer",
        ("qiskit-aer", "qiskit"),
        "statevector method (density_matrix under noise), its fusion and threads, run() of a transpiled circuit",
        ("single", "double"),
        {"state": 24, "expectation": 16, "kernel": 8, "noisy": 12},
        prepare,
        ("qiskit", "qiskit.transpiler", "qiskit_aer"),
        lacks=(),
    )
}
