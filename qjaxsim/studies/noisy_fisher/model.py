"""The circuit of the study `noisy-fisher` with its noise, and the matrices that are taken of it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.curvature.hvp import hessian
from qjaxsim.geometry import quantum_fisher
from qjaxsim.models.ising import ising_energy, ising_pairs
from qjaxsim.running.simulate import density_matrix, expectation


def ring_circuit(qubits: int, layers: int) -> Circuit:
    """|+>, then layers of exp(-i theta sum ZZ / 2), each ZZ as CX RZ CX, and exp(-i phi sum X / 2).

    Its parameter "layers" (layers, 2) holds theta and phi.
    """
    own, layer = Parameter("layers", (2,)), Circuit(qubits)
    for a, b in ising_pairs(qubits, periodic=True):
        layer.cx(a, b).rz(own[0], b).cx(a, b)
    layer.rx(own[1], list(range(qubits)))
    return Circuit(qubits).h(list(range(qubits))).repeat(layer, layers)


def noisy_circuit(qubits: int, layers: int) -> Circuit:
    """The same with X, Y and Z, each with probability "strength", after every gate on each of its qubits."""
    # A depolarizing channel has each of the three with a quarter of its probability.
    channel = Circuit(1).depolarizing(4 * Parameter("strength"), 0)
    return NoiseModel().after(None, channel).apply(ring_circuit(qubits, layers))


def noiseless_energy(qubits: int, layers: int) -> Callable[[jax.Array], jax.Array]:
    """Maps angles (..., M) to the energy."""
    values = expectation(ring_circuit(qubits, layers), ising_energy(qubits, periodic=True))
    return lambda angles: values({"layers": _by_layer(angles)})


@functools.lru_cache(maxsize=2)
def noisy_matrices(qubits: int, layers: int) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """What maps angles (B, M) and strengths (K,) to all that is taken of the noisy states, (B, K, ...).

    That is the "fisher" matrix and the "hessian" of the energy in the angles, (B, K, M, M), the "purity" and the
    "energy".
    """
    circuit = noisy_circuit(qubits, layers)
    fisher, state = quantum_fisher(circuit, ["layers"]), density_matrix(circuit)
    energy = expectation(circuit, ising_energy(qubits, periodic=True))

    def params(angles: jax.Array, strength: jax.Array) -> dict[str, jax.Array]:
        return {"layers": _by_layer(angles), "strength": strength}

    def one(both: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        at, (angles, strength) = params(*both), both
        return {
            "fisher": fisher(at),
            "hessian": hessian(lambda moved: energy(params(moved, strength)), angles),
            "purity": jnp.sum(jnp.abs(state(at)) ** 2),
            "energy": energy(at),
        }

    @jax.jit
    def matrices(angles: jax.Array, strengths: jax.Array) -> dict[str, jax.Array]:
        return jax.lax.map(lambda own: jax.lax.map(lambda s: one((own, s)), strengths), angles)

    return matrices


def _by_layer(angles: Any) -> Any:
    return angles.reshape(*angles.shape[:-1], -1, 2)


def weight_of(purity: float, dimension: int) -> float:
    """Of a pure state in a mixture with the identity that has this purity."""
    return float(np.sqrt(max(purity - 1 / dimension, 0) / (1 - 1 / dimension)))


def mixed_with_identity(weight: float, dimension: int) -> float:
    """The factor that a mixture of a pure state with the identity, of this weight, gives the Fisher information.

    The state has one eigenvalue w + (1 - w) / d and others (1 - w) / d, and moves by w times as much as the pure one,
    between the first and the others alone.
    """
    return weight**2 / (weight + 2 * (1 - weight) / dimension)
