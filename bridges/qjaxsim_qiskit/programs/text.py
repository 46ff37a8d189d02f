"""The text of OpenQASM programs: what it declares and defines, and reading it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qjaxsim.common.extras import missing_extra
from qjaxsim_qiskit.importing.imported import require_width
from qjaxsim_qiskit.programs.reader import read

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# The gates of qelib1.inc as the paper on OpenQASM 2 has it (arXiv:1707.03429), and of stdgates.inc.
_COMMON = "id x y z h s sdg t tdg rx ry rz u1 u2 u3 cx cy cz ch ccx crz"
GATES = {
    2: tuple(f"{_COMMON} cu1 cu3".split()),
    3: tuple(f"{_COMMON} p sx cp crx cry swap cswap cu".split()),
}
"""Gates of the standard include files by version."""

_LANGUAGE = """
CX U phase cphase gphase pi π tau τ euler OPENQASM include defcalgrammar def cal defcal gate extern box let break
continue if else end return for while in switch case default nop pragma input output const readonly mutable qreg qubit
creg bool bit int uint float angle complex array void duration stretch inv pow ctrl negctrl dim durationof sizeof delay
reset measure barrier true false im arccos arcsin arctan ceiling cos exp floor log mod popcount real imag rotl rotr sin
sqrt tan
"""
WORDS = frozenset((*GATES[3], *_LANGUAGE.split()))
"""Names of OpenQASM 3 that cannot be a parameter's."""

# Bits beyond these are refused before Qiskit makes an object of each, which takes microseconds and a hundred bytes.
_MOST_BITS = 1_000_000
_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_HEADER = re.compile(r"\s*OPENQASM\s+(\d+)(?:\.\d+)?\s*;")
_ONLY_IN_3 = re.compile(r"\b(?:qubit|bit|input|output|const|ctrl|negctrl|inv|pow|gphase|for|def)\b|stdgates\.inc|\$\d")
# What is decided before the run, and Qiskit's reader of OpenQASM 3 does not write out.
_FUNCTIONS = "arccos|arcsin|arctan|ceiling|cos|exp|floor|log|mod|sin|sqrt|tan|int|uint|float"
_RANGE_DOWN = r"\[[^\[\]]*(?::[^\[\]]*-|-[^\[\]]*:)"
_DECIDED = re.compile(rf"\b(?:for|const|def|if)\b|\*\*|%|\+\+|{_RANGE_DOWN}|\b(?:{_FUNCTIONS})\s*(?:\[[^\]]*\]\s*)?\(")
_POWER = re.compile(r"\bpow\s*\([^@;{}]*\)\s*@")
_INCLUDE = re.compile(r'\binclude\s*"([^"]*)"\s*;')
# These are the readers' own, whatever files there are of that name.
_STANDARD = ("qelib1.inc", "stdgates.inc")
_QUBITS = re.compile(r"\bqreg\s+\w+\s*\[([^\]]*)\]|\bqubit\s*\[([^\]]*)\]|\b(?:qubit|qreg)\s+\w")
_BITS = re.compile(r"\bcreg\s+\w+\s*\[([^\]]*)\]|\bbit\s*\[([^\]]*)\]|\b(?:bit|creg)\s+\w")
# As Qiskit writes it. Its reader takes the next gate that is defined after it for a delay.
_OPAQUE_DELAY = re.compile(r"\bopaque\s+delay\s*\(\s*\w+\s*\)\s*\w+\s*;")
# Under the name of this gate of its own, Qiskit asks every gate for the Pauli string.
_PAULI_PRODUCT = re.compile(r"\bpauli_product_rotation\b")
_PHYSICAL = re.compile(r"\$(\d+)\b")


def parse(text: str, what: str, folder: Path, *, every_qubit: bool = True) -> "QuantumCircuit":
    """The program as Qiskit's circuit.

    Args:
        text: OpenQASM 2 or 3.
        what: the program's name in messages.
        folder: where included files are looked for first.
        every_qubit: whether a state of all qubits that are declared must fit in memory.

    Raises:
        ValueError: if it cannot be read.
        MemoryError: if no state of its width fits.
        ImportError: if the reader of OpenQASM 3 is missing.
    """
    # Mark and line ends as some editors write them.
    code = _uncommented(re.sub(r"\r\n?", "\n", text.removeprefix("\ufeff")))
    code = _with_includes(code, (folder, Path()), ())
    code = _PAULI_PRODUCT.sub(r"own_\g<0>", code)
    version = _version(code, what)
    failure = f"{what[0].upper()}{what[1:]} cannot be read: "
    if version == "3":
        # The language's own stdgates.inc has the root of X as pow(1/2) @ x, so that whole numbers divide as real ones.
        code = _POWER.sub(lambda match: match[0].replace("/", "*1.0/"), code)
    decided = version == "3" and _DECIDED.search(code) is not None
    if decided:
        code = _written_out(code, failure)
    n_qubits = _declared(_QUBITS, code) + max((int(number) + 1 for number in _PHYSICAL.findall(code)), default=0)
    if every_qubit and n_qubits:
        require_width(n_qubits)
    require_bits(n_qubits, _declared(_BITS, code))
    return _read(code, version, failure, lines=not decided)


def _version(code: str, what: str) -> str:
    """The language's version; programs without a header are taken by the words that they use."""
    header = _HEADER.match(code)
    if header is None and not re.search(r"\bOPENQASM\b", code):
        return "3" if _ONLY_IN_3.search(code) else "2"
    if header is None or header[1] not in ("2", "3"):
        raise ValueError(f"Argument `source` must begin with OPENQASM 2.0; or OPENQASM 3.0;, but {what} does not.")
    return header[1]


def _written_out(code: str, failure: str) -> str:
    from qjaxsim_qiskit.programs.unrolled import written_out
    from qjaxsim_qiskit.programs.values import RefusedError

    try:
        return written_out(code)
    except RefusedError as error:
        raise ValueError(f"{failure}{error}") from error
    except Exception as error:  # of the parser
        raise ValueError(f"{failure}{_reason(error)}") from error


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: if it is not UTF-8.
        OSError: if there is no such file.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"A program must be text in UTF-8, but file {str(path)!r} is not; save it as that.") from error


def require_bits(n_qubits: int, n_bits: int) -> None:
    """Refuse more bits than can be made in reasonable time.

    Raises:
        ValueError: naming how many.
    """
    for number, kind in ((n_qubits, "qubits"), (n_bits, "classical bits")):
        if number > _MOST_BITS:
            raise ValueError(f"A program may declare at most {_MOST_BITS} {kind}, but this one declares {number}.")


def _uncommented(text: str) -> str:
    """The text without comments, every line at its number."""
    return _COMMENTS.sub(lambda match: " " + "\n" * match[0].count("\n"), text)


def _with_includes(code: str, folders: tuple[Path, ...], within: tuple[Path, ...]) -> str:
    """The program with the text of files in place of their names, each in one line.

    Qiskit's reader of OpenQASM 2 stumbles over included gates with angles and names gates before it has seen which are
    defined there; that of OpenQASM 3 includes nothing.
    """

    def content(match: re.Match[str]) -> str:
        paths = [folder / match[1] for folder in folders if match[1] not in _STANDARD]
        path = next((path for path in paths if path.is_file() and path not in within), None)
        if path is None:
            return match[0]
        return _with_includes(_uncommented(read_text(path)), folders, (*within, path)).replace("\n", " ")

    return _INCLUDE.sub(content, code)


def _declared(pattern: re.Pattern[str], code: str) -> int:
    """How many bits of one kind a program declares."""
    total = 0
    for match in pattern.finditer(code):
        size = next((group.strip() for group in match.groups() if group is not None), "1")
        try:
            total += int(size, 0)
        except ValueError as error:
            raise ValueError(f"Sizes of registers must be integers, but one is {size[:40]!r}.") from error
    return total


def _read(code: str, version: str, failure: str, *, lines: bool) -> "QuantumCircuit":
    """What Qiskit's reader makes of it; without `lines` the code's are not those of the program that was given."""
    from qiskit import qasm2

    try:
        if version == "2":
            code = _OPAQUE_DELAY.sub(lambda match: "\n" * match[0].count("\n"), code)
            return qasm2.loads(code, custom_instructions=tuple(_known_gates(code)))
        return read(code)
    except ImportError as error:
        raise missing_extra("OpenQASM 3 needs the package qiskit-qasm3-import", "qiskit", error.name) from error
    # Programs are strangers' and there are three parsers, which on some raise whatever they stumble over.
    except Exception as error:
        reason = _reason(error)
        raise ValueError(failure + (reason if lines else re.sub(r"^line \d+: ", "", reason))) from error


def _reason(error: Exception) -> str:
    """What a reader has to say, in one line."""
    if type(error).__name__ == "QASM3ParsingError":  # it has no message of its own
        cause = error.__cause__.args if error.__cause__ else ()
        token = getattr(next(iter(cause), None), "offendingToken", None)
        return "it does not parse." if token is None else f"line {token.line}: it does not parse at {token.text!r}."
    if isinstance(error, IndexError):
        return "it numbers a qubit or bit beyond its register."
    message = " ".join(str(getattr(error, "message", error)).split())
    message = re.sub(r"^(?:<input>:)?(\d+),\d+: ", r"line \1: ", message)
    return message if hasattr(error, "message") else f"{type(error).__name__}: {message}"


def _known_gates(code: str) -> Iterator[Any]:
    """The standard gates that a program uses without defining them; others might have names of its registers."""
    from qiskit import qasm2
    from qiskit.circuit.library import get_standard_gate_name_mapping

    # What a program defines is what it says, whatever it is called.
    defined = set(re.findall(r"\b(?:gate|opaque|qreg|creg)\s+(\w+)", code))
    wanted = set(re.findall(r"\w+", code)) - defined
    # Gates of the include file must be given as they are there, used or not; delays are in none.
    own = [replace(one, builtin=True) if one.name == "delay" else one for one in qasm2.LEGACY_CUSTOM_INSTRUCTIONS]
    legacy = [one for one in own if one.name in wanted or not (one.builtin or one.name in defined)]
    yield from legacy
    for name in sorted(wanted - {one.name for one in legacy}):
        gate = get_standard_gate_name_mapping().get(name)
        if gate is not None and gate.num_qubits and hasattr(gate, "to_matrix"):
            yield qasm2.CustomInstruction(name, len(gate.params), gate.num_qubits, gate.base_class, builtin=True)
