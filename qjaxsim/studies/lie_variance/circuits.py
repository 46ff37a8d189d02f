"""The circuits of the study `lie-variance`, their generators, and the variance that theory gives them."""

from functools import cache
from typing import NamedTuple

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.observables import X, Z
from qjaxsim.circuits.sums import PauliSum
from qjaxsim.geometry import lie_algebra
from qjaxsim.studies.lie_variance.settings import CHAIN

OBSERVABLE = X(0)
# Beyond so many dimensions an algebra is taken for all of su(2^n) without being spanned.
_LARGEST = 300


class Theory(NamedTuple):
    """What the Lie algebra g of a circuit says, for the state |+> on all qubits and the observable X_0.

    Attributes:
        dimension: of g.
        purity_state: P_g(rho), the squared norm of the state's part in g.
        purity_observable: P_g(O), the same of the observable.
        spanned: whether these are from a basis of g; else from the formulas for su(2^n).
    """

    dimension: int
    purity_state: float
    purity_observable: float
    spanned: bool

    @property
    def variance(self) -> float:
        """P_g(rho) P_g(O) / dim g."""
        return self.purity_state * self.purity_observable / self.dimension


def layer_of(name: str, qubits: int) -> Circuit:
    """RX on all qubits, RZ as well in the full circuit, and RZZ between neighbours; an angle for each."""
    rx, rz, rzz = (Parameter(one, (size,)) for one, size in (("rx", qubits), ("rz", qubits), ("rzz", qubits - 1)))
    layer = Circuit(qubits)
    for qubit in range(qubits):
        layer.rx(rx[qubit], qubit)
        if name != CHAIN:
            layer.rz(rz[qubit], qubit)
    for qubit in range(qubits - 1):
        layer.rzz(rzz[qubit], qubit, qubit + 1)
    return layer


def plus(qubits: int) -> np.ndarray:
    """The state |+> on all qubits, (2^n,)."""
    return np.full(2**qubits, 2.0 ** (-qubits / 2))


def generators(name: str, qubits: int) -> list[PauliSum]:
    """Of the gates of a layer."""
    single = [X(qubit) for qubit in range(qubits)]
    single += [] if name == CHAIN else [Z(qubit) for qubit in range(qubits)]
    return single + [Z(qubit) @ Z(qubit + 1) for qubit in range(qubits - 1)]


@cache
def theory(name: str, qubits: int) -> Theory:
    """The Lie algebra's dimension and purities."""
    if name != CHAIN and 4**qubits > _LARGEST:
        # All traceless operators: the purity of a pure state and of X_0 less their parts along the identity, which is 0
        # for X_0.
        return Theory(4**qubits - 1, 1 - 2.0**-qubits, 2.0**qubits, spanned=False)
    algebra = lie_algebra(generators(name, qubits), qubits)
    return Theory(algebra.dimension, algebra.purity(plus(qubits)), algebra.purity(OBSERVABLE), spanned=True)


def closed_form(name: str, qubits: int) -> float:
    """1 / (2n - 1) of the chain and 1 / (2^n + 1) of the full circuit."""
    return 1 / (2 * qubits - 1) if name == CHAIN else 1 / (2**qubits + 1)
