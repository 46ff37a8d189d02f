"""The same circuit, parameters and observables here and in Qiskit Aer, and how far the two are apart.

States are compared with their global phase; expectation values with Aer's EstimatorV2; counts of either side with the
exact probabilities of the other by a chi-square test; gradients by JAX with parameter shift on Aer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.inspection import is_static
from qjaxsim.circuits.noise import NoiseModel
from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.common.checks import integer_from, positive_integer, require_positive
from qjaxsim.common.extras import require
from qjaxsim.common.words import counted
from qjaxsim.planning.doubling import is_noisy
from qjaxsim_qiskit.crosschecking import aer
from qjaxsim_qiskit.crosschecking.checks import Check, CrossCheck
from qjaxsim_qiskit.crosschecking.comparing import P_VALUE, p_value, paired_seconds, timed
from qjaxsim_qiskit.crosschecking.dynamic import DYNAMIC_SHOTS, dynamic_checks
from qjaxsim_qiskit.crosschecking.noisy import Noise, noise_of, noisy_checks
from qjaxsim_qiskit.exporting import assignment, known_by, to_qiskit
from qjaxsim_qiskit.importing.imported import from_qiskit
from qjaxsim_qiskit.meaning.layouts import without_delays
from qjaxsim_qiskit.meaning.rotations import rotations_of
from qjaxsim_qiskit.observables import to_sparse_pauli_op
from qjaxsim_qiskit.ordering import reverse_state

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

TOLERANCES = {"float64": 1e-10, "float32": 2e-5}


def crosscheck(
    circuit: "qj.Circuit | QuantumCircuit",
    params: Any = None,
    observables: Any = None,
    *,
    shots: int | None = None,
    seed: int = 0,
    gradients: bool = True,
    max_rotations: int = 400,
    tolerance: float | None = None,
    evolution: str = "synthesis",
    noise: Any = None,
    title: str = "",
) -> CrossCheck:
    """How far this engine and Qiskit Aer are apart on a circuit.

    Args:
        circuit: ours, which is exported and run on Aer, or Qiskit's, which is imported and run here; final measurements
            are left out, and a transpiled one is brought back to the qubits that it was written for.
        params: parameters of our circuit, with batch axes or without, or of Qiskit's as Qiskit binds them, as for
            `ImportedCircuit.params`; default one set, uniform in [-pi, pi).
        observables: Pauli sums, ours or Qiskit's operators of the circuit's width; default X and Z on every qubit and
            one string of X, Y, Z on all.
        shots: draws on either side for a test of counts; None for none. A circuit that measures on its way, resets or
            depends on measured bits is compared by the counts of all its bits and qubits alone, 10,000 by default.
        seed: of parameters, draws and the choice of gradients.
        gradients: whether to compare them.
        max_rotations: shifted rotations at most. Parameters are chosen at random until they take part in so many (one
            at least), which the check's detail says.
        tolerance: largest difference allowed; by default 1e-10 in double precision and 2e-5 in single.
        evolution: what a PauliEvolutionGate of a Qiskit circuit is on either side, as for `from_qiskit`.
        noise: a `qjaxsim.NoiseModel`, one of Aer's, a backend, or the name of a fake one, such as "fake_manila"; for a
            backend the circuit is transpiled to it and run on the qubits in use, whose order the observables follow.
            Then density matrices, expectation values before readout and counts after it are compared, as for a circuit
            that has channels of its own.
        title: for the table.

    Returns:
        The comparisons. Nothing is raised where the two disagree.

    Raises:
        ImportError: if Qiskit or Aer is missing, naming the extra.
        ValueError: for what cannot be imported or exported, or wrong params, observables or options.

    Cost: besides our own, a state on Aer for each sample, and two for each shifted rotation.

    >>> circuit = qj.Circuit(2).ry(qj.Parameter("theta"), 0).cx(0, 1)
    >>> found = crosscheck(circuit, {"theta": 0.5}, gradients=False)
    >>> found.agrees, found.checks[0].quantity
    (True, 'state')
    """
    shots, max_rotations, seed = check_options(shots, max_rotations, tolerance, seed)
    require("qiskit_aer", "Comparing with Qiskit Aer needs the package qiskit-aer", "qiskit")
    noisy = None if noise is None else noise_of(noise, circuit, seed, evolution)
    if noisy is not None:
        circuit = noisy.circuit
    pair = pair_of(circuit, params, observables, seed, evolution, delays=noisy is not None)
    if not is_static(pair.circuit.operations):
        found = dynamic_checks(pair, noisy, shots or DYNAMIC_SHOTS, seed)
        return _named(pair, seed, found, title or repr(pair.circuit))
    if noisy is not None or is_noisy(pair.circuit):
        found = noisy_checks(pair, noisy or Noise(NoiseModel(), None, circuit), shots, seed, tolerance)
        return _named(pair, seed, found, title or f"{pair.circuit!r} under noise")
    bound = tolerance if tolerance is not None else TOLERANCES[pair.dtype]
    checks, exact = _states(pair, bound)
    checks.append(_expectations(pair, bound))
    if shots is not None:
        checks += _counts(pair, exact, shots, seed)
    if gradients and pair.places:
        checks.append(_gradients(pair, bound, max_rotations, seed))
    return _named(pair, seed, checks, title or repr(pair.circuit))


def _named(pair: "_Pair", seed: int, checks: Iterable[Check], title: str) -> CrossCheck:
    width, count = pair.circuit.n_qubits, pair.circuit.n_parameters
    return CrossCheck(title, width, count, len(pair.values), pair.dtype, seed, tuple(checks))


def expectations_on_aer(circuit: qj.Circuit, params: Mapping[str, Any], observables: Iterable[PauliSum]) -> np.ndarray:
    """Exact expectation values of our circuit by Aer alone, (samples, observables); arguments as in `crosscheck`."""
    pair = pair_of(circuit, params, observables, 0, "synthesis")
    return aer.expectations(pair.other, pair.values, pair.operators)


class _Integers(NamedTuple):
    """Options that are integers, as such."""

    shots: int | None
    max_rotations: int
    seed: int


def check_options(shots: int | None, max_rotations: int, tolerance: float | None, seed: int = 0) -> _Integers:
    """Refuse numbers out of range, before any work; those that are integers come back as such."""
    for name, value in (("shots", shots), ("max_rotations", max_rotations)):
        if value is not None and positive_integer(name, value) >= 2**31:
            raise ValueError(f"Argument `{name}` must be at most {2**31 - 1}, but is {value}.")
    if tolerance is not None:
        require_positive("tolerance", tolerance)
    drawn = None if shots is None else int(shots)
    return _Integers(drawn, int(max_rotations), integer_from(0, "seed", seed, 2**32 - 1))


def random_params(circuit: qj.Circuit, seed: int) -> dict[str, np.ndarray]:
    """Parameters uniform in [-pi, pi), by name, float64."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-np.pi, np.pi, shape) for name, shape in circuit.parameters.items()}


# --- both sides of one circuit -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Pair:
    """A circuit on both sides.

    Attributes:
        circuit: ours.
        other: Qiskit's, without measurements.
        params: ours, every parameter with one axis of samples in front.
        values: Qiskit's, one dictionary a sample.
        places: place of each of Qiskit's parameters in our flat parameters, in the order of `circuit.parameters`.
        observables: ours.
        dtype: of our parameters.
        notes: what was chosen on the way.
    """

    circuit: qj.Circuit
    other: "QuantumCircuit"
    params: dict[str, jax.Array]
    values: list[dict[Any, float]]
    places: dict[Any, int]
    observables: tuple[PauliSum, ...]
    dtype: str
    notes: tuple[str, ...]

    @property
    def operators(self) -> list[Any]:
        return [to_sparse_pauli_op(observable, self.circuit.n_qubits) for observable in self.observables]

    @property
    def norm(self) -> float:
        """Largest possible absolute value of an observable, at least 1."""
        return max(1.0, *(sum(map(abs, observable.terms.values())) for observable in self.observables))


def pair_of(
    given: "qj.Circuit | QuantumCircuit",
    params: Any,
    observables: Any,
    seed: int,
    evolution: str,
    *,
    delays: bool = False,
) -> _Pair:
    """One circuit as both simulators take it, with the same numbers; delays stay where noise may follow them."""
    notes: tuple[str, ...] = ()
    if isinstance(given, qj.Circuit):
        circuit, other = given, to_qiskit(given)
    else:
        imported = from_qiskit(given, evolution=evolution)
        circuit, other, notes = imported.circuit, imported.source, imported.notes
        params = imported.own_params(params)
    if not delays:
        other = without_delays(other)
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(
            f"Argument `params` must be a dictionary with the keys {sorted(circuit.parameters)}, but is "
            f"{type(params).__name__}."
        )
    chosen = default_observables(circuit.n_qubits) if observables is None else observables
    samples = _with_samples(random_params(circuit, seed) if params is None else params, circuit)
    count = len(next(iter(samples.values()))) if samples else 1
    named = known_by(other, samples)
    values = [assignment(other, {name: value[row] for name, value in named.items()}) for row in range(count)]
    # The same function tells where each of Qiskit's parameters stands, from parameters that hold their own places.
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in circuit.parameters.values())])
    numbered = {
        name: start + np.arange(np.prod(shape)).reshape(shape)
        for (name, shape), start in zip(circuit.parameters.items(), starts.tolist(), strict=False)
    }
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    return _Pair(
        circuit,
        other,
        {name: jax.numpy.asarray(value, dtype) for name, value in samples.items()},
        values,
        {parameter: int(place) for parameter, place in assignment(other, known_by(other, numbered)).items()},
        pauli_sums(chosen, circuit.n_qubits),
        dtype.name,
        notes,
    )


def default_observables(n_qubits: int) -> list[PauliSum]:
    """X and Z on every qubit, and one string of X, Y, Z in turn on all qubits."""
    single = [letter(qubit) for letter in (qj.X, qj.Z) for qubit in range(n_qubits)]
    return [*single, PauliSum.from_label("".join("XYZ"[qubit % 3] for qubit in range(n_qubits)))]


def _with_samples(params: Mapping[str, Any], circuit: qj.Circuit) -> dict[str, np.ndarray]:
    """Batch axes broadcast and joined into one axis, float64.

    Raises:
        ValueError: for missing or unknown names, or shapes that do not end in the parameter's.
    """
    if params.keys() != circuit.parameters.keys():
        raise ValueError(
            f"Argument `params` must have the keys {sorted(circuit.parameters)}, but has {sorted(params)}."
        )
    arrays = {name: np.asarray(params[name], float) for name in circuit.parameters}
    for name, shape in circuit.parameters.items():
        if arrays[name].shape[arrays[name].ndim - len(shape) :] != shape:
            raise ValueError(
                f"Parameter {name!r} must have shape (..., {', '.join(map(str, shape))}), but has {arrays[name].shape}."
            )
    batches = [
        a.shape[: a.ndim - len(shape)] for a, shape in zip(arrays.values(), circuit.parameters.values(), strict=True)
    ]
    batch = np.broadcast_shapes(*batches)
    return {
        name: np.broadcast_to(array, (*batch, *circuit.parameters[name])).reshape(-1, *circuit.parameters[name])
        for name, array in arrays.items()
    }


# --- comparisons -------------------------------------------------------------------------------------------------


def _states(pair: _Pair, tolerance: float) -> tuple[list[Check], tuple[np.ndarray, np.ndarray]]:
    """The comparisons, and the probabilities of both sides, which counts are held against."""
    ours, times = timed(qj.statevector(pair.circuit), pair.params)
    theirs, aer_times = timed(aer.states, pair.other, pair.values)
    a, b = _rows(ours, pair), reverse_state(theirs, pair.circuit.n_qubits)
    distance = float(np.abs(1 - np.abs((a.conj() * b).sum(axis=1)) ** 2).max())
    seconds = paired_seconds(times, aer_times)
    probabilities, times = timed(qj.probabilities(pair.circuit), pair.params)
    exact = _rows(probabilities, pair), np.abs(b) ** 2
    checks = [
        Check("state", "1 - fidelity", distance, tolerance, **seconds, detail="; ".join(pair.notes)),
        Check("amplitudes, with global phase", "largest difference", _distance(a, b), tolerance),
        Check(
            "probabilities",
            "largest difference",
            _distance(*exact),
            tolerance,
            **paired_seconds(times, None),
        ),
    ]
    return checks, exact


def _expectations(pair: _Pair, tolerance: float) -> Check:
    ours, times = timed(qj.expectation(pair.circuit, pair.observables), pair.params)
    theirs, aer_times = timed(aer.expectations, pair.other, pair.values, pair.operators)
    return Check(
        "expectation values",
        "largest difference",
        _distance(_rows(ours, pair), theirs),
        tolerance * pair.norm,
        **paired_seconds(times, aer_times),
        detail=counted(len(pair.observables), "observable"),
    )


def _counts(pair: _Pair, exact: tuple[np.ndarray, np.ndarray], shots: int, seed: int) -> list[Check]:
    """Counts of either side against the exact probabilities of the other."""
    n = pair.circuit.n_qubits
    theirs, aer_times = timed(aer.counts, pair.other, pair.values, shots, seed)
    draws, times = timed(qj.sample(pair.circuit, shots), pair.params, jax.random.key(seed))
    bits = np.asarray(draws).reshape(len(pair.values), shots, n)
    outcomes = bits @ (2 ** np.arange(n - 1, -1, -1))
    ours = np.stack([np.bincount(row, minlength=2**n) for row in outcomes])
    text = f"{counted(shots, 'shot')} a sample"
    pairs = (
        ("counts of Aer, our probabilities", reverse_state(theirs, n), exact[0], paired_seconds(None, aer_times)),
        ("our counts, probabilities of Aer", ours, exact[1], paired_seconds(times, None)),
    )
    # The least of several p-values falls with their number; each is held to its share of the bound.
    bound = P_VALUE / len(pair.values)
    return [
        Check(name, "p-value", min(map(p_value, drawn, wanted)), bound, **seconds, detail=text)
        for name, drawn, wanted, seconds in pairs
    ]


def _gradients(pair: _Pair, tolerance: float, max_rotations: int, seed: int) -> Check:
    chosen, rotations = _choose(pair, max_rotations, seed)
    places = [pair.places[parameter] for parameter in chosen]
    jacobian = jax.jit(jax.jacrev(qj.expectation(pair.circuit, pair.observables)))

    def ours() -> np.ndarray:
        return np.stack([_flat(jacobian(one), pair.circuit)[:, places] for one in _single(pair)])

    def theirs() -> np.ndarray:
        shifted = [aer.shift_gradients(pair.other, value, pair.operators, chosen) for value in pair.values]
        return np.stack(shifted)

    mine, times = timed(ours)
    other, aer_times = timed(theirs)
    return Check(
        "gradients, JAX and parameter shift",
        "largest difference",
        _distance(mine, other),
        tolerance * pair.norm * max(1.0, float(np.abs(other).max(initial=0.0))),
        **paired_seconds(times, aer_times),
        detail=f"{len(chosen)} of {counted(pair.circuit.n_parameters, 'parameter')}, "
        f"{counted(rotations, 'rotation')} shifted",
    )


def _choose(pair: _Pair, max_rotations: int, seed: int) -> tuple[list[Any], int]:
    """Parameters in random order until the rotations they take part in are enough, and how many these are."""
    taken = rotations_of(pair.other)
    order = np.random.default_rng(seed).permutation(len(taken)).tolist()
    names = list(taken)
    chosen, total = [names[order[0]]], taken[names[order[0]]]
    for position in order[1:]:
        if total + taken[names[position]] <= max_rotations:
            chosen.append(names[position])
            total += taken[names[position]]
    return chosen, total


def _single(pair: _Pair) -> list[dict[str, jax.Array]]:
    return [{name: value[row] for name, value in pair.params.items()} for row in range(len(pair.values))]


def _flat(tree: Mapping[str, jax.Array], circuit: qj.Circuit) -> np.ndarray:
    """A Jacobian by parameter as one matrix, (observables, parameters)."""
    return np.concatenate([np.asarray(tree[name]).reshape(len(tree[name]), -1) for name in circuit.parameters], axis=1)


def _rows(values: Any, pair: _Pair) -> np.ndarray:
    """One row a sample; a circuit without parameters has no axis of samples."""
    return np.asarray(values).reshape(len(pair.values), -1)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max(initial=0.0))
