"""From the names or circuits that an estimator is given to the circuit and the observables of its model."""

import itertools
from collections.abc import Callable, Sequence

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.library import (
    angle_encoding,
    data_reuploading,
    efficient_su2,
    real_amplitudes,
    zz_feature_map,
)
from qjaxsim.circuits.observables import PauliSum, Z
from qjaxsim.common.checks import positive_integer, require_one_of
from qjaxsim.models.circuit_model import input_names

FEATURE_MAPS: dict[str, Callable[..., Circuit]] = {"angle": angle_encoding, "zz": zz_feature_map}
ANSATZES: dict[str, Callable[..., Circuit]] = {"real_amplitudes": real_amplitudes, "efficient_su2": efficient_su2}
_NAMED = {"feature_map": FEATURE_MAPS, "ansatz": ANSATZES}

Inputs = str | Sequence[str]


def build_circuit(
    feature_map: str | Circuit,
    ansatz: str | Circuit | None,
    n_features: int,
    *,
    n_outputs: int,
    n_qubits: int | None,
    layers: int,
    reuploads: int,
    inputs: Inputs,
) -> Circuit:
    """Encoding and trainable layers, in turn where data are uploaded several times.

    Args:
        feature_map: a name, or a circuit with the parameters that features enter, and any others.
        ansatz: a name, a circuit, or None where the feature map has what is trained.
        n_features: columns of the data.
        n_outputs: as many as the default observables must tell apart, for the default width.
        n_qubits: width; None for that of a circuit given, else the least that holds features and outputs.
        layers: of an ansatz by name.
        reuploads: times that encoding and ansatz are run.
        inputs: names of the parameters that features enter, as `CircuitModel` takes them.

    Raises:
        TypeError: for anything but names and circuits.
        ValueError: naming the argument, for unknown names, and widths or features that do not fit.
    """
    width = _width(feature_map, ansatz, n_features, n_outputs, n_qubits)
    if isinstance(feature_map, str):
        name = inputs if isinstance(inputs, str) else "x"
        encoding = FEATURE_MAPS[feature_map](n_features, n_qubits=width, name=name)
    else:
        encoding = feature_map
    if isinstance(ansatz, str):
        trainable = ANSATZES[ansatz](encoding.n_qubits, layers)
    else:
        trainable = Circuit(encoding.n_qubits) if ansatz is None else ansatz
    shared = input_names(encoding, inputs)
    if positive_integer("reuploads", reuploads) > 1:
        return data_reuploading(encoding, trainable, reuploads, shared=shared)
    return encoding.copy().compose(trainable)


def _width(
    feature_map: str | Circuit, ansatz: str | Circuit | None, n_features: int, n_outputs: int, n_qubits: int | None
) -> int:
    """Qubits: as asked for, as a circuit has, or as features and outputs need; the arguments are checked here."""
    widths = {} if n_qubits is None else {"n_qubits": positive_integer("n_qubits", n_qubits)}
    chosen = {"feature_map": feature_map} if ansatz is None else {"feature_map": feature_map, "ansatz": ansatz}
    for name, given in chosen.items():
        if isinstance(given, str):
            require_one_of(name, given, _NAMED[name], " or a Circuit")
        else:
            require_circuit(name, given)
            widths[name] = given.n_qubits
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ValueError(f"Circuits and `n_qubits` must have one width, but have {told} qubits.")
    for name, width in widths.items():
        if isinstance(feature_map, str) and width < n_features:
            raise ValueError(
                f"Argument `{name}` must bring a qubit for each of {n_features} features, but brings {width}; reduce "
                "the features (by PCA, say) or use more qubits."
            )
        return width
    least = next(n for n in itertools.count(1) if n * (n + 1) // 2 >= n_outputs)
    return max(n_features, least)


def default_observables(n_outputs: int, n_qubits: int) -> list[PauliSum]:
    """One for each output: Z of the qubits in turn, then their products in pairs; for one output the mean of all Z.

    Raises:
        ValueError: if there are fewer.

    >>> [str(each) for each in default_observables(4, 3)], str(default_observables(1, 2)[0])
    (['1 Z0', '1 Z1', '1 Z2', '1 Z0 Z1'], '0.5 Z0 + 0.5 Z1')
    """
    every = [Z(qubit) for qubit in range(n_qubits)]
    if n_outputs == 1:
        return [sum(every[1:], every[0]) / n_qubits]
    found = every + [a @ b for a, b in itertools.combinations(every, 2)]
    if len(found) < n_outputs:
        raise ValueError(
            f"Argument `n_qubits` must give an observable to each of {n_outputs} outputs, but {n_qubits} qubits have "
            f"{len(found)} by default; use more qubits or give `observables`."
        )
    return found[:n_outputs]
