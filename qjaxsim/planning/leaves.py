"""What plans are made of before they have steps: factors of one gate each, and leaves of a few of them. Data only."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qjaxsim.circuits.operations import Gate


@dataclass(frozen=True, eq=False)
class Phases:
    """A diagonal factor exp(i (offset + table @ angles)): phases seen through permutations around them.

    Attributes:
        table: (2**k, number of angles) real.
        angles: numbers or expressions.
        offset: (2**k,) real.
    """

    table: np.ndarray
    angles: tuple[Any, ...]
    offset: np.ndarray
    name: ClassVar[str] = "phases"


@dataclass(frozen=True, eq=False)
class PauliRotation:
    """A factor exp(-i angle P / 2).

    Attributes:
        letters: those of the Pauli string P, none of them I.
        angles: the one angle, an expression.
    """

    letters: str
    angles: tuple[Any, ...]
    name: ClassVar[str] = "pauli"


Angled = Gate | Phases | PauliRotation
"""What a gate with angles is to the planner."""

DEVICE_BITS = "device bits"
"""The name of the parameter that holds the bits of a device's number, where the state is cut over devices."""


@dataclass(frozen=True, eq=False)
class Picked:
    """The block of a block diagonal factor that the device's own bits pick.

    Attributes:
        factor: of which a block is taken.
        positions: of its qubits, those in which it is block diagonal and whose bits the device knows.
        angles: those of the factor, then one bit for each of the positions.
    """

    factor: Angled | np.ndarray
    positions: tuple[int, ...]
    angles: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Factors with equal names and numbers of angles are computed as one stack."""
        inner = f"{len(self.factor)} rows" if isinstance(self.factor, np.ndarray) else self.factor.name
        return f"{inner} by bits {self.positions}"


Factor = Angled | Picked | np.ndarray
"""What a gate is to the planner; a matrix is constant."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """Gates in a row on the same qubits, to be multiplied into one small matrix.

    Attributes:
        qubits: where it acts.
        factors: in time order.
        data: whether it depends on data.
        axes: by qubit the Pauli letter that it commutes with there, or None.
    """

    qubits: tuple[int, ...]
    factors: tuple[Factor, ...]
    data: bool
    axes: tuple[str | None, ...] = ()

    @property
    def signature(self) -> tuple:
        """Leaves with equal signatures are computed as one stack."""
        names = tuple("" if isinstance(f, np.ndarray) else (f.name, len(f.angles)) for f in self.factors)
        return (len(self.qubits), names, self.data)
