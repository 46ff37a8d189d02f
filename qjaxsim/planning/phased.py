"""Data as phases: a rotation about X or Y by data is one about Z between two constant gates.

The constant gates join the weights around them, and the data of all qubits become one pass of phases, where else every
sample needs dense matrices of its own. NumPy only, no JAX.
"""

import functools
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.inspection import used_parameters
from qjaxsim.circuits.operations import Gate, Operation, Repeat
from qjaxsim.planning.leaves import Factor, Leaf
from qjaxsim.planning.normal_form import run_leaf

# By rotation, the gates before RZ and those after it that make it one, A and A+: X = A+ Z A, Y = A+ Z A.
_AROUND = {"rx": (("h",), ("h",)), "ry": (("sdg", "h"), ("h", "s"))}
_BEFORE = {
    rotation: functools.reduce(lambda product, name: GATES[name].matrix(np) @ product, before, np.eye(2, dtype=complex))
    for rotation, (before, _) in _AROUND.items()
}


def with_phased_data(leaves: Sequence[Leaf], from_zero: bool) -> list[Leaf] | None:
    """The leaves with rotations by data turned into phases, or None if there are none.

    Args:
        leaves: in time order.
        from_zero: whether they act on |0...0>; then the first leaf on a qubit stays, since it makes a product state.
    """
    out: list[Leaf] = []
    last: dict[int, int] = {}  # by qubit, the place of its latest leaf
    changed = False

    def put(leaf: Leaf) -> None:
        previous = last.get(leaf.qubits[0])
        if previous is not None and len(leaf.qubits) == 1 and not leaf.data and _is_weights(out[previous]):
            out[previous] = run_leaf(leaf.qubits[0], joined(out[previous].factors, leaf.factors), False)
            return
        last.update(dict.fromkeys(leaf.qubits, len(out)))
        out.append(leaf)

    for leaf in leaves:
        before = _turn(leaf)
        if before is None or (from_zero and leaf.qubits[0] not in last):
            put(leaf)
            continue
        changed = True
        (wire,), (gate,) = leaf.qubits, leaf.factors
        assert isinstance(gate, Gate)
        put(run_leaf(wire, (before,), False))
        put(run_leaf(wire, (Gate("rz", gate.qubits, gate.angles),), True))
        put(run_leaf(wire, (before.conj().T,), False))
    return out if changed else None


def with_phased_layers(circuit: Circuit, data: Collection[str]) -> Circuit:
    """The circuit with layers that repeat turned, so that rotations by data at one of their ends are phases.

    With D = A P A+, in time order, D W is A (P A+ W A)^t A+ when run t times, and W D is A (A+ W A P)^t A+: inside the
    loop the constant gates stand next to weights, which take them in.

    Args:
        circuit: any circuit; layers inside of layers are turned too.
        data: names of the parameters that carry the batch.
    """
    out = Circuit(circuit.n_qubits)
    for operation in circuit.operations:
        out.extend(_turned(operation, data) if isinstance(operation, Repeat) else [operation])
    return out


def _turned(repeat: Repeat, data: Collection[str]) -> list[Operation]:
    layer = with_phased_layers(repeat.circuit, data)
    first = _outermost(layer.operations, data)
    last = {len(layer.operations) - 1 - i: gate for i, gate in _outermost(layer.operations[::-1], data).items()}
    chosen = first or last
    before, after = _around(chosen.values(), 0), _around(chosen.values(), 1)
    phases = [replace(gate, name="rz") for gate in chosen.values()]
    rest = (operation for i, operation in enumerate(layer.operations) if i not in chosen)
    inner = [*after, *rest, *before]
    turned = Circuit(layer.n_qubits).extend([*phases, *inner] if first else [*inner, *phases])
    return [*before, replace(repeat, circuit=turned), *after]


def _around(rotations: Collection[Gate], side: int) -> list[Gate]:
    """The constant gates before (0) or after (1) phases in place of rotations."""
    return [Gate(name, gate.qubits, ()) for gate in rotations for name in _AROUND[gate.name][side]]


def _outermost(operations: Sequence[Operation], data: Collection[str]) -> dict[int, Gate]:
    """Rotations about X and Y by data that are the first on their qubits, by place.

    Where more data follow at once, all of them are one matrix for each sample, and stay.
    """
    found: dict[int, tuple[int, Gate]] = {}
    seen: dict[int, int] = {}
    for place, operation in enumerate(operations):
        is_data = any(name in data for name, _ in used_parameters(operation))
        for qubit in operation.qubits:
            seen[qubit] = seen.get(qubit, 0) + 1
            if is_data and isinstance(operation, Gate) and operation.name in _AROUND and seen[qubit] == 1:
                found[qubit] = (place, operation)
            elif is_data and len(operation.qubits) == 1 and seen[qubit] == 2:
                found.pop(qubit, None)
    return dict(found.values())


def _turn(leaf: Leaf) -> np.ndarray | None:
    """The gate that makes the only rotation of a leaf by data one about Z."""
    if not leaf.data or len(leaf.factors) != 1 or not isinstance(leaf.factors[0], Gate):
        return None
    return _BEFORE.get(leaf.factors[0].name)


def _is_weights(leaf: Leaf) -> bool:
    return len(leaf.qubits) == 1 and not leaf.data


def joined(first: Sequence[Factor], second: Sequence[Factor]) -> tuple[Factor, ...]:
    """Factors one after the other, matrices that meet multiplied."""
    a, b = first[-1], second[0]
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return (*first[:-1], b @ a, *second[1:])
    return (*first, *second)
