"""The Hessian of an expectation value by the parameter-shift rule, through any of Qiskit's estimators."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.inspection import is_unitary
from qjaxsim.common.checks import integer_from, require_positive, shown
from qjaxsim.curvature.shifts import MeasuredHessian, shift_rule
from qjaxsim_qiskit.exporting import name_and_index
from qjaxsim_qiskit.ibm.work import Work, prepare
from qjaxsim_qiskit.meaning.layouts import final_places
from qjaxsim_qiskit.meaning.rotations import bound, one_parameter_a_rotation, slope
from qjaxsim_qiskit.noise import by_name
from qjaxsim_qiskit.observables import to_sparse_pauli_op

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_WAY_OUT = "write the angle without it"


def shift_hessian(
    circuit: "qj.Circuit | QuantumCircuit",
    params: Any,
    observable: Any,
    *,
    estimator: Any,
    shots: int | None = None,
    precision: float | None = None,
    backend: Any = None,
    optimization_level: int = 1,
    seed: int = 0,
) -> MeasuredHessian:
    """The Hessian of <O> as an estimator measures it, with the error bars that it reports.

    Qiskit's transpiler turns the circuit into rotations and gates without angles; every rotation is shifted by itself,
    and the chain rule goes through its angle, so that parameters may occur often and in expressions. All evaluations
    are one pub of one job.

    Args:
        circuit: ours, or Qiskit's, of which final measurements are left out.
        params: its parameters, without batch axes, as for `qjaxsim_qiskit.ibm.run`.
        observable: a Pauli sum, or one of Qiskit's operators of the circuit's width.
        estimator: a Qiskit EstimatorV2: `StatevectorEstimator()` or Aer's (exact by default), `BackendEstimatorV2`, the
            runtime's in session, batch or job mode, with its own mitigation.
        shots: of each evaluation, asked for as a precision of 1 / sqrt(shots).
        precision: standard error to ask for instead; default what the estimator's own is.
        backend: to transpile to, for estimators that take a device's instructions alone; a backend, or the name of a
            fake one.
        optimization_level: of Qiskit's transpiler to the backend, 0 to 3.
        seed: of that transpiler.

    Returns:
        Rows and columns in `ravel_pytree` order of our parameters (those of `qj.hessian`), or in that of Qiskit's
        `circuit.parameters`. Where an estimator draws errors but reports none (StatevectorEstimator), they are of the
        precision asked for.

    Raises:
        TypeError: for what is no estimator.
        ValueError: for wrong arguments, circuits with noise, without parameters or that cannot be imported, angles
            without a derivative.

    Cost: 1 + m + 2 m (m - 1) evaluations for m rotations that parameters take part in, and 2 m more where an angle is
    not affine in them.

    >>> from qiskit.primitives import StatevectorEstimator
    >>> w = qj.Parameter("w")
    >>> energy = qj.Circuit(1).ry(w, 0).ry(w, 0)  # <Z> = cos 2w
    >>> found = shift_hessian(energy, {"w": 0.0}, qj.Z(0), estimator=StatevectorEstimator())
    >>> found.mean.round(9)
    array([[-4.]])
    """
    asked = _precision(shots, precision)
    _require_estimator(estimator)
    work = prepare(circuit, params, observable)
    if len(work.observables) != 1:
        raise ValueError(f"Argument `observable` must be one observable, but holds {len(work.observables)}.")
    if work.batch:
        raise ValueError(f"Argument `params` must have no batch axes, but has {work.batch}.")
    if not is_unitary(work.ours.operations):
        raise ValueError(
            "Argument `circuit` must be made of gates alone, but has a state, channel, measurement or the like; write "
            "a state in gates, and give noise to the estimator (`to_aer_noise_model`)."
        )
    if not work.values:
        raise ValueError("Argument `circuit` must have a parameter, for second derivatives in it, but has none.")
    (values,) = work.runs
    rows, size = _rows(circuit, work)
    shifted, angles = one_parameter_a_rotation(work.circuit, values, set(rows))
    chosen = sorted(rows, key=rows.__getitem__)
    firsts = [[slope(angle, p, _WAY_OUT) for p in chosen] for angle in angles.values()]
    seconds = [[[slope(first, q, _WAY_OUT) for q in chosen] for first in each] for each in firsts]
    inner = _numbers(firsts, values, (len(angles), len(chosen)))
    rule = shift_rule(inner, _numbers(seconds, values, (*inner.shape, len(chosen))))
    weights = np.zeros((len(rule.shifts), size, size))
    weights[np.ix_(range(len(weights)), *[[rows[p] for p in chosen]] * 2)] = rule.weights
    base = np.array([bound(angle, values) for angle in angles.values()])
    table = dict(zip(angles, (base + rule.shifts).T, strict=True))
    operator = to_sparse_pauli_op(work.observables[0], work.circuit.num_qubits)
    if backend is not None:
        backend = by_name(backend)
        shifted, operator = _on_backend(shifted, operator, backend, optimization_level, seed)
    evs, stds = _evaluate(estimator, shifted, operator, table, len(weights), asked)
    return MeasuredHessian(evs, stds, weights, None if asked is None else asked**-2)


def _require_estimator(estimator: Any) -> None:
    from qiskit.primitives import BaseSamplerV2

    if isinstance(estimator, type | BaseSamplerV2) or not callable(getattr(estimator, "run", None)):
        raise TypeError(
            "Argument `estimator` must be an estimator of Qiskit's, such as `StatevectorEstimator()`, but is "
            f"{shown(estimator)}."
        )


def _precision(shots: int | None, precision: float | None) -> float | None:
    if shots is not None and precision is not None:
        raise ValueError("Arguments `shots` and `precision` say the same, so that one must be left out.")
    if shots is not None:
        return 1 / math.sqrt(integer_from(1, "shots", shots))
    if precision is not None:
        require_positive("precision", precision)
    return precision


def _rows(given: Any, work: Work) -> tuple[dict[Any, int], int]:
    """Row of each of Qiskit's parameters, and how many rows there are."""
    if not isinstance(given, qj.Circuit):
        return {p: row for row, p in enumerate(given.parameters) if p in work.values}, len(given.parameters)
    starts, size = {}, 0
    for name in sorted(given.parameters):
        starts[name], size = size, size + math.prod(given.parameters[name])
    placed = {parameter: name_and_index(parameter) for parameter in work.values}
    return {parameter: starts[name] + (index or 0) for parameter, (name, index) in placed.items()}, size


def _numbers(angles: Any, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.array(angles, dtype=object).reshape(-1)
    return np.array([bound(each, values) for each in flat]).reshape(shape)


def _on_backend(circuit: Any, operator: Any, backend: Any, level: int, seed: int) -> tuple[Any, Any]:
    from qjaxsim_qiskit.ibm.primitives import to_isa

    level = integer_from(0, "optimization_level", level, 3)
    isa = to_isa(circuit, backend, optimization_level=level, seed=integer_from(0, "seed", seed), local=False)
    return isa, operator.apply_layout(final_places(isa), isa.num_qubits)


def _evaluate(
    estimator: Any, circuit: Any, operator: Any, table: Any, count: int, precision: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Expectation values and standard errors (count,) at angles (count,) by parameter."""
    if not count:
        return np.zeros(0), np.zeros(0)
    # Positional values go by the circuit's own order; what the transpiler found without effect is not there any more.
    columns = [table[parameter] for parameter in circuit.parameters]
    positions = np.stack(columns, axis=1) if columns else np.zeros((count, 0))
    found = estimator.run([(circuit, operator, positions)], precision=precision).result()[0]
    evs, stds = np.array(found.data.evs, float), np.array(found.data.stds, float)
    if not stds.any() and precision is not None:
        stds = np.full(count, precision)
    return evs, stds
