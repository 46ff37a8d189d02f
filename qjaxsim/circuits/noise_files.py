"""Noise models as plain data: what the command line reads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qjaxsim.circuits.channels import CHANNELS
from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.common import files
from qjaxsim.common.checks import require_one_of, shown

_RULE = {"gates", "channel", "strengths", "on", "except_on"}
_RELAXATION = {"t1", "t2", "qubits", "excited", "dt"}
_READOUT = {"one_for_zero", "zero_for_one", "qubits"}


def read_noise(path: Path) -> NoiseModel:
    """A noise model from a JSON file.

    The file holds an object with three lists, each of which may be missing: "after", of objects with "gates" (a name
    or several), "channel" and "strengths" (as `Circuit.append` takes them) and, where they do not follow everywhere,
    "on" or "except_on"; "relaxation", of objects with "t1", "t2" and perhaps "qubits", "excited" and "dt" (as
    `NoiseModel.relaxation` takes them); and "readout", of objects with "one_for_zero", "zero_for_one" and perhaps
    "qubits".

    Raises:
        ValueError: for a file that is none of the kind, naming the entry.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=files.named_once)
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"Argument `noise` must name a JSON file, but {path} cannot be read as one: {why}.") from error
    if isinstance(data, Mapping) and isinstance(data.get("errors"), list):
        raise ValueError(
            f"Argument `noise` must name a file with the lists 'after', 'relaxation' and 'readout', but {path} holds a "
            "noise model of Aer's; give that in Python, `qjaxsim_qiskit.crosscheck(circuit, noise=model)`."
        )
    try:
        return noise_model(data)
    except ValueError as error:
        raise ValueError(f"Argument `noise` must name a file of a noise model, but {path} is none: {error}") from error


def noise_model(data: Any) -> NoiseModel:
    """A noise model from plain data.

    >>> noise_model({"after": [{"gates": "cx", "channel": "depolarizing2", "strengths": [0.01]}]})
    <NoiseModel: 1 rules, after cx>
    """
    _require_keys("A noise model", data, {"after", "relaxation", "readout"}, set())
    model = NoiseModel()
    for number, rule in enumerate(_list(data, "after")):
        _require_keys(f"Entry {number} of 'after'", rule, _RULE, {"gates", "channel", "strengths"})
        require_one_of("channel", rule["channel"], CHANNELS)
        width = CHANNELS[rule["channel"]].n_qubits
        noise = Circuit(width).append(rule["channel"], range(width), rule["strengths"])
        places = {name: _places(rule[name]) for name in ("on", "except_on") if name in rule}
        model.after(rule["gates"], noise, **places)
    for number, entry in enumerate(_list(data, "relaxation")):
        _require_keys(f"Entry {number} of 'relaxation'", entry, _RELAXATION, {"t1", "t2"})
        model.relaxation(**entry)
    for number, entry in enumerate(_list(data, "readout")):
        _require_keys(f"Entry {number} of 'readout'", entry, _READOUT, {"one_for_zero", "zero_for_one"})
        model.readout_error(entry["one_for_zero"], entry["zero_for_one"], entry.get("qubits"))
    return model


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    found = data.get(name, [])
    if not isinstance(found, list):
        raise ValueError(f"Key {name!r} of a noise model must be a list, but is {shown(found)}.")
    return found


def _places(given: Any) -> Any:
    """JSON has lists only: those of numbers are tuples of qubits."""
    if isinstance(given, list):
        return [tuple(place) if isinstance(place, list) else place for place in given]
    return given


def _require_keys(what: str, data: Any, known: set[str], needed: set[str]) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{what} must be an object with the keys {sorted(known)}, but is {shown(data)}.")
    if unknown := sorted(data.keys() - known):
        raise ValueError(f"{what} has the keys {unknown}, but knows {sorted(known)}.")
    if missing := sorted(needed - data.keys()):
        raise ValueError(f"{what} lacks {missing}.")
