"""A plan in words: steps, what they hold, and what they are estimated to cost."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.common.checks import as_integer, positive_integer, shown
from qjaxsim.common.memory import GIB
from qjaxsim.common.words import counted
from qjaxsim.planning.deferring import Lowered, lowered
from qjaxsim.planning.inspection import is_invertible
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import (
    Collapsed,
    Dense,
    Diagonal,
    Enter,
    Exchange,
    Loop,
    Monomial,
    Packed,
    Plan,
    Prepare,
    Project,
    ProjectBit,
    Rotations,
    Singles,
    Start,
    Step,
    Transpose,
    Widen,
)
from qjaxsim.running.adjoint import kept_bytes, uses_adjoint

# Bytes a second that a device sends: within a node of GPUs, and between nodes (assumed).
LINKS = (300e9, 25e9)


@dataclass(frozen=True, eq=False)
class Line:
    """One step of an explanation.

    Attributes:
        depth: how many loops or collapsed stretches it stands in.
        kind: what it is.
        qubits: where it acts.
        holds: what it is made of.
        role: "data" if it differs from sample to sample, else "weights" or "constant".
        flops: floating-point operations of one forward run, all iterations of the loops around it included.
        bytes: bytes read and written by it, likewise.
    """

    depth: int
    kind: str
    qubits: str
    holds: str
    role: str
    flops: float
    bytes: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` returns; `str()` prints it.

    Attributes:
        plan: the plan itself.
        lines: its steps.
        columns: states that are run together.
        itemsize: bytes of a real number.
        options: the choices it was made with.
        form: the circuit as it is run: states or density matrices, with wires for measurements.
        state_qubits: the state is cut over 2**state_qubits devices; lines and bytes are those of one of them.
    """

    plan: Plan
    lines: tuple[Line, ...]
    columns: int
    itemsize: int
    options: PlanOptions
    form: Lowered
    state_qubits: int = 0

    @property
    def exchanges(self) -> int:
        """How often devices send parts of the state to each other in one forward run, before it is read."""
        return sum(times for _, times in _exchanges(self.plan.steps, 1))

    @property
    def sent_bytes(self) -> float:
        """Bytes that each device sends in them."""
        return sum(
            times * self.state_bytes * (1 - 0.5 ** len(step.bits)) for step, times in _exchanges(self.plan.steps, 1)
        )

    @property
    def state_bytes(self) -> int:
        """Bytes of all states together, on one device."""
        return 2 * self.itemsize * self.columns * 2**self.plan.n_qubits

    @property
    def flops(self) -> float:
        """Operations of one forward run."""
        return sum(line.flops for line in self.lines)

    @property
    def bytes(self) -> float:
        """Bytes moved by one forward run."""
        return sum(line.bytes for line in self.lines)

    @property
    def products(self) -> int:
        """Steps that are products with a dense matrix, those in loops counted once."""
        return sum(line.kind.split()[0] in ("dense", "collapsed", "packed") for line in self.lines)

    @cached_property
    def memory(self) -> dict[str, int]:
        """Bytes held by a forward run, by a gradient that keeps states and by one that runs the circuit backwards."""
        kept = kept_bytes(self.plan.steps, self.plan.n_qubits, self.columns, self.itemsize)
        out = {"forward": 2 * self.state_bytes, "backprop": 3 * self.state_bytes + kept}
        if not self.form.is_density and all(is_invertible(step) for step in self.plan.steps):
            out["adjoint"] = 5 * self.state_bytes
        return out

    @property
    def gradient(self) -> str:
        """The way of reverse-mode derivatives: "adjoint" or "backprop"."""
        chosen = uses_adjoint(self.plan, self.columns, self.itemsize, self.options, self.form.is_density)
        return "adjoint" if chosen else "backprop"

    def __str__(self) -> str:
        head = f"{'step':>4}  {'kind':<18} {'qubits':<24} {'holds':<36} {'role':<8} {'FLOPs':>8} {'bytes':>8}"
        rows = [
            f"{i:>4}  {'  ' * line.depth + line.kind:<18} {_cut(line.qubits, 24):<24} {_cut(line.holds, 36):<36} "
            f"{line.role:<8} {line.flops:>8.2g} {line.bytes:>8.2g}"
            for i, line in enumerate(self.lines)
        ]
        held = ", ".join(f"{name} {size / GIB:.3g} GiB" for name, size in self.memory.items())
        what = "a density matrix" if self.form.is_density else "projections and free matrices"
        reason = "" if "adjoint" in self.memory else f" ({what} cannot be run backwards)"
        own, width = self.form.n_qubits, self.plan.n_qubits
        qubits = counted(own, "qubit")
        if self.form.is_density:
            qubits = f"a density matrix of {qubits} on {width} wires"
        if not self.form.is_density and width > own:
            qubits += f" and {counted(width - own, 'wire')} for measurements and resets, outcomes followed at once"
        if self.state_qubits:
            qubits += f" cut over {2**self.state_qubits} devices (what follows is of each)"
        return "\n".join(
            [
                f"{qubits}, {counted(self.columns, 'column')}, {2 * self.itemsize} bytes an amplitude, "
                f"{counted(self.products, 'matrix product')}",
                head,
                *rows,
                f"in all {self.flops:.3g} FLOPs, {self.bytes:.3g} bytes; memory: {held}; "
                f"gradient by {self.gradient}{reason}",
                *self._links(),
            ]
        )

    def _links(self) -> list[str]:
        """What devices send to each other."""
        if not self.state_qubits:
            return []
        times = ", ".join(f"{self.sent_bytes / speed:.2g} s at {speed / 1e9:.0f} GB/s" for speed in LINKS)
        count = f"{self.exchanges} exchange{'s' * (self.exchanges != 1)}"
        return [f"{count}, in which each device sends {self.sent_bytes / GIB:.3g} GiB (a model's estimate: {times})"]


def _exchanges(steps: Sequence[Step], times: int) -> Iterable[tuple[Exchange, int]]:
    """The exchanges, and how often each is run."""
    for step in steps:
        if isinstance(step, Exchange):
            yield step, times
        elif isinstance(step, Loop):
            yield from _exchanges(step.body.steps, times * step.repeat.times)


def explain(
    circuit: Circuit,
    batch: int = 1,
    data: Collection[str] = (),
    *,
    options: PlanOptions | None = None,
    dtype: str = "complex64",
    state_qubits: int = 0,
) -> Explanation:
    """How a circuit would be run.

    Args:
        circuit: any circuit.
        batch: size of the batch that the parameters in `data` carry.
        data: names of the parameters that carry it.
        options: forced choices of the planner.
        dtype: "complex64" or "complex128".
        state_qubits: the state is cut over 2**state_qubits devices, as `PlanOptions(state_axes=...)` does.

    Returns:
        Steps with estimated operations, bytes and memory; print it.

    Raises:
        ValueError: for a batch without data, unknown names, or another dtype.

    >>> import qjaxsim as qj
    >>> w = qj.Parameter("w", (2,))
    >>> plan = qj.explain(qj.Circuit(2).rx(w[0], 0).ry(w[1], 1).cx(0, 1))
    >>> plan.products, plan.gradient
    (1, 'backprop')
    >>> pairs = qj.Circuit(34)  # each qubit once: four of 34 lie on 16 devices, and change places once
    >>> for q in range(34):
    ...     pairs = pairs.h(q)
    >>> qj.explain(pairs, state_qubits=4).exchanges
    1
    """
    names = (data,) if isinstance(data, str) else tuple(data)
    require_circuit("circuit", circuit)
    batch = positive_integer("batch", batch)
    if unknown := [name for name in names if name not in circuit.parameters]:
        raise ValueError(f"Argument `data` names {unknown}, but the circuit's parameters are {circuit.parameters}.")
    if batch > 1 and not names:
        raise ValueError(f"Argument `data` must name the parameters that carry the batch of {batch}, but is empty.")
    if dtype not in ("complex64", "complex128"):
        raise ValueError(f"Argument `dtype` must be 'complex64' or 'complex128', but is {dtype!r}.")
    options = plan_options(options)
    form = lowered(circuit)
    most = 0 if form.is_density else form.circuit.n_qubits - 1
    cut = as_integer(state_qubits)
    if cut is None or not 0 <= cut <= most:
        raise ValueError(
            f"Argument `state_qubits` must be an integer from 0 to {most}, but is {shown(state_qubits)}; only pure "
            "states are cut, and each device holds a qubit or more."
        )
    plan = make_plan(form.circuit, names, int(batch), options, device_bits=cut)
    itemsize = 4 if dtype == "complex64" else 8
    lines = tuple(_Reader(plan.n_qubits, int(batch), itemsize).read(plan.steps))
    return Explanation(plan, lines, int(batch) if names else 1, itemsize, options, form, cut)


class _Reader:
    """Walks through steps, following how many qubits and columns the state has."""

    def __init__(self, n_qubits: int, batch: int, itemsize: int):
        self.n_qubits, self.batch, self.itemsize = n_qubits, batch, itemsize

    def read(self, steps: Sequence[Step]) -> Iterable[Line]:
        """Lines of a plan from |0...0>."""
        width, columns = 0, 1
        for step in steps:
            columns = self.batch if isinstance(step, Widen) else columns
            if isinstance(step, Start):
                width = self.n_qubits
            if isinstance(step, Enter | Prepare):
                width += len(step.qubits)
            if isinstance(step, Dense):
                width += step.entering
            yield from self._lines(step, width, columns, 0, 1)

    def _lines(self, step: Step, width: int, columns: int, depth: int, times: int) -> Iterable[Line]:
        amplitudes = float(columns * 2**width)
        moved = times * 2 * 2 * self.itemsize * amplitudes
        kind, qubits, holds, flops = _describe(step, amplitudes)
        if isinstance(step, Loop):
            yield Line(depth, kind, qubits, holds, _role(step), 0.0, 0.0)
            for inner in step.body.steps:
                yield from self._lines(inner, width, columns, depth + 1, times * step.repeat.times)
            return
        passes = 2 * len(step.orders) if isinstance(step, Packed) else 1  # rows moved, matrix applied
        yield Line(depth, kind, qubits, holds, _role(step), times * flops, passes * moved)
        if isinstance(step, Collapsed):
            for inner in step.steps:
                yield from self._lines(inner, width, 2**width, depth + 1, times)


def _describe(step: Step, amplitudes: float) -> tuple[str, str, str, float]:
    """Kind, qubits, contents and operations of one step on so many amplitudes."""
    match step:
        case Dense():
            where = ",".join(map(str, step.qubits))
            into = 2 ** (len(step.qubits) - step.entering)
            return "dense", where, _gates(step.layers), 8 * into * amplitudes
        case Diagonal():
            angles = sum(len(table.angles) for table in step.tables)
            return "diagonal", "", f"{len(step.tables)} tables, {angles} angles", 6 * len(step.tables) * amplitudes
        case Rotations():
            count = len(step.angles)
            holds = f"{count} Pauli string{'s' * (count > 1)}, first {step.strings[0]}"
            return "rotations", "", holds, 8.0 * count * amplitudes
        case Singles():
            where = ",".join(map(str, step.qubits))
            return "singles", where, _gates([step.leaves]), 14.0 * len(step.qubits) * amplitudes
        case Monomial():
            return "monomial", "", "a permutation" + (" with phases" if step.phase is not None else ""), 0.0
        case Transpose():
            return "transpose", "", "", 0.0
        case Start():
            return "start", "all", f"the state of {counted(step.gates, 'constant gate')}", 0.0
        case Enter():
            return "enter", ",".join(map(str, step.qubits)), "qubits in |0>", 0.0
        case Prepare():
            where, of = ",".join(map(str, step.qubits)), "numbers" if step.constant is not None else step.name
            return "prepare", where, f"a state of {of}", 6 * amplitudes
        case Widen():
            return "widen", "", "one column for each sample", 0.0
        case Project():
            return "project", "", f"outcome {step.outcome}", 4 * amplitudes
        case ProjectBit():
            return "project", "", f"outcome {step.outcome}, of a device's bit", 2 * amplitudes
        case Exchange():
            where = f"{len(step.wires)} of a device with as many apart"
            return "exchange", ",".join(map(str, step.wires)), where, 0.0
        case Loop():
            return f"loop x {step.repeat.times}", "", counted(len(step.body.steps), "step"), 0.0
        case Packed():
            blocks, n_qubits = step.orders.shape
            flops = blocks * 8 * 2**step.width * amplitudes
            return f"packed x {blocks}", f"{step.width} of {n_qubits} each time", counted(step.gates, "gate"), flops
        case Collapsed():
            size = 2**step.n_qubits
            return "collapsed", "all", f"{counted(len(step.steps), 'step')} as one matrix", 8 * size * amplitudes


def _gates(layers: Iterable[tuple[Leaf, ...] | Monomial]) -> str:
    """What a dense block or matrices on single qubits are made of."""
    names: dict[str, int] = {}
    for layer in layers:
        if isinstance(layer, Monomial):
            names["permutation"] = names.get("permutation", 0) + 1
            continue
        for factor in (factor for leaf in layer for factor in leaf.factors):
            name = "constant" if isinstance(factor, np.ndarray) else factor.name
            names[name] = names.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in names.items())


def _role(step: Step) -> str:
    if step.data:
        return "data"
    if isinstance(step, Start):
        return "constant"
    if isinstance(step, Dense | Packed | Prepare):
        return "constant" if step.constant is not None else "weights"
    if isinstance(step, Diagonal):
        free = any(isinstance(angle, Expression) for table in step.tables for angle in table.angles)
        return "weights" if free else "constant"
    return "weights" if isinstance(step, Loop | Collapsed | Rotations) else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
