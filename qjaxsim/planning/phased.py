"""Data as phases: a rotation about X or Y by data is one about Z between two constant gates.

The constant gates join the weights around them, and the data of all qubits become one pass of phases, where else every
sample needs dense matrices of its own. NumPy only, no JAX.
"""

from collections.abc import Sequence

import numpy as np

from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.operations import Gate
from qjaxsim.planning.leaves import Factor, Leaf
from qjaxsim.planning.normal_form import run_leaf

_H, _SDG = GATES["h"].matrix(np), GATES["sdg"].matrix(np)
# By rotation, the gate A before RZ; A+ follows it: X = A+ Z A, Y = A+ Z A.
_BEFORE: dict[str, np.ndarray] = {"rx": _H, "ry": _H @ _SDG}


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
