"""Delays: how long they last, and those that a schedule is to find."""

import contextlib
from typing import Any

from qjaxsim_qiskit.meaning.constants import NotConstantError, duration


def operation_of(instruction: Any, where: str) -> Any:
    """The instruction's operation; a delay by a constant expression is one by a number.

    Raises:
        ValueError: for a delay whose unit a QPY file has lost, and one in seconds and units of a device together.
    """
    from qiskit.circuit import CircuitError, Delay
    from qiskit.circuit.classical.expr import Expr

    if instruction.name != "delay" or not instruction.params:
        return instruction.operation
    try:
        operation = instruction.operation
    except CircuitError:  # one that Qiskit has read from a file and cannot make
        operation = None
    if not isinstance(operation, Delay | None):
        return operation
    time = instruction.params[0]
    if operation is None and isinstance(time, float):
        raise ValueError(
            f"The circuit's {where} has the duration {time:g} in a unit that its QPY file does not keep; write the "
            "file with durations in units of the device, or as expressions (`expr.lift(Duration.s(1))`)."
        )
    if isinstance(time, Expr):
        with contextlib.suppress(NotConstantError):
            seconds, units = duration(time)
            if seconds and units:
                raise ValueError(
                    f"The circuit's {where} lasts seconds and units of a device together; write one of them."
                )
            return Delay(round(units), "dt") if units else Delay(seconds, "s")
    return Delay(time) if operation is None else operation


def awaits_schedule(operation: Any) -> bool:
    """Whether it is a delay as long as a schedule finds: by a stretch."""
    from qiskit.circuit import Delay
    from qiskit.circuit.classical.expr import Expr

    return isinstance(operation, Delay) and isinstance(operation.duration, Expr)
