"""What commands on circuits read: circuit files, files of parameters, observables as text."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.common import files

if TYPE_CHECKING:
    from qjaxsim_qiskit import ImportedCircuit

    from qjaxsim.circuits.circuit import Circuit
    from qjaxsim.circuits.observables import PauliSum

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FACTORS = r"[XYZ]\d+(?:\s*[XYZ]\d+)*|[IXYZ]+"
# Sign, coefficient and factors; one of the latter two may be absent.
_TERM = re.compile(rf"\s*([+-])?\s*(?:({_NUMBER})(?![\d.])\s*\*?)?\s*({_FACTORS})?\s*(?=[+-]|$)")


def read_circuit(path: Path, *, evolution: str = "synthesis", qubits: str = "auto") -> "ImportedCircuit":
    """The circuit of an OpenQASM 2 or 3 program (.qasm, .qasm3) or of a QPY file (.qpy).

    Args:
        path: the file.
        evolution: "synthesis" or "exact", what evolutions are, as for `from_qiskit`.
        qubits: "auto", "all" or "used", as for `from_qiskit`.

    Raises:
        ImportError: if Qiskit is missing, naming the extra.
        ValueError: for another ending, or a file that cannot be imported.
        FileNotFoundError: if there is no such file.
    """
    if path.suffix not in (".qasm", ".qasm3", ".qpy"):
        raise ValueError(f"Argument `file` must end in .qasm, .qasm3 or .qpy, but is {str(path)!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"Argument `file` must be a file, but {str(path)!r} is none.")
    from qjaxsim_qiskit import from_qasm, from_qpy

    read = from_qpy if path.suffix == ".qpy" else from_qasm
    return read(path, evolution=evolution, qubits=qubits)


def read_params(
    path: Path | None, circuit: "Circuit", seed: int | None, brought: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Parameters of a circuit by name, float64, with whatever batch axes the file has.

    Args:
        path: option --params, an .npz or .json file that holds an array for every parameter; None draws them.
        circuit: whose parameters.
        seed: option --random-params, of values uniform in [-pi, pi); None is 0.
        brought: parameters that samples bring, which the file need not hold.

    Raises:
        ValueError: for another ending, a file that is not what its ending says, wrong names or shapes, or values that
            are no finite real numbers; for both, and for a seed where there is nothing to draw.
        FileNotFoundError: if there is no such file.
    """
    from qjaxsim.common.checks import integer_from
    from qjaxsim.running.batching import parse_params

    if path is not None and seed is not None:
        raise ValueError("Give either --params or --random-params.")
    if seed is not None and not circuit.n_parameters:
        raise ValueError("Option --random-params has an effect only on a circuit with parameters; leave it out.")
    if path is None:
        from qjaxsim_qiskit.crosschecking.crosscheck import random_params

        return random_params(circuit, integer_from(0, "random_params", seed or 0))
    if path.suffix not in (".npz", ".json"):
        raise ValueError(f"Option --params must name an .npz or .json file, but is {str(path)!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"Option --params must name a file, but {str(path)!r} is none.")
    raw = _read_npz(path) if path.suffix == ".npz" else _read_json(path)
    values = {name: _real(name, value, path) for name, value in raw.items()}
    needed = {name: shape for name, shape in circuit.parameters.items() if name in values or name not in brought}
    parse_params(values, needed)
    return values


def parse_observables(text: str | None, n_qubits: int) -> "list[PauliSum]":
    """Pauli sums from text such as "Z0, X0 X1 + 0.5 Z2, XIZ".

    Args:
        text: sums separated by commas. A term is an optional coefficient and Pauli letters with their qubits, a label
            of one letter a qubit (qubit 0 first; Qiskit's labels run the other way), or I alone. None or "" stands for
            Z on every qubit.
        n_qubits: width of the circuit.

    Raises:
        ValueError: for what is none of this, or qubits that the circuit does not have.

    >>> print(*parse_observables("Z0, 2*X0 Y2 - .5 ZIZ + 1", 3), sep="; ")
    1 Z0; 2 X0 Y2 - 0.5 Z0 Z2 + 1
    """
    from qjaxsim.circuits.observables import Z, pauli_sums

    if not text or not text.strip():
        return [Z(qubit) for qubit in range(n_qubits)]
    return list(pauli_sums([_sum(part, n_qubits) for part in text.split(",")], n_qubits))


def _sum(text: str, n_qubits: int) -> "PauliSum":
    from qjaxsim.circuits.observables import PauliSum

    total, place = PauliSum({}), 0
    while place < len(text) or place == 0:
        match = _TERM.match(text, place)
        # From the second term on a sign must stand between.
        if match is None or not (match[2] or match[3]) or (place and not match[1]):
            raise ValueError(
                f'Observables must look like "Z0, X0 X1 + 0.5 Z2", but {text.strip()!r} does not (from '
                f"{text[place:].strip()!r} on)."
            )
        coefficient = float(match[2] or 1) * (-1 if match[1] == "-" else 1)
        total += coefficient * _product(match[3] or "I", text, n_qubits)
        place = match.end()
    if not total.terms:
        raise ValueError(f"Observables must have a term that does not vanish, but one is {text.strip()!r}.")
    return total


def _product(factors: str, text: str, n_qubits: int) -> "PauliSum":
    from qjaxsim.circuits.observables import I, PauliSum

    if factors == "I":
        return I()
    if named := re.findall(r"([XYZ])(\d+)", factors):
        return PauliSum({tuple((int(qubit), letter) for letter, qubit in named): 1})
    if len(factors) != n_qubits:
        raise ValueError(
            f"A label of Pauli letters must have one for each of the circuit's {n_qubits} qubits, but {text.strip()!r} "
            f"has {factors!r}; name qubits as in Z0."
        )
    return PauliSum.from_label(factors)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it holds one array without a name, as `numpy.save` writes; use `numpy.savez`")
            return {name: file[name] for name in file.files}
    except (*files.UNREADABLE, OSError) as error:
        raise ValueError(
            f"Option --params must name an .npz file of plain numbers, but {str(path)!r} cannot be read: "
            f"{files.why_unreadable(error)}."
        ) from error


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=files.named_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Option --params must name a JSON file, but {str(path)!r} is none: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"A JSON file of parameters must hold an object, name to array, but {str(path)!r} does not.")
    return content


def _real(name: str, value: Any, path: Path) -> np.ndarray:
    """The value as float64, if it holds finite real numbers alone."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"Parameter {name!r} in {str(path)!r} makes no array: {error}") from error
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"Parameter {name!r} in {str(path)!r} must hold finite real numbers.")
    return array.astype(np.float64)
