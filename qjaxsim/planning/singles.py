"""Data on single qubits: which gates may run as a loop of one-qubit matrices, and weights that join them.

Rotations by data with weights between them, as in data re-uploading, are one small matrix for each sample and qubit.
Weights that stand before or after such a run on its qubit cost nothing inside it, and steps of their own outside.
NumPy only, no JAX.
"""

from collections.abc import Sequence

import numpy as np

from qjaxsim.circuits.operations import Gate
from qjaxsim.planning.leaves import Factor, Leaf, Picked
from qjaxsim.planning.normal_form import kind, run_leaf
from qjaxsim.planning.phased import joined


def is_single(leaf: Leaf) -> bool:
    """Whether a leaf is a matrix of data on one qubit that stays unitary whatever its angles."""
    return leaf.data and _may_join(leaf)


def with_data_runs(leaves: Sequence[Leaf]) -> list[Leaf] | None:
    """The leaves with weights on one qubit joined to data right before or after them, or None if there are none.

    Args:
        leaves: in time order.
    """
    out: list[Leaf] = []
    last: dict[int, int] = {}  # by qubit, the place of its latest leaf
    for leaf in leaves:
        place = last.get(leaf.qubits[0])
        if place is not None and _may_join(leaf) and _may_join(out[place]) and any(map(_is_run, (leaf, out[place]))):
            out[place] = run_leaf(leaf.qubits[0], joined(out[place].factors, leaf.factors), True)
            continue
        last.update(dict.fromkeys(leaf.qubits, len(out)))
        out.append(leaf)
    return out if len(out) < len(leaves) else None


def _is_run(leaf: Leaf) -> bool:
    """Whether data take a matrix for each sample: phases do not, and would if other gates joined them."""
    return leaf.data and kind(leaf) == "dense"


def _may_join(leaf: Leaf) -> bool:
    return len(leaf.qubits) == 1 and all(_is_unitary(factor) for factor in leaf.factors)


def _is_unitary(factor: Factor) -> bool:
    """Whether a factor is unitary, also where its angles are moved a little."""
    if isinstance(factor, Picked):
        return _is_unitary(factor.factor)
    if isinstance(factor, np.ndarray):
        return bool(abs(factor @ factor.conj().T - np.eye(len(factor))).max() < 1e-8)
    return not isinstance(factor, Gate) or (factor.spec.is_unitary and not factor.spec.is_free)
