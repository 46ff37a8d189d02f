"""`from_pennylane` and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.checks import require_one_of
from qjaxsim.common.extras import require

if TYPE_CHECKING:
    from pennylane import QNode
    from pennylane.tape import QuantumScript

PARAMETERS = ("constant", "trainable", "arguments")


@dataclass(frozen=True, eq=False)
class ImportedTape:
    """A tape in our form.

    Attributes:
        circuit: ours; qubit q is wire `wires[q]`.
        observables: of the tape's `qml.expval`, in their order.
        probabilities: qubits of the tape's `qml.probs`, in their order.
        params: values of the circuit's parameters, as our functions take them.
        wires: labels of the wires.

    >>> import pennylane as qml
    >>> import qjaxsim as qj
    >>> tape = qml.tape.QuantumScript([qml.H("a"), qml.CNOT(["a", "b"])], [qml.probs(wires=["b"])])
    >>> found = qj.from_pennylane(tape)
    >>> found.wires, found.probabilities
    (('a', 'b'), ((1,),))
    """

    circuit: Circuit
    observables: tuple[PauliSum, ...]
    probabilities: tuple[tuple[int, ...], ...]
    params: Mapping[str, np.ndarray]
    wires: tuple[Any, ...]


def from_pennylane(
    source: "QuantumScript | QNode",
    *args: Any,
    parameters: str = "constant",
    wire_order: Sequence[Any] | None = None,
    **kwargs: Any,
) -> ImportedTape:
    """A PennyLane tape or QNode in our form, ready for states, gradients, Hessians and `qj.to_torch`.

    Gates are taken over by class; adjoints and controls act on what their base becomes; all others are decomposed, or
    become their matrix where PennyLane has no decomposition. Global phases are kept. Identities, barriers, snapshots
    and wire cuts are left out, and a measurement with a postselected outcome becomes a projection. Channels become
    ours. Shots are ignored: values here are exact.

    Args:
        source: a `qml.tape.QuantumScript`, or a QNode, whose tape is made after the transforms that it was given.
        *args: of the QNode; example values where `parameters` is "arguments".
        parameters: "constant", every number stays as it is; "trainable", the trainable numbers among the tape's angles
            and strengths of channels become entries of one parameter "params" of shape (P,), in their order (of an
            imaginary coefficient of `qml.exp` the imaginary part); "arguments", those given to the QNode that are
            floats or arrays of floats become parameters of their names and shapes.
        wire_order: label of the wire that each qubit is; default the device's order, or 0, 1, ... where these are the
            labels, or the order in which the tape uses them. Wires that nothing uses are left out, unless the tape asks
            for the state or for probabilities of all wires, or they are named here.
        **kwargs: of the QNode.

    Returns:
        The circuit, what is measured, and the values of the parameters.

    Raises:
        MissingExtraError: without PennyLane.
        TypeError: for anything but a tape or QNode, and for arguments of a tape.
        ValueError: for what no circuit is imported with, naming the operation: free mid-circuit measurements and what
            depends on them, batches of parameters; for other measurements than `qml.expval` (also of deferred
            measurements), `qml.probs` of wires and `qml.state`; for angles that cannot be written as expressions of the
            parameters, and matrices or numbers of gates and observables that depend on them; for wires that are missing
            in `wire_order`.

    Cost: some tenths of a millisecond a gate, and several times as much with parameters. The QNode's function is called
    at other places then, near the example and all over the range of angles, to see that neither gates nor observables
    depend on the values.

    >>> import pennylane as qml
    >>> import qjaxsim as qj
    >>> @qml.qnode(qml.device("default.qubit"))
    ... def model(x, weights):
    ...     qml.AngleEmbedding(x, wires=range(2))
    ...     qml.BasicEntanglerLayers(weights, wires=range(2))
    ...     return qml.expval(qml.Z(0) @ qml.Z(1))
    >>> found = qj.from_pennylane(model, np.array([0.1, 0.2]), np.array([[0.3, 0.4]]), parameters="arguments")
    >>> found.circuit.parameters
    {'x': (2,), 'weights': (1, 2)}
    >>> print(*found.observables)
    1 Z0 Z1
    """
    require("pennylane", "PennyLane's circuits need the package pennylane", "pennylane")
    require_one_of("parameters", parameters, PARAMETERS)
    from qjaxsim_pennylane import sources
    from qjaxsim_pennylane.circuits import circuit_of
    from qjaxsim_pennylane.observables import read_measurements, require_same

    tape = sources.tape_of(source, args, kwargs)
    qubits = {wire: qubit for qubit, wire in enumerate(sources.wires_of(source, tape, wire_order))}
    numbers = sources.numbers_of(source, tape, args, kwargs, parameters)
    circuit = circuit_of(numbers, qubits)
    params = {name: numbers.values[name] for name in circuit.parameters}
    measured = read_measurements(tape, qubits)
    if parameters == "arguments":
        require_same(measured, numbers, qubits)
    return ImportedTape(circuit, *measured, params, tuple(qubits))
