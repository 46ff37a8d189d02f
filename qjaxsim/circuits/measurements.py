"""Operations that measure a qubit, or take it out of the state: measurements, resets, readout errors, projections."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np


@dataclass(frozen=True)
class _OfOneQubit:
    """What these operations have in common."""

    qubit: int

    @property
    def qubits(self) -> tuple[int, ...]:
        """The one qubit, as a tuple like any operation's."""
        return (self.qubit,)

    def on(self, qubits: Sequence[int]) -> Self:
        """The same operation on `qubits[self.qubit]`."""
        return replace(self, qubit=qubits[self.qubit])


@dataclass(frozen=True)
class Measure(_OfOneQubit):
    """A measurement of a qubit into a classical bit, which later operations may depend on.

    Attributes:
        qubit: measured.
        bit: that takes the outcome.
        one_for_zero: the probability that the bit becomes 1 where the outcome is 0.
        zero_for_one: the probability that the bit becomes 0 where the outcome is 1.
    """

    bit: int
    one_for_zero: float = 0.0
    zero_for_one: float = 0.0

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("measure", self.qubit, self.bit, self.one_for_zero, self.zero_for_one)

    def inverse(self) -> "Measure":
        """There is none."""
        raise ValueError(f"A measurement has no inverse (qubit {self.qubit} into bit {self.bit}).")

    @property
    def is_misread(self) -> bool:
        """Whether the bit may differ from the outcome."""
        return bool(self.one_for_zero or self.zero_for_one)

    def matrix(self) -> np.ndarray:
        """The probability of a bit (row) for an outcome (column), (2, 2)."""
        return misreading((self.one_for_zero, self.zero_for_one))


@dataclass(frozen=True)
class Reset(_OfOneQubit):
    """A qubit put back to |0>, its state forgotten."""

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("reset", self.qubit)

    def inverse(self) -> "Reset":
        """There is none."""
        raise ValueError(f"A reset has no inverse (qubit {self.qubit}).")


@dataclass(frozen=True)
class ReadoutError(_OfOneQubit):
    """A bit that is read wrongly: classical, after the state of the qubit is done with.

    Attributes:
        qubit: whose bit.
        one_for_zero: the probability of reading 1 where the outcome is 0.
        zero_for_one: the probability of reading 0 where the outcome is 1.
    """

    one_for_zero: float
    zero_for_one: float

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("readout_error", self.qubit, self.one_for_zero, self.zero_for_one)

    def inverse(self) -> "ReadoutError":
        """There is none."""
        raise ValueError(f"A readout error has no inverse (qubit {self.qubit}).")

    def matrix(self) -> np.ndarray:
        """The probability of reading a bit (row) for an outcome (column), (2, 2)."""
        return misreading((self.one_for_zero, self.zero_for_one))


def misreading(*errors: tuple[float, float]) -> np.ndarray:
    """The probability of reading a bit (row) for an outcome (column), (2, 2), with one error after the other.

    Args:
        errors: the probability of reading 1 for 0, and that of reading 0 for 1.

    >>> print(misreading((0.5, 0.0), (0.0, 0.25)))
    [[0.625 0.25 ]
     [0.375 0.75 ]]
    """
    total = np.eye(2)
    for one_for_zero, zero_for_one in errors:
        total = np.array([[1 - one_for_zero, zero_for_one], [one_for_zero, 1 - zero_for_one]]) @ total
    return total


@dataclass(frozen=True)
class Projection(_OfOneQubit):
    """Projection of one qubit on an outcome, followed by normalisation of the state."""

    outcome: int

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("project", self.qubit, self.outcome)

    def inverse(self) -> "Projection":
        """There is none."""
        raise ValueError(f"A projection has no inverse (qubit {self.qubit}, outcome {self.outcome}).")
