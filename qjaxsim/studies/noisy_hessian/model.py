"""The circuit of the study `noisy-hessian` with its noise, and the functions of it that are differentiated."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.circuits.observables import Z
from qjaxsim.models.circuit_model import CircuitModel
from qjaxsim.models.hybrid import hybrid_circuit
from qjaxsim.models.losses import cross_entropy
from qjaxsim.running.simulate import expectation
from qjaxsim.studies.noisy_hessian.settings import QUBITS, NoisyHessianSettings

# Rows of a Hessian at once.
_ROWS = 8


def model_of(settings: NoisyHessianSettings) -> CircuitModel:
    """The classifier without noise: logits are <Z> of the first qubits times a constant."""
    circuit = hybrid_circuit(QUBITS, settings.layers)
    return CircuitModel(circuit, [Z(qubit) for qubit in range(settings.classes)], "inputs", settings.scale)


@functools.lru_cache(maxsize=4)
def noisy_values(layers: int, classes: int, pairs: bool = False) -> Callable[[dict[str, Any]], jax.Array]:
    """<Z> of the first qubits from "inputs", "weights" and the strength "p" of depolarizing noise after every gate.

    With `pairs` also those of products of two, behind the others in the order of `numpy.triu_indices`.
    """
    single = [Z(qubit) for qubit in range(classes)]
    products = [a @ b for a, b in itertools.combinations(single, 2)] if pairs else []
    noise = NoiseModel().after(None, Circuit(1).depolarizing(Parameter("p"), 0))
    return jax.jit(expectation(noise.apply(hybrid_circuit(QUBITS, layers)), single + products))


@functools.lru_cache(maxsize=4)
def loss_hessian(layers: int, classes: int) -> Callable[..., jax.Array]:
    """Maps (weights, p, scale, x, y) to the Hessian of the mean cross-entropy in the weights, (P, P)."""
    values = noisy_values(layers, classes)

    def loss(weights: jax.Array, p: Any, scale: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(scale * values({"inputs": x, "weights": weights, "p": p}), y).mean()

    def hessian(weights: jax.Array, *others: Any) -> jax.Array:
        slope = jax.grad(loss)

        def row(unit: jax.Array) -> jax.Array:
            return jax.jvp(lambda at: slope(at, *others), (weights,), (unit,))[1].ravel()

        units = jnp.eye(weights.size, dtype=weights.dtype).reshape(-1, *weights.shape)
        full = jax.lax.map(row, units, batch_size=_ROWS)
        return (full + full.T) / 2

    return jax.jit(hessian)
