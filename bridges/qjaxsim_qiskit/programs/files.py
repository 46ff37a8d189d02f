"""Circuits in files: OpenQASM 2 and 3 as text, QPY. `programs` reads the text, this module writes it."""

import cmath
import io
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Element, Expression
from qjaxsim.circuits.operations import Gate, Repeat
from qjaxsim.common import files
from qjaxsim.common.checks import as_integer, as_path, shown
from qjaxsim_qiskit.channels import has_channels
from qjaxsim_qiskit.exporting import assignment, name_and_index, to_qiskit
from qjaxsim_qiskit.importing.imported import ImportedCircuit, from_qiskit
from qjaxsim_qiskit.meaning.layouts import without_delays
from qjaxsim_qiskit.programs.text import GATES, WORDS, parse, read_text, require_bits

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# What Qiskit's reader of OpenQASM 3 understands of an input; others read no more.
_ARITHMETIC = ("element", "add", "sub", "mul", "div", "neg")
# The names that Qiskit's writer of OpenQASM 3 takes as they are.
_NAME = re.compile(r"[a-zA-Z_\u0370-\u03ff][\w\u0370-\u03ff]*", re.ASCII)


def from_qasm(source: str | Path, *, evolution: str = "synthesis", qubits: str = "auto") -> ImportedCircuit:
    """The circuit of an OpenQASM 2 or 3 program.

    OpenQASM 2 programs may use all gates of Qiskit's standard table, whether `qelib1.inc` has them or not; a gate that
    the program or a file that it includes defines is taken as defined there; `delay(n)` without a definition waits n
    units of a device. In OpenQASM 3 every `input float` is a
    parameter. Included files are looked for beside the program's file, then in the working directory.

    Args:
        source: the program, or the path of a file in UTF-8: a `Path`, or a string without line break and semicolon. A
            program without a header is read as the version whose words it uses.
        evolution: as for `from_qiskit`.
        qubits: as for `from_qiskit`.

    Raises:
        TypeError: for what is neither text nor a path.
        ValueError: for a program that cannot be read, naming the line, or whose header names no known version; for more
            than a million bits; else as `from_qiskit`.
        OSError: if there is no such file.
        MemoryError: if no state of its width fits, before any qubit is made.

    >>> import qjaxsim as qj
    >>> program = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0], q[1];'
    >>> from_qasm(program).circuit == qj.Circuit(2).h(0).cx(0, 1)
    True
    """
    if isinstance(source, str) and not source.strip():
        raise ValueError("Argument `source` must be a program or the path of a file, but is empty.")
    if isinstance(source, str) and re.search(r"[\n\r;]", source):
        text, what, folder = source, "the OpenQASM program", Path()
    else:
        path = _file("source", source)
        text, what, folder = read_text(path), f"OpenQASM file {str(path)!r}", path.parent
    circuit = parse(text, what, folder, every_qubit=qubits != "used")
    return from_qiskit(circuit, evolution=evolution, qubits=qubits)


def from_qpy(
    path: str | Path, index: int | None = None, *, evolution: str = "synthesis", qubits: str = "auto"
) -> ImportedCircuit:
    """One circuit of a QPY file, the only format that keeps everything but the units of delays.

    Qiskit writes no unit and reads units of a device: a whole number of nanoseconds becomes as many of these, a
    fraction is refused. Durations that are expressions, as `to_qpy` writes them, come back right.

    Args:
        path: the file. Files whose expressions are in symengine's form, as Qiskit 0.45 to 1.2 could write them, are
            refused: symengine unpickles what it reads, which may run code. Qiskit's own reader does not.
        index: which of its circuits; may be left out where there is one.
        evolution: as for `from_qiskit`.
        qubits: as for `from_qiskit`.

    Raises:
        ValueError: for a file that is not QPY or has fewer circuits; else as `from_qiskit`.
        OSError: if there is no such file.

    >>> import tempfile, qjaxsim as qj
    >>> from pathlib import Path
    >>> circuit = qj.Circuit(2).ry(qj.Parameter("w", (2, 3))[1, 2], 0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = from_qpy(to_qpy(circuit, Path(folder) / "circuit.qpy"))
    >>> found.circuit == circuit
    True
    """
    from qiskit import qpy
    from qiskit.exceptions import QiskitError

    content = _file("path", path).read_bytes()
    try:
        _check_qpy(content)
        circuits = qpy.load(io.BytesIO(content))
    except TypeError as error:  # of a gate that Qiskit writes without what it is made of
        raise ValueError(
            f"QPY file {str(path)!r} cannot be read, by Qiskit neither: {_plain(error)}; write the circuit taken "
            "apart, as `circuit.decompose()`."
        ) from error
    except (QiskitError, ValueError, EOFError, IndexError, struct.error) as error:
        raise ValueError(
            f"Argument `path` must name a QPY file, but {str(path)!r} cannot be read: {_plain(error)}"
        ) from error
    if index is None and len(circuits) > 1:
        raise ValueError(
            f"File {str(path)!r} holds {len(circuits)} circuits; say which (`index` of `from_qpy`), or write one alone."
        )
    place = as_integer(0 if index is None else index)
    if place is None or not 0 <= place < len(circuits):
        raise ValueError(f"Argument `index` must be below the file's {len(circuits)} circuits, but is {shown(index)}.")
    return from_qiskit(circuits[place], evolution=evolution, qubits=qubits)


def to_qasm(circuit: Circuit, *, version: int = 3, params: Mapping[str, Any] | None = None) -> str:
    """The circuit as an OpenQASM program in gates of the version's standard include, which every reader knows.

    Args:
        circuit: ours, without projections. Angles are written to 1e-12 in version 2 and exactly in version 3. Delays
            are left out; QPY keeps them, but for free ones in seconds.
        version: 2 or 3.
        params: values, without batch axes, to put in for the parameters. Without them version 3 writes an
            `input float` for every element, named `NAME_INDEX` with the row-major index; one of shape () keeps its
            name, but is `NAME_0` where OpenQASM has that word itself, as "x". Version 2 has no parameters.

    Raises:
        ValueError: for another version, free parameters and conditions in version 2, in version 3 parameters whose
            names are not made of letters, digits and underscores or that stand in more than + - * / (what readers
            understand); for batch axes; for channels; and for what `assignment` and `to_qiskit` refuse.

    Warns:
        UserWarning: if version 2 loses a global phase; version 3 writes it as `gphase`.

    >>> import qjaxsim as qj
    >>> print(to_qasm(qj.Circuit(2).h(0).cx(0, 1), version=2))
    OPENQASM 2.0;
    include "qelib1.inc";
    qreg q[2];
    h q[0];
    cx q[0],q[1];
    """
    from qiskit import qasm2, qasm3, transpile

    if version not in GATES:
        raise ValueError(f"Argument `version` must be 2 or 3, but is {version!r}.")
    exported = without_delays(to_qiskit(circuit))
    if has_channels(exported):
        raise ValueError("OpenQASM has no channels, but the circuit has some; use QPY, or write it without its noise.")
    if params is not None:
        exported = exported.assign_parameters(_numbers(exported, params))
    elif version == 3:
        _require_arithmetic(circuit)
    if exported.parameters and version == 2:
        raise ValueError(
            f"OpenQASM 2 has no parameters, but the circuit has {', '.join(circuit.parameters)}; give `params`, or use "
            "version 3."
        )
    lowered = transpile(exported, basis_gates=list(GATES[version]), optimization_level=0)
    if version == 2:
        if abs(cmath.exp(1j * lowered.global_phase) - 1) > 1e-12:
            text = f"OpenQASM 2 loses the circuit's global phase {lowered.global_phase}; version 3 and QPY keep it."
            warnings.warn(text, stacklevel=2)
        try:
            return str(qasm2.dumps(lowered))
        except qasm2.QASM2ExportError as error:
            raise ValueError(
                f"OpenQASM 2 cannot say what the circuit does: {_plain(error).rstrip('.')}; use version 3."
            ) from error
    named = _with_plain_names(lowered)
    phase = named.global_phase
    # Fractions of pi would be rounded to 1e-9. The writer leaves the phase out, the reader understands it.
    text = str(qasm3.dumps(named, disable_constants=True))
    return text + (f"gphase({phase});\n" if phase != 0 else "")


def to_qpy(circuit: Circuit, path: str | Path) -> Path:
    """The path, now holding the circuit as QPY: parameters, expressions, shapes and global phase included.

    Raises:
        ValueError: for what `to_qiskit` refuses, and a delay in seconds that is a free parameter.
        OSError: if the file cannot be written.

    >>> import tempfile, qjaxsim as qj
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = to_qpy(qj.Circuit(2).h(0).cx(0, 1), Path(folder) / "bell.qpy")
    ...     path.read_bytes()[:6]
    b'QISKIT'
    """
    from qiskit import qpy

    content = io.BytesIO()
    qpy.dump(_with_written_units(to_qiskit(circuit)), content)
    return files.write_bytes(path, content.getvalue())


def _file(name: str, value: Any) -> Path:
    """The file that an argument names.

    Raises:
        FileNotFoundError: if there is none.
        IsADirectoryError: for a folder.
    """
    path = as_path(name, value)
    if path.is_dir():
        raise IsADirectoryError(f"Argument `{name}` must name a file, but {str(path)!r} is a folder.")
    if not path.exists():
        way = "; a program has a semicolon after each statement" if isinstance(value, str) and name == "source" else ""
        raise FileNotFoundError(f"Argument `{name}` must name a file, but {str(path)!r} is none{way}.")
    return path


# --- QPY ---------------------------------------------------------------------------------------------------------


def _with_written_units(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with its delays in seconds as expressions, of which alone QPY keeps the unit.

    Raises:
        ValueError: for such a delay whose duration is a free parameter.
    """
    from qiskit.circuit import Delay, Duration, ParameterExpression
    from qiskit.circuit.classical import expr

    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, Delay) and operation.unit == "s":
            if isinstance(operation.duration, ParameterExpression):
                raise ValueError(
                    f"QPY does not keep that a delay is in seconds where its duration is free, but one is "
                    f"{operation.duration}; give it a number, or use `delay_dt`."
                )
            operation = Delay(expr.lift(Duration.s(operation.duration)))
        elif blocks := getattr(operation, "blocks", ()):
            operation = operation.replace_blocks(map(_with_written_units, blocks))
        out.append(instruction.replace(operation=operation))
    return out


def _check_qpy(content: bytes) -> None:
    """Refuse what Qiskit's reader would run code for or fill the memory with: by the headers of file and circuits.

    Raises:
        ValueError: naming it.
        struct.error: for a file that ends too early.
    """
    version = content[6] if content[:6] == b"QISKIT" and len(content) > 6 else 0
    if version < 5:
        raise ValueError("it does not begin as one, or is older than version 5.")
    if 10 <= version < 13 and content[18:19] == b"e":
        raise ValueError(
            "its expressions are in symengine's form, which may run code; write it again by Qiskit 1.3 or later."
        )
    (n_circuits,) = struct.unpack_from("!Q", content, 10)
    first = 20 if version >= 10 else 19
    starts = struct.unpack_from(f"!{n_circuits}Q", content, first) if version >= 16 else (first,)
    for start in starts:
        require_bits(*struct.unpack_from("!II", content, start + 5))


def _plain(error: Exception) -> str:
    """A reader's message in one line, without the escape codes and frames of its making."""
    message = re.sub(r"\x1b\[\d+m", "", str(getattr(error, "message", error)))
    reason = re.search(r"Error: (.*)", message)
    return reason[1] if reason else " ".join(message.split())


# --- OpenQASM ----------------------------------------------------------------------------------------------------


def _numbers(circuit: "QuantumCircuit", params: Mapping[str, Any]) -> dict[Any, float]:
    values = assignment(circuit, params)
    for parameter, value in values.items():
        if np.ndim(value):
            raise ValueError(
                f"Argument `params` must be without batch axes, but {name_and_index(parameter)[0]!r} has some of shape "
                f"{np.shape(value)}; write one file for each sample."
            )
    return values


def _require_arithmetic(circuit: Circuit) -> None:
    for operation in circuit.operations:
        if isinstance(operation, Repeat):
            _require_arithmetic(operation.circuit)
        elif isinstance(operation, Gate):
            for angle in operation.angles:
                if isinstance(angle, Expression) and not set(_operations(angle)) <= set(_ARITHMETIC):
                    raise ValueError(
                        f"Readers of OpenQASM 3 understand +, -, * and / of parameters, but gate {operation.name!r} "
                        f"has the angle {angle}; give `params`, or use QPY."
                    )


def _operations(angle: Expression) -> Iterator[str]:
    yield angle.op
    if not isinstance(angle, Element):
        for argument in angle.args:
            if isinstance(argument, Expression):
                yield from _operations(argument)


def _with_plain_names(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with single parameters under names that OpenQASM 3 allows, which has no brackets and many words."""
    from qiskit.circuit import Parameter

    plain: dict[str, Any] = {}
    for parameter in circuit.parameters:
        name, index = name_and_index(parameter)
        new = name if index is None and name not in WORDS else f"{name}_{index or 0}"
        if not _NAME.fullmatch(new):
            raise ValueError(f"Parameter {name!r} must have a name of letters, digits and underscores for OpenQASM 3.")
        if new in plain:
            raise ValueError(
                f"Parameters must have different names in OpenQASM 3, but {plain[new].name!r} and {parameter.name!r} "
                f"both become {new!r}; rename one."
            )
        plain[new] = parameter
    # Others stay: Qiskit refuses another parameter of a name that the global phase still has.
    renamed = {parameter: Parameter(new) for new, parameter in plain.items() if new != parameter.name}
    return circuit.assign_parameters(renamed)
