"""The two problems of the study `overparametrisation`: ground states of Ising chains, and random unitaries."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.hermitian import Projector
from qjaxsim.circuits.observables import Observable, PauliSum, X, Y, Z
from qjaxsim.circuits.reference import pauli_sum_matrix
from qjaxsim.models.ising import ising_energy, ising_pairs, ising_parts
from qjaxsim.planning.options import PlanOptions
from qjaxsim.running.simulate import expectation
from qjaxsim.studies.overparametrisation.settings import OPEN, RING, UNITARY

# How the chains begin: |+> everywhere, or a random product state, which has none of the symmetries.
PLUS, PRODUCT = "plus", "product"


@dataclass(frozen=True)
class Problem:
    """What is trained, for any number of layers.

    Angles are one vector, in the order of the circuit, which is that of `ravel_pytree` too: those of a chain's layer
    are theta of exp(-i theta sum ZZ / 2), then phi of exp(-i phi sum X / 2).

    Attributes:
        name: open, ring or unitary.
        qubits: of the chain, or of the unitary.
        seed: of the unitary.
    """

    name: str
    qubits: int
    seed: int = 0

    @property
    def key(self) -> str:
        """For names of cells."""
        return f"{self.name}-q{self.qubits}"

    @property
    def rank(self) -> int:
        """At which the quantum Fisher information is expected to saturate."""
        return {OPEN: self.qubits**2 // 2, RING: self.qubits, UNITARY: 4**self.qubits - 1}[self.name]

    @property
    def dimension(self) -> int:
        """Expected of the dynamical Lie algebra."""
        return {OPEN: self.qubits**2, RING: 3 * self.qubits - 1, UNITARY: 4**self.qubits - 1}[self.name]

    @property
    def span(self) -> float:
        """Initial angles are uniform from 0 to this."""
        return 2 * math.pi if self.name == UNITARY else math.pi

    @property
    def width(self) -> int:
        """Qubits that are simulated."""
        return 2 * self.qubits if self.name == UNITARY else self.qubits

    def angles(self, layers: int) -> int:
        """M, of so many layers."""
        return 2 * self.qubits + 4 * (self.qubits - 1) * layers if self.name == UNITARY else 2 * layers

    def layers(self, least: float) -> int:
        """Fewest layers that have so many angles."""
        first, each = self.angles(0), self.angles(1) - self.angles(0)
        return max(math.ceil((least - first) / each), 1)

    def circuit(self, layers: int, *, start: str = PLUS, slip: bool = False) -> Circuit:
        """What prepares the state.

        Args:
            layers: of the circuit, at least 1.
            start: of a chain.
            slip: give each layer a parameter "slip" more, added to the angles of the ZZ and of the first X: its
                derivative is what the public code takes for that in the angle of the ZZ of an open chain.
        """
        if self.name == UNITARY:
            return _compiling(self, layers)
        return _started(self, start).repeat(_ising_layer(self, slip), layers)

    def params(self, angles: Any) -> dict[str, Any]:
        """Parameters of the circuit from angles (..., M)."""
        first = self.angles(0)
        shape = angles.shape[:-1]
        if self.name == UNITARY:
            rest = angles[..., first:].reshape(*shape, -1, self.angles(1) - first)
            return {"begin": angles[..., :first], "layers": rest}
        return {"layers": angles.reshape(*shape, -1, 2)}

    def cost(self, layers: int) -> Callable[[jax.Array], jax.Array]:
        """Maps angles (..., M) to the cost above its minimum: energy, or infidelity of the unitary."""
        observable, least = _aim(self)
        # Run backwards: quicker to compile than keeping the states between layers, and no slower.
        values = expectation(self.circuit(layers), observable, options=PlanOptions(gradient="adjoint"))
        return lambda angles: values(self.params(angles)) - jnp.asarray(least, angles.dtype)

    def generators(self) -> list[PauliSum]:
        """Of the Lie algebra; of the unitary's also those that a CZ makes of a neighbour's rotation."""
        if self.name != UNITARY:
            return list(ising_parts(self.qubits, self.name == RING))
        single = [pauli(qubit) for qubit in range(self.qubits) for pauli in (X, Y)]
        pairs = [pauli(a) @ Z(b) for i, j in ising_pairs(self.qubits) for a, b in ((i, j), (j, i)) for pauli in (X, Y)]
        return single + pairs

    def starts(self, count: int, layers: int, stream: int, seed: int) -> np.ndarray:
        """Random angles (count, M); the first of them do not depend on how many there are."""
        streams = (np.random.default_rng([seed, stream, k]) for k in range(count))
        return np.stack([one.uniform(0, self.span, self.angles(layers)) for one in streams])


def _started(problem: Problem, start: str) -> Circuit:
    circuit = Circuit(problem.qubits)
    if start == PLUS:
        return circuit.h(list(range(problem.qubits)))
    drawn = np.random.default_rng(problem.qubits).uniform(0, 2 * np.pi, (problem.qubits, 2))
    for qubit, (polar, azimuth) in enumerate(drawn):
        circuit.ry(float(polar), qubit).rz(float(azimuth), qubit)
    return circuit


def _ising_layer(problem: Problem, slip: bool) -> Circuit:
    own = Parameter("layers", (2,))
    more = Parameter("slip") if slip else 0.0
    layer = Circuit(problem.qubits)
    for a, b in ising_pairs(problem.qubits, problem.name == RING):
        layer.rzz(own[0] + more, a, b)
    for qubit in range(problem.qubits):
        layer.rx(own[1] + more if qubit == 0 else own[1], qubit)
    return layer


def _compiling(problem: Problem, layers: int) -> Circuit:
    """Layers on one half of maximally entangled pairs: the state stands for the unitary that they make."""
    n = problem.qubits
    circuit = Circuit(2 * n)
    for qubit in range(n):
        circuit.h(qubit).cx(qubit, qubit + n)
    begin, own = Parameter("begin", (2 * n,)), Parameter("layers", (4 * (n - 1),))
    _rotations(circuit, range(n), begin, 0)
    return circuit.repeat(_compiling_layer(n, own), layers)


def _compiling_layer(n: int, own: Parameter) -> Circuit:
    """CZ on every other pair, rotations, CZ on the other pairs, rotations; all qubits once, inner ones twice."""
    every, inner = range(n), range(1, n - 1)
    first, second = (every, inner) if n % 2 == 0 else (inner, every)
    layer = Circuit(2 * n)
    for shift, turned, place in ((0, first, 0), (1, second, 2 * len(first))):
        for a in range(shift, n - 1, 2):
            layer.cz(a, a + 1)
        _rotations(layer, turned, own, place)
    return layer


def _rotations(circuit: Circuit, qubits: range, angles: Parameter, place: int) -> None:
    """RY on all, then RX on all, with the angles from a place on."""
    for number, qubit in enumerate(qubits):
        circuit.ry(angles[place + number], qubit)
    for number, qubit in enumerate(qubits):
        circuit.rx(angles[place + len(qubits) + number], qubit)


@functools.lru_cache(maxsize=16)
def _aim(problem: Problem) -> tuple[Observable, float]:
    """What is measured, and its least value."""
    if problem.name == UNITARY:
        target = random_unitary(2**problem.qubits, problem.seed)
        # (U x 1) on the pairs: rows of U, by the qubits of either half.
        state = target.reshape(-1) / math.sqrt(2**problem.qubits)
        return -1.0 * Projector(state, list(range(2 * problem.qubits))), -1.0
    energy = ising_energy(problem.qubits, problem.name == RING)
    return energy, float(np.linalg.eigvalsh(pauli_sum_matrix(energy, problem.qubits))[0])


def random_unitary(size: int, seed: int) -> np.ndarray:
    """Of the Haar measure, (size, size)."""
    rng = np.random.default_rng([seed, size])
    q, r = np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
    phases = np.diag(r) / np.abs(np.diag(r))
    return np.asarray(q * phases)
