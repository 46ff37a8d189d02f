"""The steps that plans are made of. Data only: no JAX, no fusing, no arithmetic."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from qjaxsim.circuits.operations import Repeat
from qjaxsim.planning.leaves import Leaf


@dataclass(frozen=True, eq=False)
class Monomial:
    """A permutation with phases of the leading index bits: out[i] = phase[i] * state[source[i]].

    Attributes:
        qubits: those that the leading index bits stand for, in their order.
        source: (2**k,) int.
        phase: (2**k,) complex; None: all one.
    """

    qubits: tuple[int, ...]
    source: np.ndarray
    phase: np.ndarray | None
    data: bool = False

    @property
    def is_diagonal(self) -> bool:
        """Whether nothing moves."""
        return bool((self.source == np.arange(len(self.source))).all())


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense matrix on the leading index bits, the product of its layers.

    Attributes:
        qubits: those that the k leading index bits stand for, in their order.
        layers: in time order, either leaves on different qubits (their Kronecker product) or a `Monomial`; qubits in
            them count from 0 to k - 1.
        data: whether it depends on data.
        constant: the (2**k, 2**k) complex128 matrix if nothing in it has angles, else None.
        entering: how many of its first qubits were in |0> and not part of the state until now.
        leaves: those of the layers, in time order.
    """

    qubits: tuple[int, ...]
    layers: tuple[tuple[Leaf, ...] | Monomial, ...]
    data: bool
    constant: np.ndarray | None = None
    entering: int = 0
    leaves: tuple[Leaf, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """Phases exp(i (offset + table @ angles)) over the index bits of some qubits.

    Attributes:
        positions: ascending places of those qubits among the index bits.
        table: (2**m, number of angles) real.
        angles: the angles' expressions.
        offset: (2**m,) real.
    """

    positions: tuple[int, ...]
    table: np.ndarray
    angles: tuple[Any, ...]
    offset: np.ndarray


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Diagonal gates: the product of the phases of a few tables, applied in one pass.

    Attributes:
        tables: their tables.
        data: whether any depends on data.
    """

    tables: tuple[Table, ...]
    data: bool


@dataclass(frozen=True, eq=False)
class Rotations:
    """Rotations exp(-i angle P / 2) about Pauli strings, one after the other, as a loop.

    P sends the basis state x to i**n (-1)**(x . signs) times x with `flips` flipped, n the number of its Y.

    Attributes:
        flips: (count,) uint32, the index bits with X or Y, the first index bit most significant.
        signs: (count,) uint32, those with Y or Z.
        angles: one for each.
        strings: in words, one for each.
        data: whether an angle depends on data.
    """

    flips: np.ndarray
    signs: np.ndarray
    angles: tuple[Any, ...]
    strings: tuple[str, ...]
    data: bool


@dataclass(frozen=True, eq=False)
class Singles:
    """Each column's own matrices on single qubits, one after the other, as a loop.

    Every turn applies one to the first index bit and moves that behind all others.

    Attributes:
        qubits: those that the first index bits stand for before, and the last ones after, in their order.
        leaves: one for each, always unitary; the qubit that they act on is 0.
    """

    qubits: tuple[int, ...]
    leaves: tuple[Leaf, ...]
    data: bool = True


@dataclass(frozen=True, eq=False)
class Transpose:
    """A new order of the index bits: from standing for the qubits in `before` to those in `after`."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    data: bool = False


@dataclass(frozen=True, eq=False)
class Start:
    """The state begins as a constant one, all qubits in ascending order.

    Attributes:
        state: (2**n,) complex128.
        gates: how many gates gave it.
    """

    state: np.ndarray
    gates: int
    data: bool = False


@dataclass(frozen=True, eq=False)
class Enter:
    """Qubits in |0> become part of the state, as its first index bits."""

    qubits: tuple[int, ...]
    data: bool = False


@dataclass(frozen=True, eq=False)
class Prepare:
    """Qubits become part of the state, as its first index bits, in a state of their own.

    Attributes:
        qubits: first most significant.
        constant: (2**k,) complex128, or None where a parameter has the amplitudes.
        name: of that parameter.
        parts: how many numbers an amplitude has there, 1 or 2.
        conjugated: whether the complex conjugate is meant.
        data: whether the parameter carries the batch.
    """

    qubits: tuple[int, ...]
    constant: np.ndarray | None
    name: str
    parts: int
    conjugated: bool
    data: bool = False


@dataclass(frozen=True, eq=False)
class Widen:
    """One column becomes as many as the batch has, before the first step that depends on data."""

    data: bool = True


@dataclass(frozen=True, eq=False)
class Project:
    """One index bit is projected on an outcome and every column normalised."""

    position: int
    outcome: int
    data: bool = False


@dataclass(frozen=True, eq=False)
class ProjectBit:
    """A bit of the device's number is projected on an outcome and every column normalised over all devices."""

    bit: int
    outcome: int
    data: bool = False


@dataclass(frozen=True, eq=False)
class Exchange:
    """Qubits change places between the devices' pieces of the state and the devices' numbers.

    Attributes:
        wires: they are the leading index bits, in this order.
        bits: of the device's number, the most significant being 0; one for each wire.
    """

    wires: tuple[int, ...]
    bits: tuple[int, ...]
    data: bool = False


@dataclass(frozen=True, eq=False)
class Loop:
    """A repeated layer: its plan and how often, with which parameters shared. Begins and ends in ascending order."""

    body: "Plan"
    repeat: Repeat
    data: bool


@dataclass(frozen=True, eq=False)
class Collapsed:
    """A weights-only stretch that is run once on the identity and applied to the batch as one matrix."""

    steps: tuple["Step", ...]
    n_qubits: int
    data: bool = False


@dataclass(frozen=True, eq=False)
class Products:
    """Many matrices with angles, each made of as many parts, each of those the product of as many factors.

    Attributes:
        width: qubits of each matrix.
        part: qubits of each part, applied one after the other to the first bits of a matrix's index.
        stacks: factors of one name on the same places (first most significant) among a part's qubits, with the places.
        constants: (m, 2**part, 2**part) complex128, the first the identity, the second zero.
        slots: (factors, parts * matrices) int, in time order: the constants; zero where a gate stands.
        where: (gates,) int: for each gate of the stacks in turn its slot, counted along the rows of `slots`.
        orders: (parts, matrices, width) int: the matrix's qubits as its index bits stand for them at each part.
    """

    width: int
    part: int
    stacks: tuple[tuple[tuple[int, ...], tuple[Any, ...]], ...]
    constants: np.ndarray
    slots: np.ndarray
    where: np.ndarray
    orders: np.ndarray


@dataclass(frozen=True, eq=False)
class Packed:
    """Many small blocks in a row, run as a loop over their matrices.

    Attributes:
        before: the qubits that the index bits stand for at first.
        orders: (blocks, n) int, those that they stand for when each block is applied to the leading bits.
        width: qubits of each block.
        gates: how many gates the blocks hold.
        constant: (blocks, 2**width, 2**width) complex128 if nothing in them has angles, else None.
        products: what their matrices are made of if something has.
    """

    before: tuple[int, ...]
    orders: np.ndarray
    width: int
    gates: int
    constant: np.ndarray | None
    products: Products | None
    data: bool = False


Step = (
    Dense
    | Monomial
    | Diagonal
    | Rotations
    | Singles
    | Packed
    | Transpose
    | Start
    | Enter
    | Prepare
    | Widen
    | Project
    | ProjectBit
    | Exchange
    | Loop
    | Collapsed
)


@dataclass(frozen=True)
class Places:
    """Where qubits lie when the state is cut over devices.

    Attributes:
        wires: the qubits that the index bits of a device's piece stand for.
        bits: the qubits that the bits of the device's number stand for, most significant first.
    """

    wires: tuple[int, ...]
    bits: tuple[int, ...]

    def swapped(self, wires: Iterable[int], bits: Iterable[int]) -> "Places":
        """The places after these wires and bits exchanged their qubits, one by one."""
        local, apart = list(self.wires), list(self.bits)
        for wire, bit in zip(wires, bits, strict=True):
            local[wire], apart[bit] = apart[bit], local[wire]
        return Places(tuple(local), tuple(apart))


@dataclass(frozen=True, eq=False)
class Together:
    """Dense blocks of one width whose matrices are made all at once, where one by one would be a long program.

    Attributes:
        steps: the blocks.
        products: their matrices.
    """

    steps: tuple[Dense, ...]
    products: Products


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in time order.

    Attributes:
        n_qubits: width of the register, or of the piece of it that a device holds.
        steps: in time order. Index bits are in ascending order of the qubits after the last step, and before the first
            unless the plan starts from |0...0>: then the state has no qubits at first, and they enter when needed.
        definitions: parameters that the planner made, as rows of angles: name to expressions of the circuit's own.
        data: names of the parameters, own and made, that carry the batch.
        together: blocks at this level whose matrices are made at once, by width.
        places: where the qubits lie in the end, if the state is cut over devices.
    """

    n_qubits: int
    steps: tuple[Step, ...]
    definitions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    data: frozenset[str] = frozenset()
    together: tuple[Together, ...] = ()
    places: Places | None = None

    @cached_property
    def stacks(self) -> dict[tuple, tuple[Leaf, ...]]:
        """All leaves at this level (not inside loops) by signature, those of blocks made otherwise left out."""
        leaves: dict[tuple, list[Leaf]] = {}
        others = frozenset(step for blocks in self.together for step in blocks.steps)
        for step in flat_steps(self.steps):
            for leaf in () if step in others else leaves_of(step):
                leaves.setdefault(leaf.signature, []).append(leaf)
        return {signature: tuple(members) for signature, members in leaves.items()}


def leaves_of(step: Step) -> Iterable[Leaf]:
    """The leaves that a step's matrices with angles are made of."""
    if isinstance(step, Singles):
        yield from step.leaves
    elif isinstance(step, Dense) and step.constant is None:
        for layer in step.layers:
            yield from layer if isinstance(layer, tuple) else ()


def flat_steps(steps: Iterable[Step]) -> Iterable[Step]:
    """The steps with collapsed stretches opened, loops left closed."""
    for step in steps:
        if isinstance(step, Collapsed):
            yield from flat_steps(step.steps)
        else:
            yield step
