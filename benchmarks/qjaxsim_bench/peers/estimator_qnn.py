"""Qiskit Machine Learning's EstimatorQNN: outputs and their Jacobian in the weights, by its exact gradients."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, reversed_qubits
from qjaxsim_bench.tasks import Task


def _work(task: Task, reverse: bool) -> Work:
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector
    from qiskit.primitives import StatevectorEstimator
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    n = task.n_qubits
    at = reversed_qubits(n)
    x, w = ParameterVector("x", n), ParameterVector("w", len(task.theta))
    made = QuantumCircuit(n)
    for name, qubits, angle in task.ops:
        arguments: tuple[Any, ...] = ()
        if isinstance(angle, int):
            arguments = (x[angle] if angle < n else w[angle - n],)
        getattr(made, name)(*arguments, *(at[q] for q in qubits))
    observables = [SparsePauliOp.from_sparse_list([("Z", [at[q]], 1.0)], num_qubits=n) for q in range(n)]
    estimator = StatevectorEstimator()
    network = EstimatorQNN(
        circuit=made,
        observables=observables,
        input_params=list(x),
        weight_params=list(w),
        estimator=estimator,
        gradient=_gradient(estimator, reverse),
        default_precision=0.0,
    )

    def run() -> np.ndarray:
        values = network.forward(task.inputs, task.theta)
        _, jacobian = network.backward(task.inputs, task.theta)
        return np.concatenate([np.asarray(values).reshape(-1), np.asarray(jacobian).reshape(-1)])

    return Work(run)


def _gradient(estimator: Any, reverse: bool) -> Any:
    if reverse:
        from qiskit_algorithms.gradients import ReverseEstimatorGradient

        return ReverseEstimatorGradient()
    from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient

    return ParamShiftEstimatorGradient(estimator)


PEERS = {
    "qnn-shift": Peer(
        "qnn-shift",
        ("qiskit-machine-learning", "qiskit"),
        "EstimatorQNN, StatevectorEstimator, parameter shift",
        ("double",),
        {"qnn": 4},
        lambda task, dtype: _work(task, False),
    ),
    "qnn-reverse": Peer(
        "qnn-reverse",
        ("qiskit-algorithms", "qiskit-machine-learning", "qiskit"),
        "EstimatorQNN, reverse gradient of qiskit-algorithms",
        ("double",),
        {"qnn": 4},
        lambda task, dtype: _work(task, True),
    ),
}
