"""Gates that circuits write as several of the table's: with many controls, and evolution under a Hamiltonian."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Self

from qjaxsim.circuits.expressions import Angle, as_expression


class CompositeGates:
    """The methods of a circuit that add several gates at once."""

    def append(self, name: str, qubits: Any, angles: Sequence[Angle] = ()) -> Self:
        """Add a gate of the table; see `Circuit`."""
        raise NotImplementedError

    def check_qubits(self, qubits: Any, what: str) -> tuple[int, ...]:
        """One qubit or several as a tuple; see `Circuit`."""
        raise NotImplementedError

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

    def _controlled(self, name: str, controls: Any, target: Any) -> tuple[int, ...]:
        """Controls and target, all different."""
        single = not isinstance(controls, Iterable)
        qubits = self.check_qubits((controls, target) if single else (*controls, target), name)
        if len(qubits) < 2:
            raise ValueError(f"Argument `controls` of {name!r} must name at least one qubit, but is empty.")
        return qubits
