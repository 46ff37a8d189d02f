"""Circuits as text."""

from collections.abc import Sequence

from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.measurements import Measure, Projection, ReadoutError, Reset
from qjaxsim.circuits.operations import Conditional, Gate, Kraus, Operation, Preparation, Repeat, Unitary
from qjaxsim.common.words import counted

# Gates drawn as controls (dots) with a symbol on the last qubits.
_CONTROLLED = {
    "cx": "X", "cy": "Y", "cz": "●", "ch": "H", "cs": "S", "csdg": "SDG", "csx": "SX", "ccx": "X", "ccz": "●",
    "c3sx": "SX", "cp": "P", "cu1": "U1", "crx": "RX", "cry": "RY", "crz": "RZ", "cu": "U", "cu3": "U3",
}  # fmt: skip


def draw(operations: Sequence[Operation], n_qubits: int) -> str:
    """A circuit as lines of text, one wire a qubit with the links between them; repeats are drawn in brackets."""
    wires: list[str] = ["" for _ in range(2 * n_qubits - 1)]
    phase = ""
    pad(wires, n_qubits)
    for operation in operations:
        if not operation.qubits:
            phase += f" {_label(operation, 0)}"
            continue
        _place(wires, operation)
    pad(wires, n_qubits)
    margin = len(f"q{n_qubits - 1}: ")
    lines = [(f"q{i // 2}: " if i % 2 == 0 else "").ljust(margin) + wire for i, wire in enumerate(wires)]
    if phase:
        lines.insert(0, f"global phase:{phase}")
    return "\n".join(line.rstrip() for line in lines)


def pad(wires: list[str], n_qubits: int, low: int = 0, high: int | None = None) -> None:
    """Bring the wires of qubits low..high to one length, and add one more column."""
    high = n_qubits - 1 if high is None else high
    rows = range(2 * low, 2 * high + 1)
    width = max(len(wires[row]) for row in rows) + 1
    for row in rows:
        wires[row] = wires[row].ljust(width, "─" if row % 2 == 0 else " ")


def _place(wires: list[str], operation: Operation) -> None:
    low, high = min(operation.qubits), max(operation.qubits)
    n_qubits = (len(wires) + 1) // 2
    pad_to = max(len(wires[row]) for row in range(2 * low, 2 * high + 1))
    cells = {qubit: _label(operation, i) for i, qubit in enumerate(operation.qubits)}
    width = max(map(len, cells.values()))
    for row in range(2 * low, 2 * high + 1):
        fill = "─" if row % 2 == 0 else " "
        cell = cells.get(row // 2, "┼") if row % 2 == 0 else "│"
        wires[row] = wires[row].ljust(pad_to, fill) + cell.ljust(width, fill)
    pad(wires, n_qubits, low, high)


def _summary(operation: Repeat) -> str:
    shared = f", shared {', '.join(sorted(operation.shared))}" if operation.shared else ""
    order = ", reversed" if operation.reverse else ""
    return f"[{operation.times} x {counted(len(operation.circuit), 'operation')}{shared}{order}]"


def _label(operation: Operation, position: int) -> str:
    """The text on the wire of the operation's qubit number `position`."""
    if isinstance(operation, Repeat):
        return _summary(operation)
    if isinstance(operation, Projection):
        return f"|{operation.outcome}><{operation.outcome}|"
    if isinstance(operation, Measure):
        wrong = f"({operation.one_for_zero:.6g}, {operation.zero_for_one:.6g})" if operation.is_misread else ""
        return f"M>{operation.bit}{wrong}"
    if isinstance(operation, Reset):
        return "|0>"
    if isinstance(operation, Conditional):
        asked = ",".join(f"{bit}={value}" for bit, value in zip(operation.bits, operation.values, strict=True))
        return f"[if {asked}: {counted(len(operation.circuit), 'operation')}]"
    if isinstance(operation, Preparation):
        name = operation.state if isinstance(operation.state, str) else "state"
        return f"|{name}>" if len(operation.qubits) == 1 else f"|{name}>:{position}"
    if isinstance(operation, ReadoutError):
        return f"READ({operation.one_for_zero:.6g}, {operation.zero_for_one:.6g})"
    if isinstance(operation, Unitary | Kraus):
        return operation.label if len(operation.qubits) == 1 else f"{operation.label}:{position}"
    if isinstance(operation, Gate) and operation.spec.is_free:
        names = {element.name for angle in operation.angles for element in angle.elements()}
        return ", ".join(sorted(names)) + (f":{position}" if len(operation.qubits) > 1 else "")
    angles = ", ".join(str(a) if isinstance(a, Expression) else f"{a:.6g}" for a in operation.angles)
    arguments = f"({angles})" if angles else ""
    last = position == len(operation.qubits) - 1
    symbol = "P" if operation.name.startswith("mcp") else _CONTROLLED.get(operation.name)
    if symbol is not None:
        return symbol + arguments if last else "●"
    if operation.name in ("swap", "cswap"):
        return "●" if operation.name == "cswap" and position == 0 else "x"
    name = operation.name.upper() + (f":{position}" if len(operation.qubits) > 1 else "")
    return name + (arguments if last or not operation.qubits else "")
