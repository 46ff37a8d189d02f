"""The transverse-field Ising model on a chain or a ring."""

import functools

from qjaxsim.circuits.observables import PauliSum, X, Z


def ising_pairs(n_qubits: int, periodic: bool = False) -> list[tuple[int, int]]:
    """Neighbours on a chain, with the ends last where they are neighbours, too.

    >>> ising_pairs(4, periodic=True)
    [(0, 1), (1, 2), (2, 3), (0, 3)]
    """
    return [(qubit, qubit + 1) for qubit in range(n_qubits - 1)] + [(0, n_qubits - 1)] * periodic


def ising_parts(n_qubits: int, periodic: bool = False) -> tuple[PauliSum, PauliSum]:
    """The sum of ZZ over neighbours and the sum of all X; the energy is minus both, at the critical field.

    Args:
        n_qubits: of the chain, from 3 on for a ring.
        periodic: whether the ends are neighbours.

    >>> ising_parts(2)[0]
    <PauliSum: 1 Z0 Z1>
    """
    bonds = functools.reduce(PauliSum.__add__, [Z(a) @ Z(b) for a, b in ising_pairs(n_qubits, periodic)])
    return bonds, functools.reduce(PauliSum.__add__, [X(qubit) for qubit in range(n_qubits)])


def ising_energy(n_qubits: int, periodic: bool = False) -> PauliSum:
    """- sum ZZ - sum X.

    >>> print(ising_energy(2))
    -1 Z0 Z1 - 1 X0 - 1 X1
    """
    bonds, fields = ising_parts(n_qubits, periodic)
    return -bonds - fields
