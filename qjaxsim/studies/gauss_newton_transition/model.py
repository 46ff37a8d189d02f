"""The circuit of the study `gauss-newton-transition`, its observable, and gradient descent on it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.observables import X, Y, Z
from qjaxsim.circuits.reference import pauli_sum_matrix
from qjaxsim.circuits.sums import PauliSum
from qjaxsim.running.simulate import expectation

ANISOTROPY = FIELD = 2.0
_LETTERS = "IXYZ"


class Problem(NamedTuple):
    """What is minimised.

    Attributes:
        energy: maps {"weights": (..., P)} to <O>, (...).
        least: smallest eigenvalue of O.
        start: (P,) first angles.
    """

    energy: Callable[[dict[str, Any]], jax.Array]
    least: float
    start: np.ndarray


def problem_of(qubits: int, angles: int, seed: int) -> Problem:
    """Rotations about random Pauli strings between unitaries drawn from the Haar measure, and angles within +-pi."""
    rng = np.random.default_rng(seed)
    weights = Parameter("weights", (angles,))
    circuit = Circuit(qubits)
    for number in range(angles):
        circuit.unitary(haar_unitary(2**qubits, rng), range(qubits))
        circuit.evolve(_random_string(qubits, rng), weights[number] / 2)
    circuit.unitary(haar_unitary(2**qubits, rng), range(qubits))
    observable = chain(qubits)
    least = float(np.linalg.eigvalsh(pauli_sum_matrix(observable, qubits))[0])
    return Problem(expectation(circuit, observable), least, rng.uniform(-np.pi, np.pi, angles))


def chain(qubits: int) -> PauliSum:
    """O = -sum(XX + YY + 2 ZZ) - 2 sum Z on an open chain."""
    total = -FIELD * Z(0)
    for one in range(qubits - 1):
        other = one + 1
        total -= X(one) @ X(other) + Y(one) @ Y(other) + ANISOTROPY * (Z(one) @ Z(other)) + FIELD * Z(other)
    return total


def haar_unitary(size: int, rng: np.random.Generator) -> np.ndarray:
    """A unitary matrix (size, size) drawn from the Haar measure (Mezzadri 2007, arXiv:math-ph/0609050)."""
    normal = rng.normal(size=(2, size, size))
    q, r = np.linalg.qr(normal[0] + 1j * normal[1])
    phases = np.diag(r)
    return q * (phases / np.abs(phases))


def _random_string(qubits: int, rng: np.random.Generator) -> PauliSum:
    """Any product of Pauli matrices but the identity."""
    number = int(rng.integers(1, 4**qubits))
    return PauliSum.from_label("".join(_LETTERS[number // 4**place % 4] for place in range(qubits)))


@partial(jax.jit, static_argnums=(0, 4))
def descend(
    energy: Callable[[dict[str, Any]], jax.Array], start: jax.Array, targets: jax.Array, rate: Any, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Gradient descent on (<O> - O0)^2 / 2 from one start to several targets at once.

    Args:
        energy: of a problem.
        start: (P,) angles.
        targets: (T,) values O0.
        rate: learning rate.
        steps: of gradient descent.

    Returns:
        Angles at the end (T, P), and <O> before each step and at the end, (steps + 1, T).
    """

    def value(angles: jax.Array) -> jax.Array:
        return energy({"weights": angles})

    def step(angles: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        found, back = jax.vjp(value, angles)
        (slopes,) = back(found - targets)
        return angles - rate * slopes, found

    first = jax.numpy.broadcast_to(start, (targets.size, start.size))
    last, met = jax.lax.scan(step, first, length=steps)
    return last, jax.numpy.concatenate([met, value(last)[None]])
