"""Density matrices as states of twice as many qubits, so that one planner and one engine run both. NumPy only, no JAX.

A density matrix of n qubits, its rows' bits first, is an array of 4**n numbers, and what happens to it is a circuit on
2 n wires: a gate U acts as U on wires 0 to n - 1 and as its conjugate on wires n to 2 n - 1, a channel as its
superoperator on both. Classical bits that are read are wires behind these: what is on them is always a probability
distribution. Behind them stand copies of bits that a branch writes and that it depends on.
Gates of such circuits need not be unitary.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qjaxsim.circuits.channels import superoperator
from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.dense import controlled
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.inspection import is_static
from qjaxsim.circuits.measurements import Measure, Projection, ReadoutError, Reset
from qjaxsim.circuits.operations import Channel, Conditional, Gate, Kraus, Operation, Preparation, Repeat, Unitary
from qjaxsim.planning.bit_use import BitUse, bit_use
from qjaxsim.planning.layers import written_out

# On the bits (row, column, classical bit): where row and column agree, the classical bit takes their value.
_MEASURED = np.zeros((8, 8), complex)
_MEASURED[0, [0, 1]] = _MEASURED[7, [6, 7]] = 1
_DEPHASED = np.diag([1, 0, 0, 1]).astype(complex)
_RESET = np.zeros((4, 4), complex)
_RESET[0, [0, 3]] = 1
_FORGOTTEN = np.array([[1, 1], [0, 0]], complex)

# Gates with angles whose conjugate is the same gate with these signs of the angles.
_SIGNS = {
    "crx": (-1,), "cry": (1,), "r": (-1, -1), "xx_plus_yy": (-1, -1), "xx_minus_yy": (-1, -1), "delay": (1,),
    "delay_dt": (1,), "u": (1, -1, -1), "u3": (1, -1, -1), "u2": (-1, -1), "cu3": (1, -1, -1), "cu": (1, -1, -1, -1),
}  # fmt: skip


@dataclass(frozen=True)
class Wires:
    """Where things stand.

    Attributes:
        n_qubits: n; row bits are wires 0 to n - 1, column bits those from n to 2 n - 1.
        bits: the wires of classical bits.
        free: the first wire that is of no use yet.
    """

    n_qubits: int
    bits: Mapping[int, int]
    free: int


def bit_wires(circuit: Circuit, use: BitUse) -> dict[int, int]:
    """The wires of classical bits, behind those of rows and columns."""
    return {bit: 2 * circuit.n_qubits + i for i, bit in enumerate(use.wires)}


def doubled(circuit: Circuit, use: BitUse | None = None) -> Circuit:
    """The circuit that acts on density matrices, on twice as many qubits and a wire for each bit in use.

    A projection becomes the product with its projector on both sides, without normalisation: the trace of what comes
    out is the probability of the outcomes.

    >>> [(gate.name, gate.qubits) for gate in doubled(Circuit(1).s(0).depolarizing(0.1, 0)).operations]
    [('s', (0,)), ('sdg', (1,)), ('superoperator:depolarizing', (0, 1))]
    """
    n, use = circuit.n_qubits, use or bit_use(circuit.operations)
    wires = Wires(n, bit_wires(circuit, use), 2 * n + len(use.wires))
    operations: list[Operation] = []
    for place, operation in enumerate(circuit.operations):
        if place in use.unread:
            (qubit,) = operation.qubits
            operations.append(Unitary(_DEPHASED, (qubit, n + qubit), "measure"))
        elif place not in use.held.values():
            operations += _doubled(operation, wires)
    used = (wire + 1 for operation in operations for wire in operation.qubits)
    return Circuit(max(wires.free, *used, 0)).extend(operations)


def is_noisy(circuit: Circuit) -> bool:
    """Whether a circuit, or a layer that it repeats, has a channel, so that its final state is a density matrix."""
    return any(
        is_noisy(op.circuit) if isinstance(op, Repeat) else isinstance(op, Channel | Kraus) for op in circuit.operations
    )


def is_mixed(circuit: Circuit) -> bool:
    """Whether a circuit's final state is a density matrix: it has channels, or measures or resets on its way."""
    return is_noisy(circuit) or not is_static(circuit.operations)


def _doubled(operation: Operation, wires: Wires) -> list[Operation]:
    """An operation on qubits as operations on wires."""
    n = wires.n_qubits
    both = (*operation.qubits, *(n + q for q in operation.qubits))
    match operation:
        case Gate():
            return [operation, conjugate(operation).on(_columns(n))]
        case Unitary():
            columns = tuple(n + q for q in operation.qubits)
            return [operation, Unitary(operation.matrix.conj(), columns, f"{operation.label}*")]
        case Channel():
            return [Gate(f"superoperator:{operation.name}", both, operation.angles)]
        case Kraus():
            return [Unitary(superoperator(operation.matrices), both, operation.label)]
        case Projection():
            # Projections of states on wires: each is normalised, or many in turn would leave nothing of the numbers.
            return [operation, operation.on(_columns(n))]
        case Measure():
            misread = np.kron(np.eye(4), operation.matrix())
            return [Unitary(misread @ _MEASURED, (*both, wires.bits[operation.bit]), "measure")]
        case Reset():
            return [Unitary(_RESET, both, "reset")]
        case Conditional():
            return _branch(operation, wires)
        case Repeat():
            layer = doubled(operation.circuit)
            return [Repeat(layer, operation.times, operation.shared, operation.reverse)]
        case Preparation():
            columns = tuple(n + q for q in operation.qubits)
            return [operation, replace(operation, qubits=columns, conjugated=not operation.conjugated)]
        case ReadoutError():
            return []  # no part of the state
    raise TypeError(f"Operation {type(operation).__name__} has no form on density matrices.")


def _branch(operation: Conditional, wires: Wires) -> list[Operation]:
    """What a branch does where its bits have their values, which are copied before if it measures into them."""
    asked = [wires.bits[bit] for bit in operation.bits]
    inner = _inside(operation, wires)
    if not set(asked) & {wire for each in inner for wire in each.qubits}:
        return conditional(inner, asked, operation.values)
    copies = range(wires.free, wires.free + len(asked))
    copied = [Gate("cx", pair) for pair in zip(asked, copies, strict=True)]
    forgotten = [Unitary(_FORGOTTEN, (copy,), "forgotten") for copy in copies]
    inner = _inside(operation, replace(wires, free=copies.stop))
    return [*copied, *conditional(inner, copies, operation.values), *forgotten]


def _inside(operation: Conditional, wires: Wires) -> list[Operation]:
    return [new for each in written_out(operation.circuit.operations) for new in _doubled(each, wires)]


def conditional(operations: Iterable[Operation], wires: Sequence[int], values: Sequence[int]) -> list[Operation]:
    """Gates and matrices that act where wires have given values, as gates with controls."""
    if not wires:
        return list(operations)
    flips = [Gate("x", (wire,)) for wire, value in zip(wires, values, strict=True) if not value]
    inside: list[Operation] = []
    for operation in operations:
        qubits = (*wires, *operation.qubits)
        if isinstance(operation, Unitary):
            inside.append(Unitary(controlled(operation.matrix, len(wires)), qubits, operation.label))
        elif isinstance(operation, Gate) and operation.spec.constant is not None:
            inside.append(Unitary(controlled(operation.spec.constant, len(wires)), qubits, operation.name))
        elif isinstance(operation, Gate):
            inside.append(Gate(f"controlled{len(wires)}:{operation.name}", qubits, operation.angles))
        else:
            raise ValueError(f"Operation {operation.key[0]!r} cannot stand under a condition; put it before or behind.")
    return [*flips, *inside, *flips]


def _columns(n: int) -> range:
    """Where the qubits of a circuit stand among the wires of columns."""
    return range(n, 2 * n)


def conjugate(gate: Gate) -> Gate | Unitary:
    """The gate whose matrix has the complex conjugate entries.

    >>> conjugate(Gate("rx", (0,), (0.5,))) == Gate("rx", (0,), (-0.5,))
    True
    """
    spec = gate.spec
    if spec.constant is not None:
        return _constant(gate)
    signs = _SIGNS.get(gate.name)
    if spec.is_free:  # real parts, then imaginary parts
        signs = (1,) * (spec.n_angles // 2) + (-1,) * (spec.n_angles // 2)
    if signs is None:
        # exp(-i theta P / 2) and phases: i changes its sign, and so does P where it has an odd number of Y.
        signs = (1 if spec.pauli is not None and spec.pauli.count("Y") % 2 else -1,) * spec.n_angles
    angles = zip(gate.angles, signs, strict=True)
    return Gate(gate.name, gate.qubits, tuple(angle if sign > 0 else -angle for angle, sign in angles))


def _constant(gate: Gate) -> Gate | Unitary:
    """A gate without angles: itself where it is real, by its name where its conjugate has one, else a matrix."""
    matrix = gate.spec.matrix(np)
    for name in (gate.name, f"{gate.name}dg", gate.name.removesuffix("dg")):
        if name in GATES and GATES[name].constant is not None and np.array_equal(GATES[name].matrix(np), matrix.conj()):
            return Gate(name, gate.qubits)
    return Unitary(matrix.conj(), gate.qubits, f"{gate.name}*")
