"""From a circuit to a plan: fused blocks, folded diagonals and permutations, loops. NumPy only, no JAX.

A plan depends on the circuit, on the names of the parameters that carry a batch (the "data"; the others are the
"weights") and on the size of that batch, never on values. Fusing is greedy and keeps the order of operations that
share a qubit:

- runs of one-qubit gates on one qubit become one *leaf*, a matrix of its own;
- leaves and other small gates gather in *dense blocks* of at most `max_block` qubits, one matrix product each;
- constant permutations with phases (X, CX, SWAP, CZ, ...) that fit in no block gather in one *monomial* step;
- diagonal gates with angles that fit in no block gather in one *diagonal* step;
- a repeated layer is planned once and becomes a *loop*;
- stretches of weights between data may be *collapsed* into one unitary, when the cost model says so.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qjaxsim.circuit import Circuit
from qjaxsim.expressions import Expression
from qjaxsim.gates import GATES, monomial
from qjaxsim.operations import Gate, Projection, Repeat, Unitary
from qjaxsim.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Leaf,
    Loop,
    Monomial,
    Plan,
    PlanOptions,
    Step,
    depends_on_data,
    is_linear,
)

# Up to this many qubits a permutation or a table of phases may span the whole register: 4096 entries.
FULL_REGISTER = 12
# Up to this many qubits one block holds the whole register, so that a layer is one matrix.
ONE_BLOCK = 5
# A collapsed unitary of more than this many bytes (complex64) is never formed.
MAX_UNITARY_BYTES = 2**28


def make_plan(circuit: Circuit, data: Collection[str] = (), batch: int = 1, options: PlanOptions | None = None) -> Plan:
    """Plan a circuit.

    Args:
        circuit: what to run.
        data: names of the parameters that carry the batch.
        batch: the number of columns that data brings.
        options: forced choices.

    Returns:
        The plan; it is pure data and can be used for any values of the parameters.

    Cost: O(operations * steps) at worst, linear for layered circuits; no array larger than 2**FULL_REGISTER entries.
    """
    options = options or PlanOptions()
    steps = _fuse(circuit, frozenset(data), batch, options)
    # Before the first data there is one column only, so that nothing can be gained there.
    first = next((i for i, step in enumerate(steps) if depends_on_data(step)), len(steps))
    return Plan(circuit.n_qubits, steps[:first] + _collapse(steps[first:], circuit.n_qubits, batch, options))


# --- normal form -----------------------------------------------------------------------------------------------------


def _normal_form(circuit: Circuit, data: frozenset[str]) -> Iterable[Leaf | Projection | Repeat]:
    """The operations as leaves, with runs of one-qubit gates fused and cut where data begins and ends."""
    pending: dict[int, list[Gate | np.ndarray]] = {}

    def flush(qubits: Iterable[int]) -> Iterable[Leaf]:
        for qubit in sorted(qubits):
            yield from _runs(qubit, pending.pop(qubit, []), data)

    for operation in circuit.operations:
        if isinstance(operation, Gate | Unitary):
            for factor, qubits in _factors(operation):
                if len(qubits) == 1:
                    pending.setdefault(qubits[0], []).append(factor)
                else:
                    yield from flush(qubits)
                    yield Leaf(qubits, (factor,), _uses(factor, data))
        else:
            yield from flush(operation.qubits)
            yield operation
    yield from flush(list(pending))


def _factors(operation: Gate | Unitary) -> list[tuple[Gate | np.ndarray, tuple[int, ...]]]:
    """A gate as constant matrices and gates that truly have free angles; identities vanish."""
    if isinstance(operation, Unitary):
        return [(operation.matrix, operation.qubits)]
    name, qubits, angles = operation.name, operation.qubits, operation.angles
    if name in ("id", "delay"):
        return []
    if name == "global_phase":
        # exp(i phi) = P(2 phi) RZ(-2 phi) on any one qubit; no step of its own is needed.
        halves = (Gate("rz", (0,), (-2 * angles[0],)), Gate("p", (0,), (2 * angles[0],)))
        return [factor for half in halves for factor in _factors(half)]
    if any(isinstance(angle, Expression) for angle in angles):
        return [(operation, qubits)]
    return [(GATES[name].matrix(np, *(np.float64(angle) for angle in angles)), qubits)]


def _uses(factor: Gate | np.ndarray, data: frozenset[str]) -> bool:
    if isinstance(factor, np.ndarray):
        return False
    return any(
        element.name in data for angle in factor.angles if isinstance(angle, Expression) for element in angle.elements()
    )


def _runs(qubit: int, factors: list[Gate | np.ndarray], data: frozenset[str]) -> Iterable[Leaf]:
    """A run of one-qubit gates as up to three leaves: weights, all from the first to the last data gate, weights."""
    positions = [i for i, factor in enumerate(factors) if _uses(factor, data)]
    first, last = (positions[0], positions[-1] + 1) if positions else (len(factors), len(factors))
    for part, is_data in ((factors[:first], False), (factors[first:last], True), (factors[last:], False)):
        if part:
            yield Leaf((qubit,), _multiply_constants(part), is_data)


def _multiply_constants(factors: Sequence[Gate | np.ndarray]) -> tuple[Gate | np.ndarray, ...]:
    """Neighbouring constant matrices multiplied."""
    out: list[Gate | np.ndarray] = []
    for factor in factors:
        if isinstance(factor, np.ndarray) and out and isinstance(out[-1], np.ndarray):
            out[-1] = factor @ out[-1]
        else:
            out.append(factor)
    return tuple(out)


# --- fusing ----------------------------------------------------------------------------------------------------------


@dataclass
class _Group:
    """A step that still grows: `kind` is "dense", "monomial", "diagonal" or "fixed"."""

    kind: str
    qubits: set[int]
    data: bool
    items: list[Any]


def _fuse(circuit: Circuit, data: frozenset[str], batch: int, options: PlanOptions) -> tuple[Step, ...]:
    """The circuit's steps before any collapsing."""
    fuser = _Fuser(circuit.n_qubits, options)
    for operation in _normal_form(circuit, data):
        if isinstance(operation, Leaf):
            fuser.place(operation)
        elif isinstance(operation, Projection):
            fuser.place_fixed(operation)
        else:
            fuser.place_fixed(_loop(operation, data, batch, options))
    return tuple(_finish(group) for group in fuser.groups)


def _loop(repeat: Repeat, data: frozenset[str], batch: int, options: PlanOptions) -> Loop:
    layer = repeat.circuit
    steps = _fuse(layer, data, batch, options)
    has_data = bool(data & layer.parameters.keys())
    if has_data:  # else the loop as a whole may be collapsed, by whoever holds it
        steps = _collapse(steps, layer.n_qubits, batch, options)
    return Loop(Plan(layer.n_qubits, steps), repeat, has_data)


class _Fuser:
    """Greedy grouping: a leaf joins a group at or behind the last one that touches its qubits, or opens one."""

    def __init__(self, n_qubits: int, options: PlanOptions):
        self.n_qubits = n_qubits
        self.groups: list[_Group] = []
        self._last = [-1] * n_qubits
        block = options.max_block or (n_qubits if n_qubits <= ONE_BLOCK else 4)
        self.block = min(block, n_qubits)
        # A block that differs from sample to sample costs 4**k numbers a sample: keep it at most as large as the state.
        self.data_block = min(block, 4, (n_qubits + 1) // 2)

    def place_fixed(self, step: Projection | Loop) -> None:
        """Add a step that spans the register and takes nothing in."""
        self._open(_Group("fixed", set(range(self.n_qubits)), False, [step]))

    def place(self, leaf: Leaf) -> None:
        """Add one leaf to a group."""
        kind, qubits = _kind(leaf), set(leaf.qubits)
        limit = max(self.data_block if leaf.data else self.block, len(qubits))
        grows = kind == "dense" or self.n_qubits > FULL_REGISTER
        if self._join("dense", leaf, limit if grows else 0):
            return
        if kind == "dense" or not self._join(kind, leaf, FULL_REGISTER):
            self._open(_Group(kind, qubits, leaf.data, [leaf]))

    def _join(self, kind: str, leaf: Leaf, limit: int) -> bool:
        """Join the first group of this kind that may take the leaf; up to `limit` qubits it may grow for it."""
        qubits = set(leaf.qubits)
        start = max(self._last[q] for q in qubits)
        for index in range(max(start, 0), len(self.groups)):
            group = self.groups[index]
            fits = qubits <= group.qubits or len(qubits | group.qubits) <= limit
            if group.kind == kind and group.data == leaf.data and fits:
                group.items.append(leaf)
                group.qubits |= qubits
                for qubit in qubits:
                    self._last[qubit] = index
                return True
        return False

    def _open(self, group: _Group) -> None:
        self.groups.append(group)
        for qubit in group.qubits:
            self._last[qubit] = len(self.groups) - 1


def _kind(leaf: Leaf) -> str:
    """What a leaf becomes if no dense block takes it in."""
    if len(leaf.factors) > 1:
        return "dense"
    (factor,) = leaf.factors
    if isinstance(factor, np.ndarray):
        return "monomial" if monomial(factor) is not None else "dense"
    is_diagonal = GATES[factor.name].phases is not None
    # One-qubit weights are better off in a block, which they leave no more expensive.
    return "diagonal" if is_diagonal and (len(leaf.qubits) > 1 or leaf.data) else "dense"


def _finish(group: _Group) -> Step:
    qubits = tuple(sorted(group.qubits))
    if group.kind == "fixed":
        return group.items[0]
    local = {qubit: i for i, qubit in enumerate(qubits)}
    items = [replace(leaf, qubits=tuple(local[q] for q in leaf.qubits)) for leaf in group.items]
    if group.kind == "monomial":
        return replace(_fold_monomials(items, len(qubits)), qubits=qubits)
    if group.kind == "diagonal":
        return replace(_fold_diagonals(items, len(qubits)), qubits=qubits, data=group.data)
    return Dense(qubits, _layers(items, len(qubits)), group.data)


def _layers(items: list[Leaf], k: int) -> tuple[tuple[Leaf, ...] | Monomial, ...]:
    """The leaves of a block as alternating Kronecker products and monomials."""
    layers: list[tuple[str, list[Leaf]]] = []
    last = [-1] * k
    for leaf in items:
        kind = "monomial" if _kind(leaf) == "monomial" and len(leaf.qubits) > 1 else "kron"
        start = max(last[q] for q in leaf.qubits) + (kind == "kron")
        index = next((i for i in range(max(start, 0), len(layers)) if layers[i][0] == kind), len(layers))
        if index == len(layers):
            layers.append((kind, []))
        layers[index][1].append(leaf)
        for qubit in leaf.qubits:
            last[qubit] = index
    return tuple(tuple(members) if kind == "kron" else _fold_monomials(members, k) for kind, members in layers)


def _bits(qubits: Sequence[int], n_qubits: int) -> np.ndarray:
    """For every basis index of n qubits, the index that its bits on `qubits` spell (first most significant)."""
    index = np.arange(2**n_qubits)
    out = np.zeros_like(index)
    for qubit in qubits:
        out = 2 * out + (index >> (n_qubits - 1 - qubit) & 1)
    return out


def _fold_monomials(leaves: list[Leaf], k: int) -> Monomial:
    """The product of constant monomials on k qubits."""
    source, phase = np.arange(2**k), np.ones(2**k, dtype=complex)
    for leaf in leaves:
        split = monomial(leaf.factors[0])  # type: ignore[arg-type]  # by construction a constant matrix
        assert split is not None
        small_source, small_phase = split
        inside = _bits(leaf.qubits, k)
        # Replace the bits on the leaf's qubits by those of their source.
        moved = np.arange(2**k)
        for position, qubit in enumerate(reversed(leaf.qubits)):
            shift = k - 1 - qubit
            moved = moved & ~(1 << shift) | ((small_source[inside] >> position & 1) << shift)
        source, phase = source[moved], small_phase[inside] * phase[moved]
    return Monomial(tuple(range(k)), source, None if (phase == 1).all() else phase)


def _fold_diagonals(leaves: list[Leaf], k: int) -> Diagonal:
    """The product of diagonal gates with angles on k qubits."""
    gates = [leaf.factors[0] for leaf in leaves]
    columns = [GATES[gate.name].phases[_bits(leaf.qubits, k)] for gate, leaf in zip(gates, leaves, strict=True)]  # type: ignore[union-attr,index]
    angles = tuple(itertools.chain.from_iterable(gate.angles for gate in gates))  # type: ignore[union-attr]
    return Diagonal(tuple(range(k)), np.concatenate(columns, axis=1), angles, False)


# --- collapsing ------------------------------------------------------------------------------------------------------


def _collapse(steps: tuple[Step, ...], n_qubits: int, batch: int, options: PlanOptions) -> tuple[Step, ...]:
    """Replace weights-only stretches by one unitary each where that is cheaper; the state holds the whole batch."""
    if options.collapse is False or 8 * 4**n_qubits > MAX_UNITARY_BYTES:
        return steps
    out: list[Step] = []
    for linear, group in itertools.groupby(steps, is_linear):
        stretch = tuple(group)
        if linear and (options.collapse or _collapse_pays(stretch, n_qubits, batch)):
            out.append(Collapsed(stretch))
        else:
            out.extend(stretch)
    return tuple(out)


def _collapse_pays(stretch: tuple[Step, ...], n_qubits: int, batch: int) -> bool:
    """Compare running the stretch on the batch with running it on the identity and one square matrix product.

    Large square products run about twice as fast per operation as the small ones of blocks (measured on CPU).
    """
    size = 2**n_qubits
    column = sum(column_cost(step, n_qubits) for step in stretch)
    return size * column + 4 * size * size * batch < column * batch


def column_cost(step: Step, n_qubits: int) -> float:
    """Estimated cost of a step on one column of amplitudes, in floating-point operations.

    A pass over memory is counted like eight operations an amplitude.
    """
    size = 2**n_qubits
    if isinstance(step, Dense):
        return size * (8 * 2 ** len(step.qubits) + 8)
    if isinstance(step, Loop):
        return step.repeat.times * sum(column_cost(inner, n_qubits) for inner in step.body.steps)
    if isinstance(step, Collapsed):
        return 8 * size * size
    return 8 * size
