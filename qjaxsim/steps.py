"""The steps that plans are made of. Data only: no JAX, no fusing, no arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from qjaxsim.expressions import Expression
from qjaxsim.operations import Gate, Projection, Repeat


@dataclass(frozen=True)
class PlanOptions:
    """Choices that a user may force.

    Attributes:
        max_block: most qubits in one dense block; None lets the planner choose.
        collapse: True or False to always or never collapse weights-only stretches; None lets the cost model decide.
        unroll: iterations of a repeated layer that one step of the `lax.scan` holds.
    """

    max_block: int | None = None
    collapse: bool | None = None
    unroll: int = 1

    def __post_init__(self) -> None:
        if self.max_block is not None and self.max_block < 1:
            raise ValueError(f"Argument `max_block` must be at least 1, but is {self.max_block}.")
        if self.unroll < 1:
            raise ValueError(f"Argument `unroll` must be at least 1, but is {self.unroll}.")


@dataclass(frozen=True, eq=False)
class Leaf:
    """Gates in a row on the same qubits, to be multiplied into one small matrix.

    Attributes:
        qubits: where it acts.
        factors: in time order, gates with angles or constant matrices.
        data: whether it depends on data.
    """

    qubits: tuple[int, ...]
    factors: tuple[Gate | np.ndarray, ...]
    data: bool

    @property
    def signature(self) -> tuple:
        """Leaves with equal signatures are computed as one stack."""
        names = tuple("" if isinstance(f, np.ndarray) else f.name for f in self.factors)
        return (len(self.qubits), names, self.data)


@dataclass(frozen=True, eq=False)
class Monomial:
    """A permutation with phases on some qubits: out[i] = phase[i] * state[source[i]] (`phase` None: all one)."""

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
    """A dense matrix on a few qubits, the product of its layers.

    Attributes:
        qubits: the k qubits, ascending.
        layers: in time order, either leaves on different qubits (their Kronecker product) or a `Monomial`; qubits in
            them count from 0 to k - 1.
        data: whether it depends on data.
    """

    qubits: tuple[int, ...]
    layers: tuple[tuple[Leaf, ...] | Monomial, ...]
    data: bool


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Diagonal gates with angles on some qubits: phases exp(i table @ angles).

    Attributes:
        qubits: the m qubits, ascending.
        table: (2**m, number of angles) real.
        angles: the angles' expressions.
        data: whether any depends on data.
    """

    qubits: tuple[int, ...]
    table: np.ndarray
    angles: tuple[Any, ...]
    data: bool


@dataclass(frozen=True, eq=False)
class Loop:
    """A repeated layer: its plan and how often, with which parameters shared."""

    body: "Plan"
    repeat: Repeat
    data: bool


@dataclass(frozen=True, eq=False)
class Collapsed:
    """A weights-only stretch that is run once on the identity and applied to the batch as one matrix."""

    steps: tuple["Step", ...]
    data: bool = False


Step = Dense | Monomial | Diagonal | Loop | Collapsed | Projection


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in time order, with the leaves of all dense blocks gathered in stacks of one kind."""

    n_qubits: int
    steps: tuple[Step, ...]

    @cached_property
    def stacks(self) -> dict[tuple, tuple[Leaf, ...]]:
        """All leaves at this level (not inside loops) by signature."""
        leaves: dict[tuple, list[Leaf]] = {}
        for step in flat_steps(self.steps):
            for layer in step.layers if isinstance(step, Dense) else ():
                for leaf in layer if isinstance(layer, tuple) else ():
                    leaves.setdefault(leaf.signature, []).append(leaf)
        return {signature: tuple(members) for signature, members in leaves.items()}


def flat_steps(steps: Iterable[Step]) -> Iterable[Step]:
    """The steps with collapsed stretches opened, loops left closed."""
    for step in steps:
        if isinstance(step, Collapsed):
            yield from flat_steps(step.steps)
        else:
            yield step


def depends_on_data(step: "Step") -> bool:
    """Whether a step differs from sample to sample."""
    return not isinstance(step, Projection) and step.data


def is_linear(step: "Step") -> bool:
    """Whether a step is a matrix common to all samples, so that it may be run on the identity."""
    if isinstance(step, Loop) and not all(is_linear(inner) for inner in step.body.steps):
        return False
    return not isinstance(step, Projection) and not step.data


def names_in(step: "Step") -> set[str]:
    """The names of the parameters in a step's angles."""
    if isinstance(step, Loop):
        return set(step.repeat.circuit.parameters)
    if isinstance(step, Collapsed):
        return set().union(*(names_in(inner) for inner in step.steps))
    angles: Iterable[Any] = step.angles if isinstance(step, Diagonal) else ()
    if isinstance(step, Dense):
        leaves = [leaf for layer in step.layers if isinstance(layer, tuple) for leaf in layer]
        gates = [factor for leaf in leaves for factor in leaf.factors if isinstance(factor, Gate)]
        angles = [angle for gate in gates for angle in gate.angles]
    return {element.name for angle in angles if isinstance(angle, Expression) for element in angle.elements()}
