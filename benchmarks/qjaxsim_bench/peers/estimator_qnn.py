"""Qiskit Machine Learning's EstimatorQNN: outputs and their Jacobian in the weights, by its exact gradients."""

from typing import Any

import numpy as np

from qjaxsim_bench.peers.base import Peer, Work, reversed_qubits
from qjaxsim_bench.tasks import RATE, Task, classical_layers


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
        input_gradients=task.kind == "training",
        default_precision=0.0,
    )

    if task.kind == "training":
        return Work(lambda: _update(task, network))

    def run() -> np.ndarray:
        values = network.forward(task.inputs, task.theta)
        _, jacobian = network.backward(task.inputs, task.theta)
        return np.concatenate([np.asarray(values).reshape(-1), np.asarray(jacobian).reshape(-1)])

    return Work(run)


def _update(task: Task, network: Any) -> np.ndarray:
    """The classifier's update with the classical layers and Adam in NumPy, whose share of the time is nothing.

    What TorchConnector and torch do, without torch: forward and backward run of the network, then the chain rule.
    """
    layers, x, y = classical_layers(task), task.inputs, task.labels
    assert x is not None and y is not None
    pre, post = layers["pre"], layers["post"]
    angles = x @ pre["weight"].T + pre["bias"]
    values = np.asarray(network.forward(angles, task.theta))
    logits = values @ post["weight"].T + post["bias"]
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    slope = (p - np.eye(10)[y]) / len(y)  # (B, K)
    by_angles, by_weights = (np.asarray(part) for part in network.backward(angles, task.theta))
    signal = slope @ post["weight"]  # (B, n)
    to_pre = np.einsum("bq,bqi->bi", signal, by_angles)
    # In alphabetical order of the names.
    parameters = [post["bias"], post["weight"], pre["bias"], pre["weight"], task.theta]
    gradients = [
        slope.sum(axis=0),
        slope.T @ values,
        to_pre.sum(axis=0),
        to_pre.T @ x,
        np.einsum("bq,bqp->p", signal, by_weights),
    ]
    flat, gradient = (np.concatenate([part.reshape(-1) for part in parts]) for parts in (parameters, gradients))
    # Adam's first update, moments zero: their corrections cancel their decay.
    return np.concatenate([[loss], flat - RATE * gradient / (np.abs(gradient) + 1e-8)])


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
        {"qnn": 4, "training": 4},
        lambda task, dtype: _work(task, False),
        ("qiskit", "qiskit_machine_learning.neural_networks"),
    ),
    "qnn-reverse": Peer(
        "qnn-reverse",
        ("qiskit-algorithms", "qiskit-machine-learning", "qiskit"),
        "EstimatorQNN, reverse gradient of qiskit-algorithms",
        ("double",),
        {"qnn": 4, "training": 4},
        lambda task, dtype: _work(task, True),
        ("qiskit", "qiskit_machine_learning.neural_networks", "qiskit_algorithms.gradients"),
    ),
}
