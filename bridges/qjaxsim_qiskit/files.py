"""Circuits in files: OpenQASM 2 and 3 as text, QPY."""

import io
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qjaxsim import files
from qjaxsim.circuit import Circuit
from qjaxsim_qiskit.exporting import assignment, name_and_index, to_qiskit
from qjaxsim_qiskit.importing import ImportedCircuit, from_qiskit, require_width

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# The gates of qelib1.inc as the paper on OpenQASM 2 has it (arXiv:1707.03429), and of stdgates.inc.
_COMMON = (
    "id",
    "x",
    "y",
    "z",
    "h",
    "s",
    "sdg",
    "t",
    "tdg",
    "rx",
    "ry",
    "rz",
    "u1",
    "u2",
    "u3",
    "cx",
    "cy",
    "cz",
    "ch",
    "ccx",
    "crz",
)
_GATES = {2: (*_COMMON, "cu1", "cu3"), 3: (*_COMMON, "p", "sx", "cp", "crx", "cry", "swap", "cswap", "cu")}
_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_HEADER = re.compile(r"\s*OPENQASM\s+(\d+)(?:\.\d+)?\s*;")
_REGISTERS = re.compile(r"\b(?:qreg\s+\w+\s*\[\s*(\d+)\s*\]|qubit\s*\[\s*(\d+)\s*\]|qubit\s+\w)")


def from_qasm(source: str | Path) -> ImportedCircuit:
    """The circuit of an OpenQASM 2 or 3 program.

    OpenQASM 2 programs may use all gates of Qiskit's standard table, whether `qelib1.inc` has them or not; a gate that
    the program defines itself is taken as it defines it. In OpenQASM 3 every `input float` is a parameter.

    Args:
        source: the program, or the path of a file: a `Path`, or a string without line break and semicolon.

    Raises:
        ValueError: for a program that does not parse, naming the line, or whose header names no known version; else as
            `from_qiskit`.
        FileNotFoundError: if there is no such file.
        MemoryError: if no state of its width fits, before any qubit is made.
    """
    named = isinstance(source, Path) or not re.search(r"[\n;]", source)
    text = Path(source).read_text(encoding="utf-8") if named else str(source)
    what = f"OpenQASM file {str(source)!r}" if named else "the OpenQASM program"
    code = _COMMENTS.sub(" ", text)
    header = _HEADER.match(code)
    if header is None or header[1] not in ("2", "3"):
        raise ValueError(f"Argument `source` must begin with OPENQASM 2.0; or OPENQASM 3.0;, but {what} does not.")
    # Before a reader makes an object of every qubit.
    require_width(sum(int(match[1] or match[2] or 1) for match in _REGISTERS.finditer(code)))
    return from_qiskit(_parsed(text, header[1], code, what))


def from_qpy(path: str | Path, index: int = 0) -> ImportedCircuit:
    """One circuit of a QPY file, the only format that keeps everything.

    Args:
        path: the file. Qiskit's reader does not run code from it.
        index: which of its circuits.

    Raises:
        ValueError: for a file that is not QPY or has fewer circuits; else as `from_qiskit`.
        FileNotFoundError: if there is no such file.
    """
    from qiskit import qpy
    from qiskit.exceptions import QiskitError

    with Path(path).open("rb") as file:
        try:
            circuits = qpy.load(file)
        except (QiskitError, ValueError, EOFError, IndexError, struct.error) as error:
            raise ValueError(
                f"Argument `path` must name a QPY file, but {str(path)!r} is none: {_plain(str(error))}"
            ) from error
    if not 0 <= index < len(circuits):
        raise ValueError(f"Argument `index` must be below the file's {len(circuits)} circuits, but is {index}.")
    return from_qiskit(circuits[index])


def to_qasm(circuit: Circuit, *, version: int = 3, params: Mapping[str, Any] | None = None) -> str:
    """The circuit as an OpenQASM program in gates of the version's standard include, which every reader knows.

    Args:
        circuit: ours, without projections.
        version: 2 or 3.
        params: values, without batch axes, to put in for the parameters. Without them version 3 writes an
            `input float` for every element, named `NAME_INDEX` with the row-major index; version 2 has no parameters.

    Raises:
        ValueError: for another version, free parameters in version 2, or what `to_qiskit` refuses.

    Warns:
        UserWarning: if version 2 loses a global phase; version 3 writes it as `gphase`.
    """
    from qiskit import qasm2, qasm3, transpile

    if version not in _GATES:
        raise ValueError(f"Argument `version` must be 2 or 3, but is {version!r}.")
    exported = to_qiskit(circuit)
    if params is not None:
        exported = exported.assign_parameters(assignment(exported, params))
    if exported.parameters and version == 2:
        raise ValueError(
            f"OpenQASM 2 has no parameters, but the circuit has {', '.join(circuit.parameters)}; give `params`, or use "
            "version 3."
        )
    lowered = transpile(exported, basis_gates=list(_GATES[version]), optimization_level=0)
    if version == 2:
        if lowered.global_phase:
            text = f"OpenQASM 2 loses the circuit's global phase {lowered.global_phase}; version 3 and QPY keep it."
            warnings.warn(text, stacklevel=2)
        return str(qasm2.dumps(lowered))
    named = _with_plain_names(lowered)
    phase = named.global_phase
    # Qiskit's writer leaves the phase out, its reader understands it.
    return str(qasm3.dumps(named)) + (f"gphase({phase});\n" if phase != 0 else "")


def to_qpy(circuit: Circuit, path: str | Path) -> Path:
    """The path, now holding the circuit as QPY: parameters, expressions, shapes and global phase included.

    Raises:
        ValueError: for what `to_qiskit` refuses.
        OSError: if the file cannot be written.
    """
    from qiskit import qpy

    content = io.BytesIO()
    qpy.dump(to_qiskit(circuit), content)
    return files.write_bytes(path, content.getvalue())


# --- reading -----------------------------------------------------------------------------------------------------


def _parsed(text: str, version: str, code: str, what: str) -> "QuantumCircuit":
    from qiskit import qasm2, qasm3
    from qiskit.exceptions import QiskitError

    try:
        if version == "2":
            return qasm2.loads(text, custom_instructions=tuple(_known_gates(code)))
        return qasm3.loads(text)
    except ImportError as error:
        raise ImportError(
            "OpenQASM 3 needs qiskit-qasm3-import; install it with: pip install 'qjaxsim[qiskit]'"
        ) from error
    except QiskitError as error:
        raise ValueError(f"{what[0].upper()}{what[1:]} cannot be read: {error.message}") from error
    except Exception as error:  # the parser of OpenQASM 3 has errors of its own, without a message
        if type(error).__name__ != "QASM3ParsingError":
            raise
        token = getattr(next(iter(error.__cause__.args), None) if error.__cause__ else None, "offendingToken", None)
        place = "" if token is None else f" (line {token.line}, at {token.text!r})"
        raise ValueError(f"{what[0].upper()}{what[1:]} cannot be read: it does not parse{place}.") from error


def _known_gates(code: str) -> Iterator[Any]:
    """The standard gates that a program uses without defining them; others might have names of its registers."""
    from qiskit import qasm2
    from qiskit.circuit.library import get_standard_gate_name_mapping

    wanted = set(re.findall(r"\w+", code)) - set(re.findall(r"\b(?:gate|opaque|qreg|creg)\s+(\w+)", code))
    # Gates of the include file must be given as they are there, used or not.
    legacy = [one for one in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if not one.builtin or one.name in wanted]
    yield from legacy
    for name in sorted(wanted - {one.name for one in legacy}):
        gate = get_standard_gate_name_mapping().get(name)
        if gate is not None and gate.num_qubits and hasattr(gate, "to_matrix"):
            yield qasm2.CustomInstruction(name, len(gate.params), gate.num_qubits, gate.base_class, builtin=True)


def _plain(message: str) -> str:
    """A message without the escape codes and frames of its making."""
    return re.sub(r"\x1b\[\d+m", "", message).split("Backtrace")[-1].strip(' "╺━┅\n')


# --- writing -----------------------------------------------------------------------------------------------------
def _with_plain_names(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with single parameters NAME_INDEX for elements of vectors, whose brackets OpenQASM does not allow."""
    from qiskit.circuit import Parameter

    taken = {parameter.name for parameter in circuit.parameters}
    plain = {}
    for parameter in circuit.parameters:
        name, index = name_and_index(parameter)
        if index is not None:
            new = f"{name}_{index}"
            if new in taken:
                raise ValueError(f"Parameter {name!r} needs the name {new!r} for an element, which another one has.")
            plain[parameter] = Parameter(new)
    return circuit.assign_parameters(plain)
