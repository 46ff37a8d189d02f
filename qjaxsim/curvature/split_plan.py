"""What `split_hessian` will do and hold: the way that the model's structure and the free memory allow."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from qjaxsim.common import memory
from qjaxsim.curvature.chunks import at_once
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.hvp import NO_MATRIX, chunk_size, flatten_real
from qjaxsim.curvature.objective import Loss, ModelShapes, Outputs, check_model
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.spreading import Spread
from qjaxsim.curvature.stages import StagedCircuit

# Ways whose parameter directions can be shared out to devices.
SHARED = ("stages", "parts", "pushed")


class SplitPlan(NamedTuple):
    """How `split_hessian` goes about a problem, and the memory that it holds at once.

    Attributes:
        structure: "pushed" (every sample, through the whole model), "parts" (through one part each), "stages" (a sum
            over circuits, stage by stage), "cones" (a circuit whose data come first, by what its observables see) or
            "collapsed" (such a circuit, through one unitary).
        parameters: P.
        samples: samples in one chunk, B.
        rows: parameter directions pushed at once.
        matrix_bytes: held whatever the chunk: matrices (P, P), and matrices of circuits with their derivatives.
        chunk_bytes: held for a chunk: its Jacobian with copies, and tangents of states.

    >>> plan = SplitPlan("pushed", parameters=2, samples=1, rows=2, matrix_bytes=80, chunk_bytes=24)
    >>> plan.total_bytes
    104
    """

    structure: str
    parameters: int
    samples: int
    rows: int
    matrix_bytes: int
    chunk_bytes: int

    @property
    def total_bytes(self) -> int:
        """What must be free."""
        return self.matrix_bytes + self.chunk_bytes


def plan_split(
    outputs: Outputs,
    loss: Loss,
    params: Any,
    x: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    rows: int | None = None,
) -> SplitPlan:
    """What `split_hessian` would do with these arguments, and the memory that it would take; nothing is computed.

    The cheapest way is taken that fits in free memory, if need be with fewer samples in a chunk than otherwise.
    What the functions themselves hold while a direction is pushed through them is not known and not counted.

    Args:
        outputs: as in `split_hessian`.
        loss: as in `split_hessian`.
        params: pytree of real float arrays of one dtype.
        x: inputs, pytree with N samples along axis 0.
        y: targets, pytree with N samples along axis 0.
        batch_size: samples in one chunk. Default: at most 64 (256 on accelerators), fewer where their Jacobian or the
            tangents of their states would exceed 2**25 (2**30) numbers or free memory.
        rows: parameter directions pushed at once, default at most 8 (64 on accelerators).

    Raises:
        TypeError, ValueError, MemoryError: as `split_hessian`.

    Cost: abstract evaluation of outputs and loss.

    >>> import jax.numpy as jnp
    >>> outputs, loss = lambda w, x: x @ w[:, None], lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = (jnp.ones(shape, "float32") for shape in ((100,), (9, 100), (9, 1)))
    >>> found = plan_split(outputs, loss, w, x, y)
    >>> found.structure, found.samples, found.matrix_bytes  # five matrices of 100 x 100 numbers
    ('pushed', 9, 200000)
    """
    return plan(outputs, params, check_model(outputs, loss, params, x, y), batch_size, rows)


def plan(
    outputs: Outputs,
    params: Any,
    shapes: ModelShapes,
    batch_size: int | None,
    rows: int | None,
    spread: Spread | None = None,
) -> SplitPlan:
    """The same from what `check_model` found, for what each device of a mesh does and holds."""
    flat, _ = flatten_real(params)
    size, itemsize = flat.size, flat.dtype.itemsize
    available = memory.available_bytes()
    default = at_once()
    directions = chunk_size("rows", rows, size, default.directions)
    ways = _ways(outputs, params, size, shapes)
    for needs in ways if spread is None or not spread.columns else _by_columns(ways, spread.parts):
        room = (available // itemsize - needs.held) // needs.a_sample
        usual = min(default.samples, default.numbers // needs.capped, room)
        samples = chunk_size("batch_size", batch_size, shapes.n_samples, max(1, usual))
        found = SplitPlan(
            needs.structure, size, samples, directions, needs.held * itemsize, samples * needs.a_sample * itemsize
        )
        if found.total_bytes <= available:
            return found
    way_out = f"use a smaller `batch_size` or {NO_MATRIX}" if room >= 1 else f"use {NO_MATRIX}"
    memory.require_memory(found.total_bytes, f"The split Hessian of {size} parameters", way_out)
    return found


class _Needs(NamedTuple):
    """What one way takes, in numbers.

    Attributes:
        structure: as in `SplitPlan`.
        held: whatever the chunk.
        a_sample: for each sample of a chunk.
        capped: of these, for each sample, what the default chunk holds a bounded number of.
    """

    structure: str
    held: int
    a_sample: int
    capped: int


def _ways(outputs: Outputs, params: Any, size: int, shapes: ModelShapes) -> Iterator[_Needs]:
    """The ways that the structure of the model allows, cheapest first."""
    jacobian = shapes.n_outputs * size
    # G, R, their sum, and work; the Jacobian, A times it, and one of them once more in another order. Here and below,
    # factors are those of the peaks measured on CPU.
    held, a_sample = 5 * size**2, 3 * jacobian
    # Places among the weights are those of a plain dictionary without batch axes.
    plain = isinstance(outputs, CircuitOutputs) and type(params) is dict and size == outputs.n_weights
    if isinstance(outputs, CircuitOutputs) and plain and outputs.sees_little(shapes.n_samples):
        assert outputs.cones is not None
        none, one = outputs.cones.numbers(0), outputs.cones.numbers(1)
        yield _Needs("cones", held + none, a_sample + one - none, jacobian)
    if isinstance(outputs, CircuitOutputs) and outputs.collapses(shapes.n_samples, size):
        side = 2**outputs.circuit.n_qubits
        yield _Needs("collapsed", held + 8 * size * side**2, a_sample + 6 * size * side, jacobian)
    part = staged(outputs)
    if isinstance(outputs, PartSum) and part is not None:
        tangents, side = part.numbers_a_sample, 2**part.circuit.n_qubits
        # All parts' matrices; while one part's are made, these once more and directions pushed through a unitary.
        circuits = (len(outputs.index) + 1) * part.numbers_held + 8 * at_once().directions * side**2
        yield _Needs("stages", held + circuits, a_sample + 8 * tangents, max(jacobian, 2 * tangents))
    yield _Needs("parts" if isinstance(outputs, PartSum) else "pushed", held, a_sample, jacobian)


def _by_columns(ways: Iterator[_Needs], parts: int) -> Iterator[_Needs]:
    """The ways whose parameter directions can be shared out, with what each of so many devices holds."""
    return (needs._replace(held=-(-needs.held // parts)) for needs in ways if needs.structure in SHARED)


def staged(outputs: Outputs) -> StagedCircuit | None:
    """The circuit whose stages a model's parts share, if it tells them and has any."""
    part = outputs.part if isinstance(outputs, PartSum) else None
    return part if isinstance(part, StagedCircuit) and part.stages is not None else None
