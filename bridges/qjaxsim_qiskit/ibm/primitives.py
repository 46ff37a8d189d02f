"""Circuits in a backend's instruction set, and IBM's primitives, the new ones first."""

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qjaxsim_qiskit.meaning.angles import with_constants
from qjaxsim_qiskit.service import plain_errors

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

EXPECTATION, COUNTS = "expectation", "counts"

# Aer loses the angles of these gates where they are free parameters (qiskit-aer issues 2323, 2391, 2403; seen with Aer
# 0.18.2 in local mode on cp, crx, cry, crz, cu1 and cu3). IBM's devices have none of them, its simulator has all.
_LOST_BY_AER = ("cp", "cr", "cu", "mc")
_DEVICE_GATES = ("cx", "rz", "sx", "x")


def to_isa(
    circuit: "QuantumCircuit", backend: Any, *, optimization_level: int, seed: int, local: bool
) -> "QuantumCircuit":
    """The circuit in the backend's instruction set, on its qubits.

    Args:
        circuit: with or without free parameters.
        backend: a Qiskit `BackendV2`.
        optimization_level: 0 to 3, as Qiskit's.
        seed: of the transpiler.
        local: whether Aer will simulate the backend.

    Raises:
        TypeError: for anything but a backend.
        ValueError: if the circuit is wider than the backend, naming both widths; for delays between its ticks, and for
            control flow that it does not have.
        RuntimeError: if Qiskit cannot transpile it.
    """
    from qiskit.circuit import ParameterExpression
    from qiskit.providers import BackendV2
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit.transpiler.exceptions import TranspilerError

    if not isinstance(backend, BackendV2):
        given = f"the class {backend.__name__}" if isinstance(backend, type) else type(backend).__name__
        raise TypeError(f"Argument `backend` must be a BackendV2 of Qiskit's, but is {given}.")
    width = backend.num_qubits
    if width is not None and circuit.num_qubits > width:
        raise ValueError(
            f"The circuit has {circuit.num_qubits} qubits, but backend {backend.name} has {width}; "
            "choose a wider backend (`qjaxsim ibm backends`)."
        )
    aim: dict[str, Any] = {"backend": backend}
    names = sorted(backend.target.operation_names)
    kept = [name for name in names if not name.startswith(_LOST_BY_AER)]
    if local and kept != names:
        basis = list(_DEVICE_GATES) if set(_DEVICE_GATES) <= set(kept) else kept
        aim = {"basis_gates": basis, "coupling_map": backend.coupling_map}
    with plain_errors(f"Transpiling to {backend.name}"):
        manager = generate_preset_pass_manager(optimization_level=optimization_level, seed_transpiler=seed, **aim)
        try:
            isa = manager.run(circuit)
        except TranspilerError:
            _refuse_odd_delays(circuit, backend)
            _refuse_control_flow(circuit, backend)
            raise
    check_isa(isa, backend)
    if isinstance(isa.global_phase, ParameterExpression):
        # Nothing measured depends on it, and the runtime does not count its parameters.
        isa.global_phase = 0.0
    return with_constants(isa)


def _refuse_odd_delays(circuit: "QuantumCircuit", backend: Any) -> None:
    """Name a delay that the backend's clock cannot keep, of which Qiskit says that the circuit is not scheduled."""
    from qiskit.utils import apply_prefix

    target = backend.target
    tick = math.lcm(target.acquire_alignment, target.pulse_alignment)
    for number, instruction in enumerate(circuit.data):
        if instruction.name != "delay" or target.dt is None:
            continue
        duration, unit = instruction.operation.duration, instruction.operation.unit
        steps = round(duration if unit == "dt" else apply_prefix(duration, unit) / target.dt)
        if steps % tick:
            near = round(steps / tick) * tick
            raise ValueError(
                f"Delays must be multiples of {tick} dt on backend {backend.name}, but that of operation {number} is "
                f"{steps}; the nearest is {near} dt, or {near * target.dt:.6g} s."
            )


def _refuse_control_flow(circuit: "QuantumCircuit", backend: Any) -> None:
    """Name conditions and the like that the backend does not follow."""
    for number, instruction in enumerate(circuit.data):
        if instruction.is_control_flow() and instruction.name not in backend.target.operation_names:
            raise ValueError(
                f"Operation {number} of the circuit is {instruction.name}, but backend {backend.name} follows no such "
                "control flow; choose a backend that does, or write the circuit without."
            )


def check_bases(backend: Any) -> None:
    """Refuse backends without the gates by which the runtime's Estimator turns bases.

    Raises:
        ValueError: naming the gates.
    """
    if missing := sorted({"rz", "sx"} - set(backend.target.operation_names)):
        raise ValueError(
            f"Argument `observables` needs a backend with the gates rz and sx, by which the runtime's Estimator turns "
            f"bases, but {backend.name} has no {' and '.join(missing)}; choose another, or ask for counts, without any."
        )


def check_isa(circuit: "QuantumCircuit", backend: Any) -> None:
    """Refuse instructions that the backend does not have.

    The runtime's local mode does not check, and fails in the simulator when the result is asked for.

    Raises:
        ValueError: naming them.
    """
    known = set(backend.target.operation_names)
    # Barriers and the like say nothing to a device.
    foreign = {each.name for each in circuit.data if not each.is_directive()} - known
    if foreign:
        raise ValueError(
            f"The circuit holds {', '.join(sorted(foreign))}, but backend {backend.name} has only "
            f"{', '.join(sorted(known))}; transpile it to that backend."
        )


def new_primitive(
    kind: str, mode: Any, *, shots: int, resilience_level: int | None, seed: int, local: bool
) -> tuple[Any, Mapping[str, Any]]:
    """IBM's Estimator or Sampler, and what to record of it: class and resilience level in force.

    The classes built on the Executor are taken where the runtime has them (0.50 and later); the older ones, which it
    will drop, otherwise. They differ in local mode, where the older ones know no resilience.

    Args:
        kind: EXPECTATION or COUNTS.
        mode: a backend, or an open session or batch.
        shots: for each measurement basis and set of parameters.
        resilience_level: 0, 1 or 2, the runtime's mitigation; None for COUNTS.
        seed: of the local simulator.
        local: whether the job runs in this process.

    Raises:
        ImportError: if the runtime, or in local mode Aer, is missing.
        ValueError: for options out of range.
        RuntimeError: for failures of IBM's service.
    """
    with plain_errors("Running on a backend"):
        primitive, old = _primitive_class(kind)
        if local:
            # Without Aer the older classes would run without noise and say nothing.
            import qiskit_aer  # noqa: F401
        options: dict[str, Any] = {"default_shots": shots}
        if kind == EXPECTATION and not (old and local):
            options["resilience_level"] = resilience_level
        if local:
            options["simulator"] = {"seed_simulator": seed}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="qiskit_ibm_runtime|qjaxsim_qiskit")
            made = primitive(mode=mode, options=options)
    described = {
        "primitive": f"{primitive.__module__}.{primitive.__name__}",
        "resilience_level": options.get("resilience_level"),
    }
    return made, described


def _primitive_class(kind: str) -> tuple[Any, bool]:
    """The class, and whether it is one of the older ones. The only place that knows both."""
    try:
        from qiskit_ibm_runtime.executor_estimator import Estimator
        from qiskit_ibm_runtime.executor_sampler import Sampler
    except ImportError:
        from qiskit_ibm_runtime import EstimatorV2, SamplerV2

        return (EstimatorV2 if kind == EXPECTATION else SamplerV2), True
    return (Estimator if kind == EXPECTATION else Sampler), False
