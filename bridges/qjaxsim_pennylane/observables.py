"""What a tape measures, as Pauli sums and qubits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, ProbabilityMP, StateMP

from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim_pennylane.sources import Numbers
from qjaxsim_pennylane.symbols import plain

# The matrix of a wider observable is not taken apart: it has 4**n Pauli words.
_MATRIX_QUBITS = 8


Measured = tuple[tuple[PauliSum, ...], tuple[tuple[int, ...], ...]]


def read_measurements(tape: Any, qubits: Mapping[Any, int]) -> Measured:
    """Pauli sums of a tape's expectation values and qubits of its probabilities, each in the order of the tape.

    Args:
        tape: PennyLane's.
        qubits: our qubit for each wire.

    Raises:
        ValueError: for anything but expectation values, probabilities of wires, and the state.
    """
    sums, chosen = [], []
    # What was measured on the way is on wires of its own at the end where it was deferred, and only there.
    deferred = not any(isinstance(each, qml.ops.MidMeasure) for each in tape.operations)
    for number, measurement in enumerate(tape.measurements):
        where = f"The tape's measurement {number}"
        at_end = measurement.mv is None or deferred
        if type(measurement) is ExpectationMP and at_end:
            observable = measurement.obs if measurement.mv is None else _of_outcomes(measurement)
            sums.append(_pauli_sum(observable, qubits, where))
        elif type(measurement) is ProbabilityMP and at_end and measurement.obs is None:
            wires = measurement.wires or qubits
            chosen.append(tuple(qubits[wire] for wire in wires))
        elif type(measurement) is not StateMP:
            raise ValueError(
                f"{where} ({measurement}) cannot be converted; use qml.expval of an observable or of deferred "
                "measurements, qml.probs of wires, or qml.state."
            )
    return pauli_sums(sums, len(qubits)) if sums else (), tuple(chosen)


def require_same(found: Measured, numbers: Numbers, qubits: Mapping[Any, int]) -> None:
    """Refuse measurements that depend on the numbers that become parameters.

    Args:
        found: what `read_measurements` gave for the example.
        numbers: the tape for other numbers.
        qubits: our qubit for each wire.

    Raises:
        ValueError: if they are others for other numbers.
    """
    for flat in numbers.places:
        with np.errstate(all="ignore"), qml.QueuingManager.stop_recording():
            try:
                tape = numbers.tape(numbers.split(flat))
            except Exception:  # anybody's code, such as a model that refuses negative numbers
                continue
        try:
            same = read_measurements(tape, qubits) == found
        except KeyError:  # a wire that the example does not use
            same = False
        if not same:
            raise ValueError(
                "The observables depend on the values of the parameters, which those of a circuit here do not; measure "
                'their terms apart and put them together outside, or use parameters="constant".'
            )


def _of_outcomes(measurement: Any) -> Any:
    """The observable of what is computed from measured bits."""
    return qml.Hermitian(np.diag(np.asarray(measurement.eigvals(), float)), measurement.wires)


def _pauli_sum(observable: Any, qubits: Mapping[Any, int], where: str) -> PauliSum:
    sentence = observable.pauli_rep
    if sentence is None:
        if not observable.has_matrix or len(observable.wires) > _MATRIX_QUBITS:
            raise ValueError(
                f"{where} ({observable.name}) has no Pauli words, and no matrix on {_MATRIX_QUBITS} wires or fewer; "
                "write it as a sum of Pauli words."
            )
        matrix = plain(observable.matrix(wire_order=observable.wires))
        sentence = qml.pauli_decompose(matrix, wire_order=observable.wires, pauli=True)
    return PauliSum(
        {
            tuple((qubits[wire], letter) for wire, letter in word.items()): complex(plain(c))
            for word, c in sentence.items()
        }
    )
