"""Choices of the planner that a user may force."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qjaxsim.common.checks import as_integer, shown


@dataclass(frozen=True)
class PlanOptions:
    """Choices that a user may force.

    Attributes:
        max_block: most qubits in one dense block; None lets the planner choose.
        collapse: True or False to always or never collapse weights-only stretches; None lets the cost model decide.
        scan: True or False to always or never turn layers that repeat in a flat circuit into a loop; None does so for
            three layers or more on up to ten qubits while all states together have at most 2**14 amplitudes, else for
            long circuits. What `Circuit.repeat` added is a loop in any case. False also keeps long stretches of gates
            from running as a loop over small blocks.
        unroll: iterations of a repeated layer that one step of the `lax.scan` holds.
        gradient: "backprop" keeps every intermediate state for reverse-mode derivatives, "adjoint" recomputes them by
            running the circuit backwards, in constant memory; None chooses by the memory needed.
        state_axes: names of mesh axes over which the state is cut, so that each device holds a piece; their sizes are
            powers of two, and the function is called inside `jax.set_mesh`. () leaves the whole state to every device;
            None takes those of the mesh whose names begin with "state", for circuits that can be cut.
        batch_axis: name of a mesh axis over which the batch is cut, likewise; its size divides that of the batch.

    >>> import qjaxsim as qj
    >>> circuit = qj.Circuit(1).ry(qj.Parameter("theta"), 0)
    >>> qj.explain(circuit, options=PlanOptions(gradient="adjoint")).gradient
    'adjoint'
    """

    max_block: int | None = None
    collapse: bool | None = None
    scan: bool | None = None
    unroll: int = 1
    gradient: str | None = None
    state_axes: tuple[str, ...] | None = None
    batch_axis: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("max_block", self.max_block), ("unroll", self.unroll)):
            number = as_integer(value)
            if number is None and (value is not None or name == "unroll"):
                raise TypeError(f"Argument `{name}` must be an integer, but is {value!r}.")
            if number is not None and number < 1:
                raise ValueError(f"Argument `{name}` must be at least 1, but is {value}.")
            object.__setattr__(self, name, number)  # options are keys of what is compiled
        for name, choice in (("collapse", self.collapse), ("scan", self.scan)):
            if choice is not None and not isinstance(choice, bool | np.bool_) and as_integer(choice) not in (0, 1):
                raise TypeError(f"Argument `{name}` must be True, False or None, but is {shown(choice)}.")
            object.__setattr__(self, name, None if choice is None else bool(choice))
        given = () if self.state_axes is None else self.state_axes
        axes = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
        if not all(isinstance(axis, str) for axis in axes) or len(set(axes)) < len(axes):
            raise ValueError(f"Option `state_axes` must be different names of mesh axes, but is {self.state_axes!r}.")
        if not isinstance(self.batch_axis, str | None) or self.batch_axis in axes:
            raise ValueError(
                f"Option `batch_axis` must be the name of a mesh axis that is not in `state_axes`, or None, but is "
                f"{self.batch_axis!r}."
            )
        object.__setattr__(self, "state_axes", None if self.state_axes is None else axes)
        if self.gradient not in (None, "adjoint", "backprop"):
            raise ValueError(f"Argument `gradient` must be 'adjoint', 'backprop' or None, but is {self.gradient!r}.")


def plan_options(given: Any) -> PlanOptions:
    """Options as given, or the defaults for None.

    Raises:
        TypeError: for anything else.
    """
    if given is not None and not isinstance(given, PlanOptions):
        raise TypeError(f"Argument `options` must be a `qjaxsim.PlanOptions`, but is {given!r}.")
    return given or PlanOptions()
