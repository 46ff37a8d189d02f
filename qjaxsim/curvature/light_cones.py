"""What each observable sees of a circuit of weights: the qubits and rotations in its past light cone, as tables.

A gate that shares no qubit with anything between it and the observable drops out of <O>, which is exact. Observables
with the same qubits share one cone. All cones are filled up to one size, so that one program serves them whatever
their gates; NumPy only, `cone_sweep.py` computes with the tables.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.dense import PAULI, applied
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.operations import Gate, Operation, Repeat, Unitary

# Gates of one angle as commuting Pauli rotations exp(-i factor angle P / 2), up to a global phase.
_ROTATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    **{name: ((spec.pauli, 1.0),) for name, spec in GATES.items() if spec.pauli is not None},
    **dict.fromkeys(("p", "u1"), (("Z", 1.0),)),
    **dict.fromkeys(("cp", "cu1"), (("ZI", 0.5), ("IZ", 0.5), ("ZZ", -0.5))),
    **{f"cr{p.lower()}": ((f"I{p}", 0.5), (f"Z{p}", -0.5)) for p in "XYZ"},
    **dict.fromkeys(("global_phase", "delay", "delay_dt"), ()),
}  # fmt: skip


class Constant(NamedTuple):
    """A constant matrix (2**k, 2**k) on some qubits."""

    qubits: tuple[int, ...]
    matrix: np.ndarray


class Rotation(NamedTuple):
    """exp(-i angle P / 2) for a Pauli string on some qubits and an angle sum(factor * theta[place]) + offset."""

    qubits: tuple[int, ...]
    label: str
    factors: Mapping[int, float]
    offset: float


class Tables(NamedTuple):
    """C cones of m qubits, with G rotations and k observables each; what fills a cone up has no effect. M = 2**m.

    Complex matrices are real ones of twice the size, [[re, -im], [im, re]].

    Attributes:
        rows: (C, d) order of a state's amplitudes that brings the cone's qubits to the front.
        constants: (C, n, 2 M, 2 M) constant matrices, the identity first.
        before: (G, C) which of them stands right before a rotation.
        source: (G, C, 2 M) rows that -i times the rotation's Pauli string takes.
        sign: (G, C, 2 M) the factors it gives them.
        offset: (G, C) the angles' constant parts.
        fold: (C, 1 + G, 1 + P) derivatives of the angles in the weights, with a one in front for outputs themselves.
        observables: (C, k, 2 M, 2 M), with the constants behind the last rotation.
        select: (C, k, K) which of all observables each one is, ones and zeros.
        cone: (K,) where each observable stands.
        slot: (K,) its number there.
    """

    rows: np.ndarray
    constants: np.ndarray
    before: np.ndarray
    source: np.ndarray
    sign: np.ndarray
    offset: np.ndarray
    fold: np.ndarray
    observables: np.ndarray
    select: np.ndarray
    cone: np.ndarray
    slot: np.ndarray


class Cone(NamedTuple):
    """What some observables see: qubits, gates in time order, and which observables they are."""

    qubits: tuple[int, ...]
    gates: tuple[Constant | Rotation, ...]
    members: tuple[int, ...]

    @property
    def depth(self) -> int:
        """How many rotations there are."""
        return sum(isinstance(gate, Rotation) for gate in self.gates)

    @property
    def breaks(self) -> int:
        """How many rotations have a constant right before them."""
        kinds = [isinstance(gate, Rotation) for gate in self.gates]
        return sum(now and not before for before, now in zip([True, *kinds], kinds, strict=False))


@dataclass(frozen=True, eq=False)
class Cones:
    """The light cones of some observables in a circuit of weights.

    Attributes:
        n_qubits: width of the circuit.
        n_weights: P.
        n_gates: gates of the circuit.
        observables: all of them.
        cones: the cones.
    """

    n_qubits: int
    n_weights: int
    n_gates: int
    observables: tuple[PauliSum, ...]
    cones: tuple[Cone, ...]

    @property
    def width(self) -> int:
        """Qubits of the widest cone, m."""
        return max(len(cone.qubits) for cone in self.cones)

    @property
    def depth(self) -> int:
        """Most rotations in a cone, G."""
        return max(cone.depth for cone in self.cones)

    @property
    def members(self) -> int:
        """Most observables of a cone, k."""
        return max(len(cone.members) for cone in self.cones)

    def numbers(self, n_samples: int) -> int:
        """Numbers held at once, about: columns, generators, derivatives of all rotations, matrices of samples."""
        rotations = (1 + self.depth) * (8 + 3 * self.members)
        return len(self.cones) * 4**self.width * (rotations + n_samples)

    def cost(self, n_samples: int) -> int:
        """Multiply-adds of the split."""
        each, square = len(self.cones) * self.members * (1 + self.depth), 4**self.width
        fixed = 8 * (len(self.cones) * self.depth + each) * square * 2**self.width
        return fixed + n_samples * (each * square + 2 * len(self.cones) * 2 ** (self.n_qubits + self.width))

    def tables(self) -> Tables:
        """All that is computed with. Cost: a pass over an (M, M) matrix for each constant gate of each cone."""
        count, depth, members, size = len(self.cones), self.depth, self.members, 2 ** (self.width + 1)
        out = Tables(
            rows=np.zeros((count, 2**self.n_qubits), int),
            constants=np.zeros((count, 1 + max(cone.breaks for cone in self.cones), size, size)),
            before=np.zeros((depth, count), int),
            source=np.zeros((depth, count, size), int),
            sign=np.zeros((depth, count, size)),
            offset=np.zeros((depth, count)),
            fold=np.zeros((count, 1 + depth, 1 + self.n_weights)),
            observables=np.zeros((count, members, size, size)),
            select=np.zeros((count, members, len(self.observables))),
            cone=np.zeros(len(self.observables), int),
            slot=np.zeros(len(self.observables), int),
        )
        for c, cone in enumerate(self.cones):
            self._fill(out, c, cone)
        return out

    def _fill(self, out: Tables, c: int, cone: Cone) -> None:
        """Write one cone's part."""
        order = [*cone.qubits, *(q for q in range(self.n_qubits) if q not in cone.qubits)]
        at = {qubit: i for i, qubit in enumerate(order[: self.width])}
        out.rows[c] = np.arange(2**self.n_qubits).reshape((2,) * self.n_qubits).transpose(order).reshape(-1)
        gates = [gate._replace(qubits=tuple(at[q] for q in gate.qubits)) for gate in cone.gates]
        constants, before, behind = _between(gates, 2**self.width)
        out.constants[c, : len(constants)] = [_real(matrix) for matrix in constants]
        out.before[: len(before), c] = before
        out.fold[c, 0, 0] = 1
        for g, gate in enumerate(gate for gate in gates if isinstance(gate, Rotation)):
            out.source[g, c], out.sign[g, c] = _turned_rows(gate.label, gate.qubits, self.width)
            out.offset[g, c] = gate.offset
            for place, factor in gate.factors.items():
                out.fold[c, 1 + g, 1 + place] = factor
        for i, member in enumerate(cone.members):
            out.observables[c, i] = _real(_seen_through(behind, self.observables[member], at))
            out.select[c, i, member] = 1
            out.cone[member], out.slot[member] = c, i


def find_cones(
    circuit: Circuit, places: Mapping[str, np.ndarray], observables: Sequence[PauliSum], n_weights: int
) -> Cones | None:
    """The cones of observables in a circuit without data; None if a gate is no rotation with an affine angle.

    Args:
        circuit: the circuit.
        places: by name of a parameter where its elements stand among the weights, in the parameter's shape.
        observables: Pauli sums.
        n_weights: P.
    """
    gates = _gates(circuit.operations, places)
    if gates is None:
        return None
    found: dict[tuple[int, ...], tuple[set[int], list[int]]] = {}
    for member, observable in enumerate(observables):
        qubits, seen = _past({q for term in observable.terms for q, _ in term}, gates)
        # Gates that only another observable of the same cone sees are harmless: they drop out of this one.
        kept, members = found.setdefault(tuple(sorted(qubits)), (set(), []))
        kept |= seen
        members.append(member)
    cones = tuple(Cone(q, tuple(gates[i] for i in sorted(kept)), tuple(own)) for q, (kept, own) in found.items())
    return Cones(circuit.n_qubits, n_weights, len(gates), tuple(observables), cones)


def _gates(operations: Sequence[Operation], places: Mapping[str, np.ndarray]) -> list[Constant | Rotation] | None:
    """The operations one by one, repetitions written out."""
    out: list[Constant | Rotation] = []
    for operation in operations:
        if isinstance(operation, Repeat):
            shared, order = operation.shared, range(operation.times)
            for i in reversed(order) if operation.reverse else order:
                names = operation.circuit.parameters
                own = {name: places[name] if name in shared else places[name][i] for name in names}
                inner = _gates(operation.circuit.operations, own)
                if inner is None:
                    return None
                out += inner
        elif isinstance(operation, Unitary):
            out.append(Constant(operation.qubits, operation.matrix))
        elif isinstance(operation, Gate) and not any(isinstance(a, Expression) for a in operation.angles):
            angles = [np.float64(angle) for angle in operation.angles]
            out.append(Constant(operation.qubits, np.asarray(GATES[operation.name].matrix(np, *angles))))
        elif isinstance(operation, Gate) and (rotations := _rotations(operation, places)) is not None:
            out += rotations
        else:
            return None
    return out


def _rotations(gate: Gate, places: Mapping[str, np.ndarray]) -> list[Rotation] | None:
    """A gate of one angle as Pauli rotations, None if it is not made of any or its angle is not affine."""
    if gate.name not in _ROTATIONS:
        return None
    affine = gate.angles[0].affine()
    if affine is None:
        return None
    out = []
    for label, factor in _ROTATIONS[gate.name]:
        factors: dict[int, float] = {}
        for (name, row), value in affine[0].items():
            place = int(places[name].reshape(-1)[row])
            factors[place] = factors.get(place, 0.0) + factor * value
        kept = [i for i, letter in enumerate(label) if letter != "I"]
        qubits = tuple(gate.qubits[i] for i in kept)
        out.append(Rotation(qubits, "".join(label[i] for i in kept), factors, factor * affine[1]))
    return out


def _past(qubits: set[int], gates: Sequence[Constant | Rotation]) -> tuple[set[int], set[int]]:
    """The qubits that these depend on before the gates, and the numbers of the gates that take part."""
    qubits, seen = set(qubits), set()
    for i in reversed(range(len(gates))):
        if qubits & set(gates[i].qubits):
            qubits |= set(gates[i].qubits)
            seen.add(i)
    return qubits, seen


def _pauli_rows(label: str, qubits: Sequence[int], n_qubits: int) -> tuple[np.ndarray, np.ndarray]:
    """A Pauli string as rows and factors: (P a)[i] = factors[i] a[rows[i]]."""
    rows, factors = np.arange(2**n_qubits), np.ones(2**n_qubits, complex)
    for letter, qubit in zip(label, qubits, strict=True):
        bit = n_qubits - 1 - qubit
        one = (np.arange(2**n_qubits) >> bit) & 1
        factors = factors * PAULI[letter][one, one ^ (letter in "XY")]
        rows = rows ^ ((letter in "XY") << bit)
    return rows, factors


def _turned_rows(label: str, qubits: Sequence[int], n_qubits: int) -> tuple[np.ndarray, np.ndarray]:
    """-i times a Pauli string on stacked columns, as rows and signs like `_pauli_rows`."""
    rows, factors = _pauli_rows(label, qubits, n_qubits)
    re, im = (-1j * factors).real, (-1j * factors).imag
    real = re != 0  # factors are real or imaginary
    size = len(rows)
    source = np.concatenate([np.where(real, rows, rows + size), np.where(real, rows + size, rows)])
    return source, np.concatenate([re - im, re + im])


def _real(matrix: np.ndarray) -> np.ndarray:
    """A complex matrix as a real one on stacked columns."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


def _between(gates: Sequence[Constant | Rotation], size: int) -> tuple[list[np.ndarray], list[int], list[Constant]]:
    """Products of constants before rotations, the identity first; by rotation which; the constants behind the last."""
    products, before, waiting = [np.eye(size, dtype=complex)], [], []
    for gate in gates:
        if isinstance(gate, Constant):
            waiting.append(gate)
            continue
        before.append(len(products) if waiting else 0)
        if waiting:
            products.append(functools.reduce(lambda m, own: applied(own.matrix, own.qubits, m), waiting, products[0]))
            waiting = []
    return products, before, waiting


def _seen_through(constants: Sequence[Constant], observable: PauliSum, at: Mapping[int, int]) -> np.ndarray:
    """C^dagger O C, (M, M), for the product C of constants and an observable whose qubits stand at other places."""
    n_qubits = len(at)
    total, index = np.zeros((2**n_qubits, 2**n_qubits), complex), np.arange(2**n_qubits)
    for term, coefficient in observable.terms.items():
        rows, factors = _pauli_rows("".join(letter for _, letter in term), [at[q] for q, _ in term], n_qubits)
        total[index, rows] += coefficient * factors
    for gate in reversed(constants):
        adjoint = gate.matrix.conj().T
        half = applied(adjoint, gate.qubits, total)
        total = applied(adjoint, gate.qubits, half.conj().T).conj().T
    return total
