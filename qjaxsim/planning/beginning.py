"""The constant beginning of a long circuit, run when it is planned: its state is a number for good. NumPy only, no JAX.

A program of thousands of gates takes XLA far longer to compile than NumPy to run once. What comes before the first
angle that is free gives the same state at every call, so the program starts from there.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from qjaxsim.circuits.dense import applied
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.packing import fused, product
from qjaxsim.planning.steps import Start

# A program of fewer gates compiles quickly; states of more qubits are too large to be part of a program.
LEAST_GATES, MOST_QUBITS = 1000, 16
# States of so few qubits are passed over faster than matrices are multiplied.
FEW_QUBITS = 12
# Matrices on up to so many qubits are applied entry by entry: most entries of gates are zero.
SMALL = 3


def constant_beginning(leaves: Sequence[Leaf], n_qubits: int) -> tuple[Start | None, list[Leaf]]:
    """The state after all leaves that nothing with an angle comes before, and the other leaves.

    Args:
        leaves: in time order, the first to act on |0...0>.
        n_qubits: width of the register.

    Returns:
        None and all leaves where the beginning is short or the register wide. Cost: one pass over the state for each
        leaf.
    """
    first, rest = _parted(leaves, n_qubits)
    if len(first) < LEAST_GATES or n_qubits > MOST_QUBITS:
        return None, list(leaves)
    state = np.zeros(2**n_qubits, complex)
    state[0] = 1
    for leaf in _combined(first) if n_qubits > FEW_QUBITS else first:
        for factor in leaf.factors:
            assert isinstance(factor, np.ndarray)
            state = _after(factor, leaf.qubits, state, n_qubits)
    return Start(state, len(first)), rest


def _combined(leaves: Sequence[Leaf]) -> Iterable[Leaf]:
    """Leaves on the same few qubits as one, where its matrix has fewer entries that matter than theirs."""
    for block in fused(leaves, SMALL, len(leaves)):
        whole = Leaf(block.qubits, (product(block.leaves, block.qubits),), False)
        yield from (whole,) if _passes(whole) < sum(map(_passes, block.leaves)) else block.leaves


def _passes(leaf: Leaf) -> float:
    """How often a leaf passes over a state: the entries of its matrices by row, rows of the identity left out."""
    total = 0.0
    for factor in leaf.factors:
        assert isinstance(factor, np.ndarray)
        total += (np.count_nonzero(factor) - np.count_nonzero(factor.diagonal() == 1)) / len(factor)
    return total


def _parted(leaves: Sequence[Leaf], n_qubits: int) -> tuple[list[Leaf], list[Leaf]]:
    """Constant leaves that can be run before all others, and the others."""
    first: list[Leaf] = []
    rest: list[Leaf] = []
    touched: set[int] = set()  # qubits on which something with an angle, or what waits for it, came before
    for place, leaf in enumerate(leaves):
        if len(touched) == n_qubits:
            rest.extend(leaves[place:])
            break
        if touched.isdisjoint(leaf.qubits) and all(isinstance(factor, np.ndarray) for factor in leaf.factors):
            first.append(leaf)
        else:
            touched.update(leaf.qubits)
            rest.append(leaf)
    return first, rest


def _after(matrix: np.ndarray, qubits: Sequence[int], state: np.ndarray, n_qubits: int) -> np.ndarray:
    """A state (2**n,) after a matrix on some of its qubits."""
    if len(qubits) > SMALL:
        return applied(matrix, qubits, state)
    tensor = state.reshape((2,) * n_qubits)
    parts = [tensor[_where(row, qubits, n_qubits)] for row in range(len(matrix))]
    out = tensor.copy()
    for row, numbers in enumerate(matrix.tolist()):
        terms = [(number, parts[column]) for column, number in enumerate(numbers) if number != 0]
        if [number for number, _ in terms] != [1] or terms[0][1] is not parts[row]:
            out[_where(row, qubits, n_qubits)] = _sum(terms)
    return out.reshape(-1)


def _sum(terms: Sequence[tuple[complex, np.ndarray]]) -> np.ndarray:
    """The sum of arrays times numbers."""
    (number, part), *others = terms
    total = part if number == 1 and not others else number * part
    for number, part in others:
        total += number * part
    return total


def _where(row: int, qubits: Sequence[int], n_qubits: int) -> tuple[int | slice, ...]:
    """The part of a state where some qubits spell a row's bits, the first most significant."""
    index: list[int | slice] = [slice(None)] * n_qubits
    for place, qubit in enumerate(reversed(qubits)):
        index[qubit] = int(row) >> place & 1
    return tuple(index)
