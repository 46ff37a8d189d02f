"""A hybrid model beside Qiskit Machine Learning's EstimatorQNN at identical weights: values, gradients, times."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.models.hybrid import HybridModel, Params

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

GRADIENTS = ("reverse", "shift")


@dataclass(frozen=True)
class QnnComparison:
    """How far two computations of one model are apart, and how long they take.

    Attributes:
        values: largest difference of <Z>, all samples and qubits.
        weight_gradients: largest difference of derivatives of <Z> in the circuit weights.
        input_gradients: largest difference of those in the encoded angles.
        seconds_ours: a repeated forward and backward run of all samples.
        seconds_theirs: the same of EstimatorQNN.
        first_ours: the first run, with compilation.
        gradient: EstimatorQNN's, "reverse" or "shift".
        samples: images.
        dtype: ours.
    """

    values: float
    weight_gradients: float
    input_gradients: float
    seconds_ours: float
    seconds_theirs: float
    first_ours: float
    gradient: str
    samples: int
    dtype: str

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        return max(self.values, self.weight_gradients, self.input_gradients)


def compare_estimator_qnn(
    model: HybridModel, params: Params, x: Any, circuit: "QuantumCircuit", *, gradient: str = "reverse"
) -> QnnComparison:
    """The comparison of a hybrid model's circuit, weights and encoded images on both sides.

    Args:
        model: ours.
        params: trained parameters of one seed, as `qjaxsim.studies.gradient_cell.seed_parameters` reads them.
        x: images (batch, image_size, image_size).
        circuit: the model's circuit in Qiskit, qubit q at qubit q, with ParameterVectors "inputs" (n) and "weights"
            (3 R n, row-major), as `qjaxsim_qiskit.to_qiskit(model.circuit)` gives it.
        gradient: EstimatorQNN's: "reverse" (of qiskit-algorithms, its fastest exact one) or "shift" (its default).

    Raises:
        ValueError: for another `gradient`, or a circuit without these parameters.
        ImportError: if a package of Qiskit is missing, naming the extra.
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"Argument `gradient` must be one of {list(GRADIENTS)}, but is {gradient!r}.")
    params = jax.tree.map(jnp.asarray, params)
    dtype = params["weights"].dtype
    inputs, weights = model.encode(params, jnp.asarray(x, dtype)), params["weights"]
    theirs = _their_run(model, circuit, gradient, np.asarray(inputs, float), np.asarray(weights, float).reshape(-1))
    ours = _our_run(model, inputs, weights)
    found, first_ours = _timed(ours)
    expected, _ = _timed(theirs)
    values, by_weights, by_inputs = (float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))
    return QnnComparison(
        values=values,
        weight_gradients=by_weights,
        input_gradients=by_inputs,
        seconds_ours=_timed(ours)[1],
        seconds_theirs=_timed(theirs)[1],
        first_ours=first_ours,
        gradient=gradient,
        samples=len(inputs),
        dtype=str(dtype),
    )


def _our_run(model: HybridModel, inputs: jax.Array, weights: jax.Array) -> Callable[[], list[np.ndarray]]:
    """<Z> (B, n) and its derivatives in the weights (B, n, P) and the inputs (B, n, n)."""
    outputs = model.circuit_outputs

    @jax.jit
    def run(inputs: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        values = lambda given, angles: outputs({"weights": angles}, {"inputs": given})  # noqa: E731
        # A sample's values depend on its own inputs alone, so their sum over samples has the same derivatives.
        by_inputs = jax.jacrev(lambda given: values(given, weights).sum(axis=0))(inputs)
        return values(inputs, weights), jax.jacrev(values, 1)(inputs, weights), jnp.moveaxis(by_inputs, 1, 0)

    def measured() -> list[np.ndarray]:
        z, by_weights, by_inputs = jax.block_until_ready(run(inputs, weights))
        return [np.asarray(z), np.asarray(by_weights).reshape(*z.shape, -1), np.asarray(by_inputs)]

    return measured


def _their_run(
    model: HybridModel, circuit: "QuantumCircuit", gradient: str, inputs: np.ndarray, weights: np.ndarray
) -> Callable[[], list[np.ndarray]]:
    try:
        from qiskit.primitives import StatevectorEstimator
        from qiskit.quantum_info import SparsePauliOp
        from qiskit_algorithms.gradients import ReverseEstimatorGradient
        from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
        from qiskit_machine_learning.neural_networks import EstimatorQNN
    except ImportError as error:
        raise ImportError(
            f"The comparison with EstimatorQNN needs {error.name}; install it with: pip install 'qjaxsim[bench]'"
        ) from error
    n = model.n_qubits
    estimator = StatevectorEstimator()
    network = EstimatorQNN(
        circuit=circuit,
        observables=[SparsePauliOp.from_sparse_list([("Z", [q], 1.0)], num_qubits=n) for q in range(n)],
        input_params=_elements(circuit, "inputs", n),
        weight_params=_elements(circuit, "weights", weights.size),
        input_gradients=True,
        estimator=estimator,
        gradient=ReverseEstimatorGradient() if gradient == "reverse" else ParamShiftEstimatorGradient(estimator),
        default_precision=0.0,  # the default is 1/64: noise on exact values
    )

    def run() -> list[np.ndarray]:
        values = np.asarray(network.forward(inputs, weights))
        by_inputs, by_weights = network.backward(inputs, weights)
        return [values, np.asarray(by_weights), np.asarray(by_inputs)]

    return run


def _elements(circuit: "QuantumCircuit", name: str, count: int) -> list[Any]:
    """The elements of a ParameterVector of the circuit, in order of their index."""
    found = {p.index: p for p in circuit.parameters if getattr(getattr(p, "vector", None), "name", None) == name}
    if sorted(found) != list(range(count)):
        raise ValueError(
            f"Argument `circuit` must have a ParameterVector {name!r} with {count} elements, all used, but uses "
            f"{len(found)} of that name."
        )
    return [found[index] for index in range(count)]


def _timed(run: Callable[[], list[np.ndarray]]) -> tuple[list[np.ndarray], float]:
    start = time.perf_counter()
    out = run()
    return out, time.perf_counter() - start
