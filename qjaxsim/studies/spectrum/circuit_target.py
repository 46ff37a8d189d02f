"""A problem from a circuit: one observable, or samples of a table and a loss."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.library import angle_encoding, zz_feature_map
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.common.checkpoint import digest
from qjaxsim.datasets.table import Table, load_table
from qjaxsim.learning.building import default_observables
from qjaxsim.models.circuit_model import CircuitModel, input_names
from qjaxsim.models.losses import cross_entropy, squared_error
from qjaxsim.running.simulate import expectation
from qjaxsim.studies.spectrum.settings import SpectrumSettings
from qjaxsim.studies.spectrum.target import Target

_ENCODINGS: dict[str, Callable[..., Circuit]] = {"angle": angle_encoding, "zz": zz_feature_map}
# Name of the features of an encoding.
_FEATURES = "features"


def target_of_circuit(
    path: Path,
    circuit: Circuit,
    observables: Sequence[PauliSum] | None,
    settings: SpectrumSettings,
    start: Mapping[str, np.ndarray] | None,
) -> Target:
    """The problem of a circuit that a file held.

    Args:
        path: the file.
        circuit: what it held.
        observables: the function itself, or with data one for each output; None for Z on a qubit for each class.
        settings: of the study.
        start: parameters to begin with; None for random ones.

    Raises:
        ValueError: for a circuit without parameters, or observables, inputs and features that do not fit it.
    """
    if not circuit.parameters:
        raise ValueError(f"Argument TARGET must be a circuit with free parameters, but {path.name} has none.")
    identity = {"target": path.name, "target_sha256": _sha256(path)}
    if start is not None:
        identity["params_sha256"] = digest(start)
    if settings.data is None:
        if observables is None or len(observables) != 1:
            raise ValueError(
                f"Argument `observable` must be one without `data`, the function itself, but there are "
                f"{len(observables or ())}; add them up."
            )
        function = expectation(circuit, observables[0])
        first = _start(circuit.parameters, start, settings.dtype)
        return Target(path.name, function, first, identity, random=start is None)
    table = load_table(settings.data, str(settings.label), settings.features or None)
    if table.classes is not None and len(table.classes) < 2:
        raise ValueError(
            f"Argument `label` must name a column of at least two classes, but {settings.label!r} of "
            f"{Path(settings.data).name} holds one class alone, {table.classes[0]!r}."
        )
    model = _model(circuit, table, observables, settings)
    given = None if start is None else {name: start[name] for name in model.weights}
    return Target(
        name=path.name,
        function=model.outputs,
        start=_start(model.weights, given, settings.dtype),
        identity=identity | {"data_sha256": _sha256(Path(settings.data))},
        data=(_scaled(table.x, settings).astype(settings.dtype), _targets(table, settings.dtype)),
        loss=squared_error if table.classes is None else cross_entropy,
        random=given is None,
    )


def brought(circuit: Circuit, settings: SpectrumSettings) -> tuple[str, ...]:
    """The circuit's own parameters that samples bring; none where an encoding stands in front.

    Raises:
        ValueError: for names that the circuit lacks, or one twice.
    """
    inputs = settings.inputs
    return input_names(circuit, inputs[0] if len(inputs) == 1 else inputs) if inputs else ()


def _model(
    circuit: Circuit, table: Table, observables: Sequence[PauliSum] | None, settings: SpectrumSettings
) -> CircuitModel:
    """The circuit as a model of the table: its own inputs, or an encoding in front."""
    inputs = brought(circuit, settings)
    if inputs:
        if not set(circuit.parameters) - set(inputs):
            raise ValueError(
                f"Argument `inputs` must leave parameters of the circuit to train, but takes all, {', '.join(inputs)}; "
                f"leave it out for an encoding in front, or add rotations with parameters of their own."
            )
    else:
        if table.x.shape[1] > circuit.n_qubits:
            raise ValueError(
                f"Argument `data` must bring at most as many features as TARGET has qubits, {circuit.n_qubits}, since "
                f"the encoding in front takes one for each, but brings {table.x.shape[1]} ({', '.join(table.names)}); "
                "choose with `features`, or take a wider circuit."
            )
        if _FEATURES in circuit.parameters:
            raise ValueError(
                f"Argument TARGET must not have a parameter {_FEATURES!r}, which the encoding in front calls its own; "
                f"give it as `inputs` if samples bring it, or rename it."
            )
        encoding = _ENCODINGS[settings.encoding or "angle"]
        features = encoding(table.x.shape[1], n_qubits=circuit.n_qubits, name=_FEATURES)
        circuit = features.compose(circuit)
    n_outputs = 1 if table.classes is None else len(table.classes)
    if observables is None:
        observables = _default_observables(n_outputs, circuit.n_qubits, settings)
    if len(observables) != n_outputs:
        what = "value" if table.classes is None else "class"
        raise ValueError(
            f"Argument `observable` must hold {n_outputs}, one for each {what} of {settings.label!r}, but holds "
            f"{len(observables)}."
        )
    model = CircuitModel(circuit, observables, inputs or _FEATURES, settings.scale)
    if model.n_features != table.x.shape[1]:
        raise ValueError(
            f"Argument `data` must bring a feature for each of the circuit's {model.n_features} inputs, but brings "
            f"{table.x.shape[1]} ({', '.join(table.names)}); choose with `features`."
        )
    return model


def _default_observables(n_outputs: int, n_qubits: int, settings: SpectrumSettings) -> list[PauliSum]:
    try:
        return default_observables(n_outputs, n_qubits)
    except ValueError as error:
        raise ValueError(
            f"Argument `observable` must be given for the {n_outputs} classes of {settings.label!r}, since a circuit "
            f"of {n_qubits} qubits has fewer by default; give one for each class, or a wider circuit."
        ) from error


def _scaled(x: np.ndarray, settings: SpectrumSettings) -> np.ndarray:
    """Features as angles: linearly to [0, pi] over the samples, or as they are."""
    if settings.scale_features == "none":
        return x
    low, high = x.min(axis=0), x.max(axis=0)
    return np.pi * (x - low) / np.where(high > low, high - low, 1.0)


def _targets(table: Table, dtype: str) -> np.ndarray:
    return table.y[:, None].astype(dtype) if table.classes is None else table.y


def _start(shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, np.ndarray] | None, dtype: str) -> Any:
    """From a seed to params: those given, or angles uniform in [-pi, pi)."""
    if given is not None:
        wrong = [name for name in shapes if np.shape(given[name]) != shapes[name]]
        if wrong:
            raise ValueError(
                f"Argument `params` must hold one value of {wrong[0]!r}, shape {shapes[wrong[0]]}, but holds shape "
                f"{np.shape(given[wrong[0]])}."
            )
        held = {name: jnp.asarray(given[name], dtype) for name in shapes}
        return lambda seed: held

    def drawn(seed: int) -> dict[str, jax.Array]:
        rng = np.random.default_rng(seed)
        return {name: jnp.asarray(rng.uniform(-np.pi, np.pi, shapes[name]), dtype) for name in sorted(shapes)}

    return drawn


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
