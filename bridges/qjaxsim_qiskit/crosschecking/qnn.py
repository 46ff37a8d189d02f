"""Our hybrid classifier's circuit as Qiskit Machine Learning's EstimatorQNN, and how far the two are apart."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

import qjaxsim as qj
from qjaxsim.common.extras import missing_extra
from qjaxsim.models.hybrid import HybridModel
from qjaxsim_qiskit.crosschecking.checks import Check
from qjaxsim_qiskit.crosschecking.comparing import paired_seconds, timed
from qjaxsim_qiskit.crosschecking.crosscheck import TOLERANCES
from qjaxsim_qiskit.exporting import to_qiskit
from qjaxsim_qiskit.observables import to_sparse_pauli_op


def estimator_qnn(model: HybridModel) -> Any:
    """The model's circuit as an `EstimatorQNN` with exact values and gradients in weights and inputs.

    Its forward pass gives <Z> of every qubit, shape (batch, n_qubits). Weights are flat, in the order (layer, qubit,
    axis) of our (n_layers, n_qubits, 3); inputs are the angles of the encoding. Gradients are those of the reverse
    sweep of qiskit-algorithms where it is installed, else by parameter shift.

    Raises:
        ImportError: if qiskit-machine-learning is missing, naming the extra.
    """
    if find_spec("qiskit_machine_learning") is None:
        raise missing_extra("EstimatorQNN needs the package qiskit-machine-learning", "bench")
    from qiskit.primitives import StatevectorEstimator
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    circuit = to_qiskit(model.circuit)
    vectors: dict[str, list[Any]] = {"inputs": [], "weights": []}
    for parameter in circuit.parameters:  # in the order of their indices
        vectors[parameter.vector.name].append(parameter)
    estimator = StatevectorEstimator()
    return EstimatorQNN(
        circuit=circuit,
        observables=[to_sparse_pauli_op(observable, model.n_qubits) for observable in model.observables],
        input_params=vectors["inputs"],
        weight_params=vectors["weights"],
        input_gradients=True,
        estimator=estimator,
        gradient=_gradient(estimator),
        # The default is 1/64: Gaussian noise of that size on every value and gradient.
        default_precision=0.0,
    )


def qnn_checks(model: HybridModel, params: dict[str, Any], x: Any, tolerance: float | None = None) -> list[Check]:
    """Expectation values and their Jacobians in weights and inputs, ours and EstimatorQNN's, with the times of both.

    Args:
        model: the model.
        params: as `model.init` gives them.
        x: (batch, image_size, image_size) grey values in [0, 1].
        tolerance: largest difference allowed; default as in `crosscheck`.
    """
    own = model.circuit_params(params, x)
    network = estimator_qnn(model)
    bound = TOLERANCES[own["inputs"].dtype.name] if tolerance is None else tolerance
    inputs, weights = np.asarray(own["inputs"], float), np.asarray(own["weights"], float).reshape(-1)
    run = qj.expectation(model.circuit, model.observables)
    values, times = timed(run, own)
    theirs, their_times = timed(network.forward, inputs, weights)
    name = f"EstimatorQNN, {type(network.gradient).__name__}"
    checks = [_check("EstimatorQNN: values", values, theirs, bound, times, their_times, "")]
    jacobians, times = timed(_jacobians(run), own)
    theirs, their_times = timed(network.backward, inputs, weights)
    for quantity, ours, other in zip(("inputs", "weights"), jacobians, theirs, strict=True):
        text = f"{name}, one call for inputs and weights"
        checks.append(_check(f"EstimatorQNN: gradients in {quantity}", ours, other, bound, times, their_times, text))
    return checks


def _check(quantity: str, ours: Any, theirs: Any, bound: float, times: Any, their_times: Any, detail: str) -> Check:
    a, b = np.asarray(ours), np.asarray(theirs)
    difference = float(np.abs(a.reshape(b.shape) - b).max())
    seconds = paired_seconds(times, their_times)
    return Check(quantity, "largest difference", difference, bound, **seconds, detail=detail)


def _jacobians(run: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Of (batch, n) values: in a sample's own inputs (batch, n, n), in the weights (batch, n, R, n, 3)."""

    def one(weights: jax.Array, inputs: jax.Array) -> jax.Array:
        return run({"inputs": inputs, "weights": weights})

    each = jax.vmap(jax.jacrev(one, argnums=(1, 0)), in_axes=(None, 0))
    return jax.jit(lambda own: each(own["weights"], own["inputs"]))


def _gradient(estimator: Any) -> Any:
    if find_spec("qiskit_algorithms") is not None:
        from qiskit_algorithms.gradients import ReverseEstimatorGradient

        return ReverseEstimatorGradient()
    from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient

    return ParamShiftEstimatorGradient(estimator)
