"""The circuit of the study `gauss-newton-transition`, its observable, and gradient descent on it."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.observables import X, Y, Z
from qjaxsim.circuits.reference import pauli_sum_matrix
from qjaxsim.circuits.sums import PauliSum
from qjaxsim.running.simulate import expectation

ANISOTROPY = FIELD = 2.0
_LETTERS = "IXYZ"
Energy = Callable[[dict[str, Any]], jax.Array]


class Problem(NamedTuple):
    """What is minimised.

    Attributes:
        energy: maps {"weights": (..., P)} and the matrices of `fixed` to <O>, (...).
        fixed: unitary matrices (P, 2, d, d) before each rotation and (2, d, d) behind the last, real and
            imaginary part.
        least: smallest eigenvalue of O.
        start: (P,) first angles.
    """

    energy: Energy
    fixed: dict[str, np.ndarray]
    least: float
    start: np.ndarray


def problem_of(qubits: int, angles: int, seed: int) -> Problem:
    """Rotations about random Pauli strings between unitaries drawn from the Haar measure, and angles within +-pi.

    A rotation about a string is one about the Z of the first qubit between changes of basis, which are made part of the
    unitaries around it: circuits of all seeds are one, with other matrices.
    """
    rng = np.random.default_rng(seed)
    size = 2**qubits
    matrices, basis = [], np.eye(size)
    for _ in range(angles):
        haar = haar_unitary(size, rng)
        to_string = _basis_of(random_string(qubits, rng))
        matrices.append(to_string.conj().T @ haar @ basis)
        basis = to_string
    last = haar_unitary(size, rng) @ basis
    fixed = {"before": _parts(np.stack(matrices)), "last": _parts(last)}
    least = float(np.linalg.eigvalsh(pauli_sum_matrix(chain(qubits), qubits))[0])
    return Problem(_energy(qubits, angles), fixed, least, rng.uniform(-np.pi, np.pi, angles))


@cache
def _energy(qubits: int, angles: int) -> Energy:
    shape = (2, 2**qubits, 2**qubits)
    layer = Circuit(qubits).unitary(Parameter("before", shape), range(qubits)).rz(Parameter("weights"), 0)
    circuit = Circuit(qubits).repeat(layer, angles).unitary(Parameter("last", shape), range(qubits))
    return expectation(circuit, chain(qubits))


def _parts(matrix: np.ndarray) -> np.ndarray:
    """Real and imaginary part (..., 2, d, d)."""
    return np.stack([matrix.real, matrix.imag], axis=-3)


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


def random_string(qubits: int, rng: np.random.Generator) -> np.ndarray:
    """Any product of Pauli matrices but the identity, as a matrix."""
    number = int(rng.integers(1, 4**qubits))
    return pauli_matrix("".join(_LETTERS[number // 4**place % 4] for place in range(qubits)))


def _basis_of(string: np.ndarray) -> np.ndarray:
    """A unitary C with string = C Z C^dagger, Z of the first qubit: eigenvectors, those to 1 first."""
    return np.linalg.eigh(-string)[1]


@partial(jax.jit, static_argnums=(0, 5))
def descend(
    energy: Energy, fixed: dict[str, jax.Array], start: jax.Array, targets: jax.Array, rate: Any, steps: int
) -> tuple[jax.Array, jax.Array]:
    """Gradient descent on (<O> - O0)^2 / 2 from one start to several targets at once.

    Args:
        energy: of a problem.
        fixed: its matrices.
        start: (P,) angles.
        targets: (T,) values O0.
        rate: learning rate.
        steps: of gradient descent.

    Returns:
        Angles at the end (T, P), and <O> before each step and at the end, (steps + 1, T).
    """

    def value(angles: jax.Array) -> jax.Array:
        return energy({"weights": angles, **fixed})

    def step(angles: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        found, back = jax.vjp(value, angles)
        (slopes,) = back(found - targets)
        return angles - rate * slopes, found

    first = jax.numpy.broadcast_to(start, (targets.size, start.size))
    last, met = jax.lax.scan(step, first, length=steps)
    return last, jax.numpy.concatenate([met, value(last)[None]])
