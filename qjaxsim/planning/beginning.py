"""The constant beginning of a long circuit, run when it is planned: its state is a number for good. NumPy only, no JAX.

A program of hundreds of gates takes XLA far longer to compile than NumPy to run once. What comes before the first
angle that is free gives the same state at every call, so the program starts from there.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.dense import applied
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.operations import Gate, Unitary
from qjaxsim.planning.leaves import Factor, Leaf, Phases
from qjaxsim.planning.packing import fused, product
from qjaxsim.planning.steps import Start

# A program of fewer gates compiles quickly, also where nothing but the gates is left to compile; states of more qubits
# are too large to be part of a program.
LEAST_GATES, LEAST_ALONE, MOST_QUBITS = 1000, 100, 16
# States of so few qubits are passed over faster than matrices are multiplied.
FEW_QUBITS = 12
# Matrices on up to so many qubits are applied entry by entry: most entries of gates are zero.
SMALL = 3


def is_run_when_planned(circuit: Circuit) -> bool:
    """Whether a circuit is constant gates alone, on so few qubits that its state is found without a program."""
    constant = not circuit.parameters and circuit.n_qubits <= MOST_QUBITS
    return constant and all(isinstance(operation, Gate | Unitary) for operation in circuit.operations)


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
    if len(first) < (LEAST_GATES if rest else LEAST_ALONE) or n_qubits > MOST_QUBITS:
        return None, list(leaves)
    state = np.zeros(2**n_qubits, complex)
    state[0] = 1
    for leaf in _combined(first) if n_qubits > FEW_QUBITS else first:
        for factor in leaf.factors:
            state = _after(factor, leaf.qubits, state, n_qubits)
    return Start(state, len(first)), rest


def _combined(leaves: Sequence[Leaf]) -> Iterable[Leaf]:
    """Leaves on the same few qubits as one, where its matrix has fewer entries that matter than theirs."""
    for block in fused(leaves, SMALL, len(leaves)):
        factors = [factor for leaf in block.leaves for factor in leaf.factors]
        if len(block.qubits) > SMALL or any(isinstance(factor, Phases) for factor in factors):
            yield from block.leaves
            continue
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
        if touched.isdisjoint(leaf.qubits) and all(map(_is_constant, leaf.factors)):
            first.append(leaf)
        else:
            touched.update(leaf.qubits)
            rest.append(leaf)
    return first, rest


def _is_constant(factor: Factor) -> bool:
    """Whether it is a matrix, or phases by numbers."""
    if isinstance(factor, Phases):
        return not any(isinstance(angle, Expression) for angle in factor.angles)
    return isinstance(factor, np.ndarray)


def _after(factor: Factor, qubits: Sequence[int], state: np.ndarray, n_qubits: int) -> np.ndarray:
    """A state (2**n,) after a constant factor on some of its qubits."""
    if isinstance(factor, Phases):
        return _turned(factor, qubits, state, n_qubits)
    assert isinstance(factor, np.ndarray)
    return applied(factor, qubits, state) if len(qubits) > SMALL else _summed(factor, qubits, state, n_qubits)


def _turned(phases: Phases, qubits: Sequence[int], state: np.ndarray, n_qubits: int) -> np.ndarray:
    angles = phases.offset + phases.table @ np.asarray(phases.angles, float)
    by_bit = np.exp(1j * angles).reshape((2,) * len(qubits)).transpose(np.argsort(qubits))
    shape = [2 if qubit in qubits else 1 for qubit in range(n_qubits)]
    return (state.reshape((2,) * n_qubits) * by_bit.reshape(shape)).reshape(-1)


def _summed(matrix: np.ndarray, qubits: Sequence[int], state: np.ndarray, n_qubits: int) -> np.ndarray:
    """By the matrix's entries: most of those of gates are zero."""
    tensor = state.reshape((2,) * n_qubits)
    parts = [tensor[_where(row, qubits, n_qubits)] for row in range(len(matrix))]
    out = tensor.copy()
    for row, numbers in enumerate(matrix.tolist()):
        terms = [(number, parts[column]) for column, number in enumerate(numbers) if number != 0]
        if [number for number, _ in terms] != [1] or terms[0][1] is not parts[row]:
            out[_where(row, qubits, n_qubits)] = _sum(terms)
    return out.reshape(-1)


def _sum(terms: Sequence[tuple[complex, np.ndarray]]) -> np.ndarray:
    """The sum of arrays times numbers; zero for none, as in rows of a reset."""
    if not terms:
        return np.zeros(())
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
