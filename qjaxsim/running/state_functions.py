"""Functions of params made from a circuit and what is read of its final state.

`simulate.py` names the readouts; here the circuit is brought into the form that is run, planned for the batch that
comes, run and read.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.circuits.inspection import has_projection, is_static
from qjaxsim.circuits.methods import Qubits, classical_bits
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.operations import Preparation
from qjaxsim.common.checks import shown
from qjaxsim.common.memory import require_memory
from qjaxsim.planning.deferring import Lowered, lowered, needs_density
from qjaxsim.planning.leaves import DEVICE_BITS
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.planning.plan import make_plan
from qjaxsim.running import density, pieces
from qjaxsim.running.adjoint import run_from_zero, uses_adjoint
from qjaxsim.running.batching import INITIAL, parse_params, with_initial
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.devices import count_device_bits, on_devices, own_batch, state_axes_of
from qjaxsim.running.matrices import Environment
from qjaxsim.running.prepare import Setting
from qjaxsim.running.sampling import require_key
from qjaxsim.running.strengths import check_strengths

Params = Mapping[str, Any]
Run = Callable[..., jax.Array]
Shapes = dict[str, tuple[int, ...]]


class Bits(NamedTuple):
    """Classical bits as what is read of a circuit."""

    bits: tuple[int, ...]


def state_function(
    circuit: Circuit,
    options: PlanOptions | None,
    readout: "density.Readout | Bits",
    name: str,
    single: bool = False,
    reading: pieces.Reading | None = None,
) -> Run:
    """A jitted function of params: run the circuit, then `readout` from (2, 2**n, columns) to (m, columns).

    With `single` the one entry of the last axis is given without it. Where the state is cut over devices it is read by
    `reading`.
    """
    require_circuit("circuit", circuit)
    snapshot, chosen = circuit.copy(), plan_options(options)
    if chosen.state_axes:
        require_state_axes(snapshot, reading, name)
    parts = snapshot, chosen, readout, name, single, reading
    return Compiled(_run_and_read, *parts, check=check_call(snapshot), before=check_strengths(snapshot))


def check_call(circuit: Circuit) -> Callable[..., Any]:
    """What says in our words why JAX takes no such parameters."""
    return functools.partial(check_params, circuit.parameters, circuit.n_qubits)


def check_params(
    shapes: Shapes, n_qubits: int, params: Params | None = None, *_: Any, initial: Any = None, **others: Any
) -> None:
    """Raise for parameters or an initial state that a circuit does not take."""
    if others:
        raise TypeError(f"Parameters are given as one dictionary, `params`, but {sorted(others)} came by keyword.")
    with_initial({}, initial, n_qubits)
    parse_params(params, shapes)


def check_draw(
    shapes: Shapes, n_qubits: int, params: Params | None = None, key: Any = None, *_: Any, **others: Any
) -> None:
    """The same of a function that draws, and for what is no key."""
    check_params(shapes, n_qubits, params, **others)
    if key is None:
        raise TypeError("Argument `key` must be a random key, as `jax.random.key(0)` makes them, but is not given.")
    require_key(key)


def check_from_zero(check: Callable[..., Any], name: str, way_out: str) -> Callable[..., Any]:
    """The same of a function that takes no initial state."""
    return functools.partial(_refuse_initial, check, name, way_out)


def _refuse_initial(check: Callable[..., Any], name: str, way_out: str, *args: Any, **others: Any) -> None:
    if "initial" in others:
        raise TypeError(f"Argument `initial` is not for {name}; {way_out}.")
    check(*args, **others)


def asked_bits(circuit: Circuit, qubits: Qubits | None, bits: Qubits) -> tuple[int, ...]:
    """The classical bits to read."""
    require_circuit("circuit", circuit)
    if qubits is not None:
        raise ValueError("Give either `qubits` or `bits`, what is read.")
    chosen = classical_bits("bits", bits)
    if max(chosen) >= circuit.n_bits:
        count = circuit.n_bits
        raise ValueError(f"Argument `bits` must name bits of the circuit, which has {count}, but is {shown(bits)}.")
    return chosen


def measured_qubits(circuit: Circuit, qubits: Qubits | None, what: str = "measurement") -> tuple[int, ...]:
    """The qubits to measure, or to read otherwise, all for None."""
    require_circuit("circuit", circuit)
    if qubits is None:
        return tuple(range(circuit.n_qubits))
    chosen = circuit.check_qubits(qubits, what)
    if not chosen:
        raise ValueError("Argument `qubits` must name at least one qubit, but is empty.")
    return chosen


def _begun(circuit: Circuit) -> Circuit:
    """The circuit on a state that is given when it is called."""
    if any(isinstance(operation, Preparation) for operation in circuit.operations):
        return circuit  # which is refused when it is called
    parts = Parameter(INITIAL, (2, 2**circuit.n_qubits))
    return Circuit(circuit.n_qubits).initialize(parts).extend(circuit.operations)


def can_cut(circuit: Circuit) -> bool:
    """Whether a circuit's state can be cut over devices."""
    prepares = any(isinstance(operation, Preparation) for operation in circuit.operations)
    return is_static(circuit.operations) and not prepares and not needs_density(circuit)


def require_state_axes(circuit: Circuit, reading: pieces.Reading | None, name: str) -> None:
    """Refuse what a state that is cut over devices cannot give."""
    if not can_cut(circuit):
        raise ValueError(
            "Option `state_axes` needs a circuit of gates and projections, but this one has channels, measurements, "
            "resets, conditions or an initial state; leave the option out."
        )
    if reading is None:
        raise ValueError(
            f"Option `state_axes` is not for `{name}`, whose result no device could hold; leave the option out."
        )


def _run_and_read(
    snapshot: Circuit,
    chosen: PlanOptions,
    readout: "density.Readout | Bits",
    name: str,
    only: bool,
    reading: pieces.Reading | None,
) -> Run:
    asked = readout.bits if isinstance(readout, Bits) else ()
    forms = {False: lowered(snapshot, asked), True: lowered(_begun(snapshot), asked)}
    projects = has_projection(snapshot.operations)
    can_be_cut = reading is not None and can_cut(snapshot)

    def run(params: Params | None = None, *, initial: Any = None) -> jax.Array:
        form = forms[initial is not None]
        if initial is not None and INITIAL not in form.circuit.parameters:
            raise ValueError(
                "Argument `initial` is for circuits that begin in |0...0>, but this one has `initialize`; leave one of "
                "them out."
            )
        # Parameters of branches that are never taken are not in the form that is run.
        shapes = {**snapshot.parameters, **form.circuit.parameters}
        batch = parse_params(with_initial(params, initial, snapshot.n_qubits), shapes)
        axes = state_axes_of(chosen, can_be_cut and initial is None, form.circuit.n_qubits)
        device_bits = count_device_bits(axes, form.circuit.n_qubits)
        batch_axis = chosen.batch_axis if batch.data else None
        own = own_batch(batch_axis, batch.size)
        require_state(form, batch.total // batch.size * own, batch.dtype, device_bits)
        plan = make_plan(form.circuit, batch.data, own, chosen, device_bits=device_bits)
        adjoint = uses_adjoint(plan, own, np.dtype(batch.dtype).itemsize, chosen, form.is_density)
        axes = axes if device_bits else ()
        setting = Setting(batch.dtype, plan.data, own, chosen.unroll, adjoint, axes)

        def columns_of(env: Environment) -> jax.Array:
            state = run_from_zero(plan, env, setting)
            state = density.normalised(form, state) if form.is_density and projects else state
            if reading is not None and plan.places is not None:
                columns = reading.read(pieces.Pieces(state, plan.places, env[DEVICE_BITS], axes))
            else:
                columns = _read_out(readout, form, state)
            return jnp.broadcast_to(columns, (len(columns), own))

        run_and_read = columns_of
        if axes or batch_axis:
            spread = bool(axes) and reading is not None and reading.spread
            run_and_read = on_devices(columns_of, batch.dtype, axes, spread, batch_axis, batch.data)

        values = batch.map(lambda env: run_and_read(env).T)
        return values[..., 0] if only else values

    run.__name__ = name
    return run


def _read_out(readout: "density.Readout | Bits", form: Lowered, state: jax.Array) -> jax.Array:
    if isinstance(readout, Bits):
        return density.bit_probabilities(form, readout.bits, state)
    return density.read_qubits(readout, form, state)


def require_state(form: Lowered, columns: int, dtype: Any, device_bits: int = 0) -> None:
    """Refuse states that do not fit; a run holds about two copies of what a device has of them."""
    itemsize = 2 * np.dtype(dtype).itemsize
    matrix = f"density matri{'ces' if columns > 1 else 'x'}"
    what = matrix if form.is_density else f"state{'s' * (columns > 1)}"
    width = form.circuit.n_qubits
    wires = f" on {width} wires" if width not in (form.n_qubits, 2 * form.n_qubits) else ""
    require_memory(
        2 * itemsize * columns * 2 ** (width - device_bits),
        f"Running {columns} {what} of {form.n_qubits} qubits{wires}{_cut(device_bits)}",
        "use fewer qubits, a smaller batch or single precision" + _way_out(form),
    )


def _way_out(form: Lowered) -> str:
    """What else there is where a state is too wide."""
    if form.circuit.n_qubits > form.n_qubits * (1 + form.is_density):
        return ", or measure into fewer bits, which may be used again"
    return ", or `trajectories` of pure states" if form.has_trajectories else ""


def _cut(device_bits: int) -> str:
    return f" cut over {2**device_bits} devices" if device_bits else ""


class Observed(NamedTuple):
    """What a function of `expectation` was built from."""

    circuit: Circuit
    observables: tuple[PauliSum, ...]
    options: PlanOptions


def observed(function: Compiled) -> Observed | None:
    """What a compiled function was built from, if it gives expectation values."""
    build, arguments = function.parts
    if build is not _run_and_read or arguments[3] != "expectation" or needs_density(arguments[0]):
        return None
    circuit, options, readout, *_ = arguments
    if state_axes_of(options, can_cut(circuit), circuit.n_qubits):
        return None
    if not all(isinstance(operator, PauliSum) for operator in readout.args[0]):
        return None
    return Observed(circuit, readout.args[0], options)
