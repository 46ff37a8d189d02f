"""Circuits that users begin with: encodings of features, layers to train, and both in turn.

Encodings take their features from one array parameter ("x"), layers their angles from another ("weights"). Names,
defaults and conventions are those of Qiskit's circuit library where it has the circuit.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.expressions import Element, Expression, Parameter
from qjaxsim.circuits.operations import Channel, Gate, Operation, Repeat
from qjaxsim.common.checks import integer_from, positive_integer, require_one_of, shown

ROTATIONS = ("rx", "ry", "rz")
ENTANGLEMENTS = ("full", "linear", "reverse_linear", "circular")
Entanglement = str | Iterable[tuple[int, int]]


def angle_encoding(n_features: int, *, rotation: str = "ry", n_qubits: int | None = None, name: str = "x") -> Circuit:
    """One rotation a feature, feature i on qubit i.

    Args:
        n_features: F; features are angles in radians.
        rotation: "rx", "ry" or "rz"; the last changes nothing on |0>, but does after other layers.
        n_qubits: width, at least F; default F.
        name: of the parameter, shape (F,).

    Raises:
        ValueError: naming the argument, for sizes out of range or an unknown rotation.

    >>> print(angle_encoding(2))
    q0: ─RY(x[0])──
    <BLANKLINE>
    q1: ─RY(x[1])──
    """
    require_one_of("rotation", rotation, ROTATIONS)
    circuit, x = _empty(n_features, n_qubits, name)
    for qubit in range(len(x)):
        circuit.append(rotation, qubit, [x[qubit]])
    return circuit


def zz_feature_map(
    n_features: int,
    *,
    repetitions: int = 2,
    entanglement: Entanglement = "full",
    n_qubits: int | None = None,
    name: str = "x",
) -> Circuit:
    """The second-order encoding of Havlicek et al. (arXiv:1804.11326), equal to Qiskit's `zz_feature_map`.

    Each repetition is H on every qubit, the phase 2 x_i on qubit i, and for every pair the phase
    2 (pi - x_i)(pi - x_j) between two CNOTs.

    Args:
        n_features: F.
        repetitions: at least 1.
        entanglement: the pairs, "full", "linear", "reverse_linear" or "circular" as in Qiskit, or pairs of qubits.
        n_qubits: width, at least F; default F. Qubits without a feature are left alone.
        name: of the parameter, shape (F,).

    Raises:
        ValueError: naming the argument, for sizes out of range, an unknown entanglement or pairs that do not fit.

    >>> circuit = zz_feature_map(3, repetitions=1, entanglement="linear")
    >>> circuit.count_ops(), circuit.parameters
    ({'p': 5, 'cx': 4, 'h': 3}, {'x': (3,)})
    """
    circuit, x = _empty(n_features, n_qubits, name)
    pairs = entangled_pairs(len(x), entanglement)
    for _ in range(positive_integer("repetitions", repetitions)):
        for qubit in range(len(x)):
            circuit.h(qubit).p(2 * x[qubit], qubit)
        for i, j in pairs:
            circuit.cx(i, j).p(2 * (math.pi - x[i]) * (math.pi - x[j]), j).cx(i, j)
    return circuit


def real_amplitudes(
    n_qubits: int, layers: int = 3, *, entanglement: Entanglement = "reverse_linear", name: str = "weights"
) -> Circuit:
    """RY on every qubit, then `layers` times CNOTs and RY on every qubit: states of real amplitudes stay real.

    Equal to Qiskit's `real_amplitudes`, with its angles in row-major order.

    Args:
        n_qubits: width n.
        layers: 0 for the first rotations alone.
        entanglement: pairs (control, target) of the CNOTs in time order, by name or as pairs; see `zz_feature_map`.
        name: of the parameter, shape (layers + 1, n).

    Raises:
        ValueError: naming the argument, for sizes out of range, an unknown entanglement or pairs that do not fit.

    >>> real_amplitudes(3, 2).parameters, real_amplitudes(3, 2).count_ops()
    ({'weights': (3, 3)}, {'ry': 9, 'cx': 4})
    """
    return _rotations_and_pairs(n_qubits, layers, ("ry",), entanglement, name)


def efficient_su2(
    n_qubits: int, layers: int = 3, *, entanglement: Entanglement = "reverse_linear", name: str = "weights"
) -> Circuit:
    """RY, then RZ on every qubit, then `layers` times CNOTs and such rotations: hardware-efficient, all of SU(2).

    Equal to Qiskit's `efficient_su2`, with its angles in row-major order.

    Args:
        n_qubits: width n.
        layers: 0 for the first rotations alone.
        entanglement: pairs (control, target) of the CNOTs in time order, by name or as pairs; see `zz_feature_map`.
        name: of the parameter, shape (layers + 1, 2, n).

    Raises:
        ValueError: naming the argument, for sizes out of range, an unknown entanglement or pairs that do not fit.

    >>> efficient_su2(3, 2).parameters, efficient_su2(3, 2).count_ops()
    ({'weights': (3, 2, 3)}, {'ry': 9, 'rz': 9, 'cx': 4})
    """
    return _rotations_and_pairs(n_qubits, layers, ("ry", "rz"), entanglement, name)


def data_reuploading(
    encoding: Circuit, trainable: Circuit, times: int, *, shared: Iterable[str] | None = None
) -> Circuit:
    """An encoding and a trainable circuit in turn (arXiv:1907.02085): the same data, other weights each time.

    The circuit is written out, layer after layer, so that curvature can be found stage by stage.

    Args:
        encoding: brings the data.
        trainable: of the same width.
        times: how often, at least 1.
        shared: names of the parameters that all layers share; default those of the encoding. Every other parameter
            gains a leading axis of length `times`.

    Raises:
        TypeError: for anything but circuits.
        ValueError: naming the argument, for other widths, names that are not there, or a repeated layer in either.

    >>> circuit = data_reuploading(angle_encoding(3), real_amplitudes(3, 1), 4)
    >>> circuit.parameters
    {'x': (3,), 'weights': (4, 2, 3)}
    """
    require_circuit("encoding", encoding)
    require_circuit("trainable", trainable)
    if encoding.n_qubits != trainable.n_qubits:
        raise ValueError(
            f"Argument `trainable` must have {encoding.n_qubits} qubits like the encoding, but has "
            f"{trainable.n_qubits}."
        )
    layer = encoding.copy().compose(trainable)
    names = encoding.parameters.keys() if shared is None else {shared} if isinstance(shared, str) else set(shared)
    if unknown := names - layer.parameters.keys():
        raise ValueError(f"Argument `shared` names {sorted(unknown)}, but the layer has {sorted(layer.parameters)}.")
    count = positive_integer("times", times)
    own = frozenset(layer.parameters.keys() - names)
    circuit = Circuit(layer.n_qubits)
    for position in range(count):
        circuit.extend(_at_layer(operation, own, position, count) for operation in layer.operations)
    return circuit


def entangled_pairs(n_qubits: int, entanglement: Entanglement) -> list[tuple[int, int]]:
    """Pairs of qubits by name or as they are given, in time order.

    Raises:
        ValueError: for an unknown name, or pairs that are none of this width.

    >>> [entangled_pairs(3, name) for name in ("full", "reverse_linear", "circular")]
    [[(0, 1), (0, 2), (1, 2)], [(1, 2), (0, 1)], [(2, 0), (0, 1), (1, 2)]]
    """
    if not isinstance(entanglement, str):
        return [_pair(n_qubits, pair) for pair in entanglement]
    require_one_of("entanglement", entanglement, ENTANGLEMENTS, " or pairs of qubits")
    if entanglement == "full":
        return list(itertools.combinations(range(n_qubits), 2))
    chain = [(qubit, qubit + 1) for qubit in range(n_qubits - 1)]
    closing = [(n_qubits - 1, 0)] if entanglement == "circular" and n_qubits > 2 else []
    return chain[::-1] if entanglement == "reverse_linear" else closing + chain


def _pair(n_qubits: int, pair: Any) -> tuple[int, int]:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"Argument `entanglement` must hold pairs of qubits, but holds {shown(pair)}.")
    first, second = Circuit(n_qubits).check_qubits(pair, "entanglement")
    return first, second


def _empty(n_features: int, n_qubits: int | None, name: str) -> tuple[Circuit, Parameter]:
    """An empty circuit for features, and the parameter that holds them."""
    count = positive_integer("n_features", n_features)
    width = count if n_qubits is None else positive_integer("n_qubits", n_qubits)
    if width < count:
        raise ValueError(
            f"Argument `n_qubits` must be at least the number of features, {count}, but is {width}; reduce the "
            "features (by PCA, say) or use more qubits."
        )
    return Circuit(width), Parameter(name, (count,))


def _rotations_and_pairs(
    n_qubits: int, layers: int, rotations: Sequence[str], entanglement: Entanglement, name: str
) -> Circuit:
    """Layers of rotations, CNOTs between them; angles (layers + 1, n), or (layers + 1, rotations, n) for several."""
    circuit, count = Circuit(n_qubits), integer_from(0, "layers", layers)
    n_qubits = circuit.n_qubits
    pairs = entangled_pairs(n_qubits, entanglement)
    single = len(rotations) == 1
    angles = Parameter(name, (count + 1, n_qubits) if single else (count + 1, len(rotations), n_qubits))
    for layer in range(count + 1):
        for control, target in pairs if layer else ():
            circuit.cx(control, target)
        for number, rotation in enumerate(rotations):
            for qubit in range(n_qubits):
                circuit.append(rotation, qubit, [angles[layer, qubit] if single else angles[layer, number, qubit]])
    return circuit


def _at_layer(operation: Operation, own: frozenset[str], position: int, times: int) -> Operation:
    """The operation with its own parameters taken from one layer's part of larger ones."""
    if isinstance(operation, Repeat):
        raise ValueError(
            "Arguments `encoding` and `trainable` must hold no repeated layer, but one does; write its layers out, or "
            "use `Circuit.repeat(layer, times, shared=...)` for the whole."
        )
    if not isinstance(operation, Gate | Channel):
        return operation
    angles = tuple(_angle_at_layer(angle, own, position, times) for angle in operation.angles)
    return replace(operation, angles=angles)


def _angle_at_layer(angle: Any, own: frozenset[str], position: int, times: int) -> Any:
    if isinstance(angle, Element):
        if angle.name not in own:
            return angle
        return Element(name=angle.name, shape=(times, *angle.shape), index=(position, *angle.index))
    if isinstance(angle, Expression):
        return Expression(angle.op, tuple(_angle_at_layer(arg, own, position, times) for arg in angle.args))
    return angle
