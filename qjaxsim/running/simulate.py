"""The engine's functions: build one from a circuit, call it with parameters.

Each function built here is pure and jitted, takes `params` (a dictionary by parameter name) and can be used inside
`jax.jit`, `grad`, `vmap` and `hessian`. Leading axes of any parameter are batch axes and broadcast like NumPy's. The
engine sees from the shapes which parameters carry a batch and does the others' share of the work once.

Qubit 0 is the most significant bit of every index. Results are complex64 or float32 unless a parameter is float64
(which needs JAX's x64 mode), then complex128 or float64.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from qjaxsim.circuits.circuit import Circuit, require_circuit
from qjaxsim.circuits.inspection import has_projection, is_static
from qjaxsim.circuits.methods import Qubits
from qjaxsim.circuits.observables import Observable, checked_observables, is_single
from qjaxsim.circuits.weighted import centred, weighted
from qjaxsim.common.checks import positive_integer
from qjaxsim.common.memory import require_memory
from qjaxsim.planning.bit_use import without_last
from qjaxsim.planning.deferring import lowered, needs_density
from qjaxsim.planning.doubling import is_mixed, is_noisy
from qjaxsim.planning.options import PlanOptions, plan_options
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.readout import Errors, coherent_qubits, operators_read, readout_errors
from qjaxsim.running import density, kernels, measurement, operators, pieces
from qjaxsim.running.adjoint import run_on_identity, run_on_states, uses_adjoint
from qjaxsim.running.batching import parse_params
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.devices import state_axes_of
from qjaxsim.running.pieces import Reading, outcome_reading
from qjaxsim.running.prepare import Setting
from qjaxsim.running.sampling import draw_outcomes, require_key
from qjaxsim.running.shots import estimated
from qjaxsim.running.state_functions import (
    Bits,
    Params,
    Run,
    asked_bits,
    asked_qubits,
    can_cut,
    check_call,
    check_draw,
    check_from_zero,
    require_state,
    require_state_axes,
    state_function,
)
from qjaxsim.running.strengths import check_strengths
from qjaxsim.running.varying import vary_alike
from qjaxsim.running.weighting import weighted_function


def statevector(circuit: Circuit, *, options: PlanOptions | None = None) -> Run:
    """A function giving the final state.

    Args:
        circuit: what to run; a snapshot is taken.
        options: forced choices of the planner.

    Returns:
        `f(params, *, initial=None) -> (..., 2**n)` complex, `...` being the broadcast batch axes. `initial` is a state
        to begin with, (..., 2**n) real or complex, batch axes like a parameter's; it is divided by its norm, with
        derivatives through that. `density_matrix`, `probabilities`, `sample`, `variance` and, without `shots`,
        `expectation` take it, too.

    Raises:
        ValueError: on calling, for missing, unknown or wrongly shaped parameters, and impossible strengths of channels.
        TypeError: on calling, for complex or non-numeric parameters.
        MemoryError: on calling, if the state does not fit, naming the GiB.

    >>> import qjaxsim as qj
    >>> state = qj.statevector(qj.Circuit(1).ry(qj.Parameter("theta"), 0))
    >>> print(np.asarray(state({"theta": np.array([1.0, 2.0])})).real.round(3))  # cosine, sine of half the angle
    [[0.878 0.479]
     [0.54  0.841]]
    """
    _require_pure(circuit, "state vector", "`density_matrix`")
    reading = Reading(pieces.amplitudes, spread=True)
    return state_function(circuit, options, kernels.to_complex, "statevector", reading=reading)


def density_matrix(circuit: Circuit, qubits: Qubits | None = None, *, options: PlanOptions | None = None) -> Run:
    """A function giving the final density matrix, or that of some qubits with the others traced out.

    Args:
        circuit: what to run, channels among it; a snapshot is taken.
        qubits: those kept, k of them, the first the most significant bit of rows and columns; None for all in order.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., 2**k, 2**k)` complex, of trace 1. Raises like `statevector`. Cost: that of a state of 2 n
        qubits; of n where the circuit has no channel, and 2**(n + k) multiply-adds more.

    >>> import qjaxsim as qj
    >>> noisy = qj.Circuit(1).h(0).phase_flip(qj.Parameter("p"), 0)
    >>> print(np.asarray(qj.density_matrix(noisy)({"p": 0.25})).real.round(6))  # coherences times 1 - 2 p
    [[0.5  0.25]
     [0.25 0.5 ]]
    >>> bell = qj.Circuit(2).h(0).cx(0, 1)
    >>> print(np.asarray(qj.density_matrix(bell, 1)()).real.round(6))  # one of two entangled qubits knows nothing
    [[0.5 0. ]
     [0.  0.5]]
    """
    chosen = asked_qubits(circuit, qubits, "density_matrix")
    check, before = check_call(circuit), check_strengths(circuit)
    circuit = without_last(circuit, chosen)
    read = functools.partial(density.entries if needs_density(circuit) else density.of_pure, chosen)
    flat = state_function(circuit, options, read, "density_matrix")
    return Compiled(_square, flat, len(chosen), check=check, before=before)


def _square(flat: Run, n_kept: int) -> Run:
    def density_matrix(params: Params | None = None, *, initial: Any = None) -> jax.Array:
        entries = flat(params, initial=initial)  # of which there is no more than a program here
        require_memory(
            entries.size * entries.dtype.itemsize,
            f"A result of `density_matrix` of shape {(*entries.shape[:-1], 2**n_kept, 2**n_kept)}",
            "name fewer `qubits`, or use a smaller batch or single precision",
        )
        return entries.reshape(*entries.shape[:-1], 2**n_kept, 2**n_kept)

    return density_matrix


def expectation(
    circuit: Circuit,
    observables: Observable | Iterable[Observable],
    *,
    shots: int | None = None,
    options: PlanOptions | None = None,
) -> Run:
    """A function giving expectation values, exact and all in one run, or estimated from measurements.

    Args:
        circuit: what to run; a snapshot is taken.
        observables: one or several: Pauli sums with real coefficients, operators (`qj.Hermitian`, `qj.Diagonal`,
            `qj.Projector`, `qj.SparseHermitian`), sums of both, coefficients of which may be parameters; and Qiskit's
            SparsePauliOp, Pauli and SparseObservable as wide as the circuit, whose qubit q is the circuit's qubit q, as
            `from_qiskit` keeps it.
        shots: None for exact values; a number for estimates without bias from so many measurements of each group of
            Pauli terms that commute qubit by qubit (the greedy grouping puts long terms first), and of each diagonal on
            more than four qubits.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., n_observables)` real, or (...) for a single one; with `shots` it is `f(params, key)`.
        Parameters of coefficients belong to `params`, with batch axes like any other. Raises like `statevector`.

        With `shots`, derivatives of any order and mode in angles are those of the parameter-shift rule, as on hardware:
        each shifted circuit, two for a rotation's angle and four for a controlled one's, is run with shots of its own.

    Raises:
        ValueError: with `shots`, for all but gates (channels, measurements, resets, conditions, initial states,
            projections, readout errors), matrices that are parameters, and wide operators that are not diagonal.

    >>> import qjaxsim as qj
    >>> energy = qj.expectation(qj.Circuit(1).ry(qj.Parameter("theta"), 0), qj.Z(0))
    >>> round(float(energy({"theta": 0.5})), 3)  # the cosine
    0.878
    >>> round(float(jax.grad(lambda theta: energy({"theta": theta}))(0.5)), 3)
    -0.479
    >>> measured = qj.expectation(qj.Circuit(1).x(0), qj.Z(0), shots=100)
    >>> float(measured({}, jax.random.key(0)))
    -1.0
    """
    require_circuit("circuit", circuit)
    asked = weighted(checked_observables(observables, circuit.n_qubits))
    single = is_single(observables)
    if shots is not None:
        return estimated(circuit, asked, positive_integer("shots", shots), options, single)
    circuit = without_last(circuit, coherent_qubits(asked.operators))
    module = density if needs_density(circuit) else operators
    read = operators_read(asked.operators, readout_errors(circuit))
    readout = functools.partial(module.operator_values, read)
    reading = Reading(functools.partial(pieces.operator_values, read))
    if asked.is_plain:
        return state_function(circuit, options, readout, "expectation", single, reading)
    values = state_function(circuit, options, readout, "expectation", reading=reading)
    return weighted_function(values, circuit, asked, single)


def variance(
    circuit: Circuit, observables: Observable | Iterable[Observable], *, options: PlanOptions | None = None
) -> Run:
    """A function giving exact variances <O^2> - <O>^2, of O in the final state.

    Args:
        circuit: what to run; a snapshot is taken.
        observables: as of `expectation`, with numbers as coefficients.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., n_observables)` real, or (...) for a single one. Raises like `statevector`. Of pure states
        computed as the squared norm of (O - <O>) psi, so that it is exact to rounding near eigenstates too; of others,
        which channels, measurements and resets make, as the difference. Cost: one more state for each observable.

    Raises:
        ValueError: for a parameter as coefficient, and for readout errors.

    >>> import qjaxsim as qj
    >>> spread = qj.variance(qj.Circuit(1).ry(qj.Parameter("theta"), 0), qj.Z(0))
    >>> round(float(spread({"theta": 0.5})), 3)  # the sine squared
    0.23
    """
    require_circuit("circuit", circuit)
    asked = weighted(map(centred, checked_observables(observables, circuit.n_qubits)))
    if asked.parameters:
        raise ValueError(
            "Argument `observables` must have numbers as coefficients for a variance, but uses the parameters "
            f"{list(asked.parameters)}."
        )
    if readout_errors(circuit):
        raise ValueError("A variance is that of a state; leave the circuit's readout errors out.")
    circuit = without_last(circuit, coherent_qubits(asked.operators))
    if is_static(circuit.operations) and not is_noisy(circuit):
        readout = functools.partial(operators.variances, asked)
        reading = Reading(functools.partial(pieces.variances, asked))
        return state_function(circuit, options, readout, "variance", is_single(observables), reading)
    module = density if needs_density(circuit) else operators
    moments = state_function(circuit, options, functools.partial(module.moments, asked), "moments")
    parts = moments, asked.n_observables, is_single(observables)
    return Compiled(_spread, *parts, check=check_call(circuit), before=check_strengths(circuit))


def _spread(moments: Run, count: int, single: bool) -> Run:
    def variance(params: Params | None = None, *, initial: Any = None) -> jax.Array:
        values = moments(params, initial=initial)
        means, squares = values[..., :count], values[..., count:]
        spread = density.none_below_zero(squares - means**2, squares)
        return spread[..., 0] if single else spread

    return variance


def probabilities(
    circuit: Circuit,
    qubits: Qubits | None = None,
    *,
    bits: Qubits | None = None,
    options: PlanOptions | None = None,
) -> Run:
    """A function giving the probabilities of measurement outcomes.

    Args:
        circuit: what to run; a snapshot is taken.
        qubits: those measured, the first the most significant bit of an outcome; None for all in order.
        bits: instead of qubits, classical bits that the circuit measures into, likewise.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., 2**len(qubits))` real. Raises like `statevector`.

    >>> import qjaxsim as qj
    >>> ghz = qj.Circuit(3).h(0).cx(0, 1).cx(1, 2)
    >>> print(np.asarray(qj.probabilities(ghz, [0, 2])()).round(3))
    [0.5 0.  0.  0.5]
    """
    if bits is not None:
        asked = asked_bits(circuit, qubits, bits)
        return state_function(without_last(circuit, asked=asked), options, Bits(asked), "probabilities")
    chosen = asked_qubits(circuit, qubits)
    circuit = without_last(circuit)
    module = density if needs_density(circuit) else measurement
    exact = functools.partial(module.marginal_probabilities, chosen)
    errors = readout_errors(circuit)
    readout = functools.partial(_read, exact, chosen, errors)
    return state_function(circuit, options, readout, "probabilities", reading=outcome_reading(chosen, errors))


def _read(exact: density.Readout, qubits: Sequence[int], errors: Errors, state: jax.Array) -> jax.Array:
    return density.read_wrongly(exact(state), qubits, errors)


def sample(
    circuit: Circuit,
    shots: int,
    qubits: Qubits | None = None,
    *,
    bits: Qubits | None = None,
    options: PlanOptions | None = None,
) -> Run:
    """A function drawing measurement outcomes.

    Args:
        circuit: what to run; a snapshot is taken.
        shots: draws for each element of the batch.
        qubits: those measured; None for all in order.
        bits: instead of qubits, classical bits that the circuit measures into.
        options: forced choices of the planner.

    Returns:
        `f(params, key) -> (..., shots, len(qubits))` int32, 0 or 1, and -1 where probabilities are NaN. Raises like
        `statevector`, and TypeError if it is differentiated: outcomes have no derivative. Cost: the probabilities, and
        a step for each shot and qubit.

    >>> import qjaxsim as qj
    >>> bell = qj.Circuit(2).h(0).cx(0, 1)
    >>> bits = qj.sample(bell, shots=100)({}, jax.random.key(0))
    >>> bits.shape, bool((bits[:, 0] == bits[:, 1]).all())
    ((100, 2), True)
    """
    count = positive_integer("shots", shots)
    distribution = probabilities(circuit, qubits, bits=bits, options=options)
    reading = None if bits is not None else outcome_reading(asked_qubits(circuit, qubits), readout_errors(circuit))
    stays = reading is not None and reading.spread and can_cut(without_last(circuit))
    parts = distribution, count, plan_options(options), stays, circuit.n_qubits
    check = functools.partial(check_draw, circuit.parameters, circuit.n_qubits)
    return Compiled(_draws, *parts, check=check, before=check_strengths(circuit))


def _draws(distribution: Run, shots: int, options: PlanOptions, stays: bool, n_qubits: int) -> Run:
    def sample(params: Params | None, key: jax.Array, *, initial: Any = None) -> jax.Array:
        require_key(key)
        weights = distribution(params, initial=initial)
        flat = weights.reshape(-1, weights.shape[-1])
        keys = jax.random.split(key, len(flat))
        axes = state_axes_of(options, initial is None, n_qubits) if stays else ()
        outcomes = jax.vmap(functools.partial(draw_outcomes, shots=shots, axes=axes))(keys, flat)
        return outcomes.reshape(*weights.shape[:-1], *outcomes.shape[1:])

    return sample


def unitary(circuit: Circuit, *, options: PlanOptions | None = None) -> Run:
    """A function giving the circuit's matrix.

    Args:
        circuit: what to run, without projections; a snapshot is taken.
        options: forced choices of the planner.

    Returns:
        `f(params) -> (..., 2**n, 2**n)` complex. Raises like `statevector`.

    >>> import qjaxsim as qj
    >>> print(np.asarray(qj.unitary(qj.Circuit(2).cx(0, 1))()).real.round().astype(int))
    [[1 0 0 0]
     [0 1 0 0]
     [0 0 0 1]
     [0 0 1 0]]
    """
    require_circuit("circuit", circuit)
    snapshot = circuit.copy()
    _require_pure(circuit, "unitary", "`density_matrix`")
    if has_projection(snapshot.operations):
        raise ValueError("A circuit with projections has no unitary; remove `project` or use `statevector`.")
    if plan_options(options).state_axes:
        require_state_axes(snapshot, None, "unitary")
    check = check_from_zero(check_call(snapshot), "`unitary`", "use `statevector`, which takes it")
    return Compiled(_unitary, snapshot, plan_options(options), check=check)


def _unitary(snapshot: Circuit, chosen: PlanOptions) -> Run:
    def unitary(params: Params | None = None) -> jax.Array:
        batch = parse_params(params, snapshot.parameters, native=False)
        require_state(lowered(snapshot), 2**snapshot.n_qubits * batch.total, batch.dtype)
        size = 2**snapshot.n_qubits
        plan = make_plan(snapshot, batch=size, options=chosen, from_zero=False)
        adjoint = uses_adjoint(plan, size, np.dtype(batch.dtype).itemsize, chosen)
        setting = Setting(batch.dtype, frozenset(), size, chosen.unroll, adjoint)

        def single(env: Mapping[str, jax.Array]) -> jax.Array:
            return kernels.to_complex(run_on_identity(plan, env, setting))

        return batch.map(single)

    return unitary


def apply_circuit(circuit: Circuit, params: Params, state: jax.Array) -> jax.Array:
    """Run a circuit on given states, inside a function of one's own: nothing is jitted or checked here.

    Args:
        circuit: what to run.
        params: by name, weights in the parameter's shape, data with an axis of samples in front.
        state: (2, 2**n, samples) real and imaginary part.

    Returns:
        An array like the state.
    """
    samples = state.shape[2]
    params, state = vary_alike((dict(params), state))
    data = [name for name, shape in circuit.parameters.items() if params[name].ndim > len(shape)]
    env = {name: value.reshape(samples, -1).T if name in data else value.reshape(-1) for name, value in params.items()}
    plan = make_plan(circuit, data, samples, from_zero=False)
    return run_on_states(plan, env, Setting(state.dtype, plan.data, samples, 1), state)


def _require_pure(circuit: Circuit, what: str, way_out: str) -> None:
    """Refuse circuits with channels where there is nothing of the kind."""
    require_circuit("circuit", circuit)
    if is_mixed(circuit):
        parts = "channels" if is_noisy(circuit) else "measurements or resets on its way"
        raise ValueError(f"A circuit with {parts} has no {what}; use {way_out}, or leave them out.")
