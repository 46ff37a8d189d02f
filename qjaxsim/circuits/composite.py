"""Gates that circuits write as several of the table's: with many controls, and evolution under a Hamiltonian."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.expressions import Angle, Expression, as_expression
from qjaxsim.circuits.hermitian import NARROW, Diagonal
from qjaxsim.circuits.observables import Observable, checked_observable
from qjaxsim.circuits.pauli_terms import Term
from qjaxsim.circuits.sums import Coefficient, PauliSum
from qjaxsim.common.checks import positive_integer, require_one_of

_ROTATIONS = {"X": "rx", "Y": "ry", "Z": "rz", "XX": "rxx", "YY": "ryy", "ZZ": "rzz", "ZX": "rzx"}


# Symmetric formulas that one of even order is made of, by what their halves divide the time by. Of the five of order 4
# the third goes back in time, so that errors of the third order cancel.
_FIFTH = 1 / (4 - 4 ** (1 / 3))
_HALVES: dict[int | str, tuple[float, ...]] = {
    2: (2,),
    4: tuple(2 / share for share in (_FIFTH, _FIFTH, 1 - 4 * _FIFTH, _FIFTH, _FIFTH)),
}


class CompositeGates:
    """The methods of a circuit that add several gates at once."""

    if TYPE_CHECKING:  # what a circuit has
        n_qubits: int
        parameters: Any
        operations: Any

        def __init__(self, n_qubits: int): ...

        append: Callable[..., Self]
        check_qubits: Callable[..., tuple[int, ...]]
        extend: Callable[..., Self]
        repeat: Callable[..., Self]
        unitary: Callable[..., Self]

    def mcp(self, theta: Angle, controls: int | Sequence[int], target: int) -> Self:
        """Add a phase exp(i theta) where all controls and the target are 1.

        Args:
            theta: the angle, a number or an expression.
            controls: at least one qubit. Cost: one pass over the state and a table of 2**(controls + 1) phases, however
                many there are.
            target: another qubit.

        >>> import qjaxsim as qj
        >>> circuit = qj.Circuit(4).h(range(4)).mcp(0.5, [0, 1, 2], 3)
        >>> bool(abs(qj.statevector(circuit)()[-1] - 0.25 * complex(math.cos(0.5), math.sin(0.5))) < 1e-6)
        True
        """
        qubits = self._controlled("mcp", controls, target)
        return self.append("cp" if len(qubits) == 2 else f"mcp{len(qubits) - 1}", qubits, (theta,))

    def mcx(self, controls: int | Sequence[int], target: int) -> Self:
        """Add an X on the target where all controls are 1; arguments and cost as of `mcp`.

        >>> import qjaxsim as qj
        >>> print(qj.probabilities(qj.Circuit(4).x([0, 1, 2]).mcx([0, 1, 2], 3), [3])().round())
        [0. 1.]
        """
        qubits = self._controlled("mcx", controls, target)
        if len(qubits) <= 3:
            return self.append({2: "cx", 3: "ccx"}[len(qubits)], qubits)
        return self.append("h", target).mcp(math.pi, qubits[:-1], target).append("h", target)

    def mcrz(self, theta: Angle, controls: int | Sequence[int], target: int) -> Self:
        """Add RZ(theta) on the target where all controls are 1; arguments and cost as of `mcp`.

        >>> import qjaxsim as qj
        >>> qj.Circuit(3).mcrz(0.4, [0], 2) == qj.Circuit(3).crz(0.4, 0, 2)
        True
        """
        *first, last, on = self._controlled("mcrz", controls, target)
        if not first:
            return self.append("crz", (last, on), (theta,))
        angle = as_expression(theta)
        # diag(exp(-i theta / 2), exp(i theta / 2)) is a phase of theta on 1 after one of -theta / 2 on both.
        return self.mcp(angle, (*first, last), on).mcp(-angle / 2, first, last)

    def mcrx(self, theta: Angle, controls: int | Sequence[int], target: int) -> Self:
        """Add RX(theta) on the target where all controls are 1; arguments and cost as of `mcp`.

        >>> import qjaxsim as qj
        >>> print(qj.probabilities(qj.Circuit(3).x([0, 1]).mcrx(math.pi, [0, 1], 2), [2])().round())
        [0. 1.]
        """
        if len(qubits := self._controlled("mcrx", controls, target)) == 2:
            return self.append("crx", qubits, (theta,))
        return self.append("h", target).mcrz(theta, controls, target).append("h", target)

    def mcry(self, theta: Angle, controls: int | Sequence[int], target: int) -> Self:
        """Add RY(theta) on the target where all controls are 1; arguments and cost as of `mcp`.

        >>> import qjaxsim as qj
        >>> print(qj.probabilities(qj.Circuit(3).x([0, 1]).mcry(math.pi / 2, [0, 1], 2), [2])().round(3))
        [0.5 0.5]
        """
        if len(qubits := self._controlled("mcry", controls, target)) == 2:
            return self.append("cry", qubits, (theta,))
        return self.append("sdg", target).mcrx(theta, controls, target).append("s", target)

    def evolve(self, observable: Observable, time: Angle, *, steps: int = 1, order: int | str = 1) -> Self:
        """Add exp(-i time observable), by a product formula or exactly.

        Args:
            observable: a Pauli sum with real coefficients; those of a product formula may be parameters.
            time: a number or an expression.
            steps: the formula is applied so often, each time for a share of the time.
            order: 1 for one rotation a term in the order of the terms, with an error of time**2 / steps; 2 for the
                symmetric formula, with an error of time**3 / steps**2; 4 for Suzuki's of five symmetric ones (J. Math.
                Phys. 1991, doi:10.1063/1.529425), with an error of time**5 / steps**4; "exact" for up to 4 qubits, in
                the eigenbasis.

        Raises:
            TypeError: for anything but a Pauli sum.
            ValueError: for qubits out of range, coefficients that are not real, another order, or a sum that is too
                wide for "exact".

        >>> import qjaxsim as qj
        >>> circuit = qj.Circuit(2).evolve(qj.Z(0) @ qj.Z(1) + 0.5 * qj.X(1), qj.Parameter("t"), order=2)
        >>> print(circuit.count_ops())
        {'rzz': 2, 'rx': 2}
        """
        checked = checked_observable("observable", observable, self.n_qubits)
        count = positive_integer("steps", steps)
        require_one_of("order", order, (1, 2, 4, "exact"))
        if order == "exact":
            return self._evolve_exactly(checked, as_expression(time))
        share = as_expression(time) / count
        turns = [(term, 2 * share * coefficient) for term, coefficient in _terms(checked)]
        if order != 1:
            halves = [[(term, angle / divisor) for term, angle in turns] for divisor in _HALVES[order]]
            turns = [turn for half in halves for turn in half + half[::-1]]
        layer = type(self)(self.n_qubits)
        for term, angle in turns:
            layer._rotate(term, angle)
        return self.extend(layer.operations) if count == 1 else self.repeat(layer, count, shared=layer.parameters)

    def _evolve_exactly(self, observable: Observable, time: Expression | float) -> Self:
        if not isinstance(observable, PauliSum):
            raise ValueError("Argument `order` must be 1, 2 or 4 for coefficients that are parameters, but is 'exact'.")
        qubits = sorted({q for term in observable.terms for q, _ in term})
        if len(qubits) > NARROW:
            raise ValueError(
                f"Argument `order` must be 1, 2 or 4 for a sum on more than {NARROW} qubits, but is 'exact' for one on "
                f"{len(qubits)}."
            )
        letters = [dict(term) for term in observable.terms]
        matrices = [pauli_matrix("".join(each.get(q, "I") for q in qubits)) for each in letters]
        total = sum(c.real * m for c, m in zip(observable.terms.values(), matrices, strict=True))
        if not qubits:
            return self.append("global_phase", (), (-time * observable.terms.get((), 0.0).real,))
        energies, basis = np.linalg.eigh(total)
        self.unitary(basis.conj().T, qubits, "eigenbasis_dg")
        for term, coefficient in _terms(Diagonal(energies, qubits)):
            self._rotate(term, 2 * time * coefficient)
        return self.unitary(basis, qubits, "eigenbasis")

    def _rotate(self, term: Term, angle: Any) -> None:
        """exp(-i angle P / 2) for the product P of a term."""
        qubits, label = [q for q, _ in term], "".join(letter for _, letter in term)
        if not term:
            self.append("global_phase", (), (-angle / 2,))
        elif label in _ROTATIONS:
            self.append(_ROTATIONS[label], qubits, (angle,))
        elif label == "XZ":
            self.append("rzx", qubits[::-1], (angle,))
        else:
            self._to_z(term)
            for one, other in zip(qubits, qubits[1:], strict=False):
                self.append("cx", (one, other))
            self.append("rz", qubits[-1], (angle,))
            for one, other in reversed(list(zip(qubits, qubits[1:], strict=False))):
                self.append("cx", (one, other))
            self._to_z(term, back=True)

    def _to_z(self, term: Term, back: bool = False) -> None:
        """Turn each letter of a term into Z, or back."""
        for qubit, letter in term:
            names = {"X": ["h"], "Y": ["sdg", "h"], "Z": []}[letter]
            for name in [{"sdg": "s"}.get(each, each) for each in names[::-1]] if back else names:
                self.append(name, qubit)

    def _controlled(self, name: str, controls: Any, target: Any) -> tuple[int, ...]:
        """Controls and target, all different."""
        single = not isinstance(controls, Iterable)
        qubits = self.check_qubits((controls, target) if single else (*controls, target), name)
        if len(qubits) < 2:
            raise ValueError(f"Argument `controls` of {name!r} must name at least one qubit, but is empty.")
        return qubits


def _terms(observable: Observable) -> list[tuple[Term, Coefficient]]:
    """Terms and coefficients of a sum that is made of Pauli sums alone."""
    if isinstance(observable, PauliSum):
        return [(term, value.real) for term, value in observable.terms.items()]
    found = []
    for coefficient, operator in observable.parts:
        if not isinstance(operator, PauliSum):
            raise TypeError(
                f"Argument `observable` must be made of Pauli sums, but has a {type(operator).__name__} on "
                f"{len(operator.qubits)} qubits."
            )
        found += [(term, coefficient * value.real) for term, value in operator.terms.items()]
    return found
