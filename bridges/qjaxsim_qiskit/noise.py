"""Noise models to and from Qiskit Aer, and those of backends."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import qjaxsim as qj
from qjaxsim.circuits.channels import kraus_matrices
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.measurements import Reset, misreading
from qjaxsim.circuits.noise import NoiseModel, Relaxation, Rule
from qjaxsim.circuits.noise_places import RESET
from qjaxsim.circuits.operations import Gate
from qjaxsim.circuits.reference import unitary
from qjaxsim.common.extras import require
from qjaxsim.planning.doubling import doubled
from qjaxsim_qiskit.channels import LEAST, as_kraus

if TYPE_CHECKING:
    from qiskit_aer.noise import NoiseModel as AerNoiseModel

# What Aer runs as one instruction, and what is a state or several gates on import.
_MANY = "mcp mcphase mcr mcrx mcry mcrz mcswap mcsx mcu mcu1 mcu2 mcu3 mcx mcx_gray mcy mcz"
_NO_GATES = frozenset(["initialize", "diagonal", "multiplexer", *_MANY.split()])


def from_aer_noise_model(model: "AerNoiseModel", qubits: Sequence[int] | None = None) -> NoiseModel:
    """A noise model of Aer's as one of this package, qubit q being qubit q.

    Args:
        model: built by hand or by `NoiseModel.from_backend`.
        qubits: only the noise of these, as that of qubits 0, 1, ...; None for all.

    Returns:
        The model: every error as a constant channel, errors of some qubits in the place of those of all, relaxation in
        delays, readout errors of one qubit each.

    Raises:
        ImportError: if Aer is missing, naming the extra.
        TypeError: for anything but a noise model of Aer's.
        ValueError: for readout errors of several qubits together, for quantum errors of measurements and of what is no
            gate here (`initialize`, and what is written out on import, as `mcx`), and for noise that passes over a
            schedule add, other than relaxation in delays.

    >>> from qiskit_aer import noise
    >>> aer = noise.NoiseModel()
    >>> aer.add_all_qubit_quantum_error(noise.depolarizing_error(0.01, 2), ["cx"])
    >>> from_aer_noise_model(aer)
    <NoiseModel: 1 rules, after cx>
    """
    require("qiskit_aer", "Noise models of Aer need the package qiskit-aer", "qiskit")
    from qiskit_aer.noise import NoiseModel as AerNoiseModel

    if not isinstance(model, AerNoiseModel):
        raise TypeError(f"Argument `model` must be a NoiseModel of qiskit_aer, but is {type(model).__name__}.")
    out = NoiseModel()
    wanted = None if qubits is None else frozenset(qubits)
    local: Mapping[str, Mapping[tuple[int, ...], Any]] = model._local_quantum_errors
    named = {*local, *model._default_quantum_errors}
    if no_gates := sorted(named & _NO_GATES):
        raise ValueError(
            f"Argument `model` has a quantum error of {no_gates[0]!r}, which is no gate here; append the error to the "
            "circuit, as an instruction after it (`error.to_instruction()`)."
        )
    if "measure" in named:
        raise ValueError(
            "Argument `model` has a quantum error of 'measure', which has no place where nothing is measured on the "
            "way; give readout errors instead (`add_readout_error`)."
        )
    for name, error in model._default_quantum_errors.items():
        except_at = frozenset(map(tuple, local.get(name, ())))
        # Of gates by a label Aer's error has the first qubits, however many there are.
        out.extend([Rule(frozenset([name]), _noise_of(error), None, except_at, at_first=name not in GATES)])
    for name, errors in local.items():
        for place, error in errors.items():
            if wanted is None or wanted.issuperset(place):
                out.extend([Rule(frozenset([name]), _noise_of(error), frozenset([tuple(place)]))])
    for each in model._custom_noise_passes:
        _relax(out, each)
    for place, error in model._local_readout_errors.items():
        if wanted is None or wanted.issuperset(place):
            out.readout_error(*_misread(error), [int(qubit) for qubit in place])
    if model._default_readout_error is not None:
        own = [int(qubit) for place in model._local_readout_errors for qubit in place]
        out.readout_error(*_misread(model._default_readout_error), except_at=own)
    return out if qubits is None else out.on(qubits)


def from_backend(backend: Any, qubits: Sequence[int] | None = None) -> NoiseModel:
    """The noise that Aer reads from a backend's properties: gate errors, relaxation, readout.

    Args:
        backend: of the runtime, a fake one such as `qiskit_ibm_runtime.fake_provider.FakeBrisbane()`, or the name of a
            fake one.
        qubits: only the noise of these, as that of qubits 0, 1, ...; None for all.

    Raises:
        ImportError: as `from_aer_noise_model`.
        TypeError: for anything but a backend.
        ValueError: as `from_aer_noise_model`, and for unknown names.

    The noise follows the backend's own gates (such as "sx" and "cx"): transpile a circuit to the backend before.

    >>> from_backend("fake_manila", [0, 1])
    <NoiseModel: 10 rules, after cx, id, reset, sx, x, relaxation in delays, readout errors>
    """
    require("qiskit_aer", "Noise models of backends need the package qiskit-aer", "qiskit")
    from qiskit.providers import BackendV2
    from qiskit_aer.noise import NoiseModel as AerNoiseModel

    backend = by_name(backend)
    if not isinstance(backend, BackendV2):
        raise TypeError(
            'Argument `backend` must be a backend or the name of a fake one, such as "fake_manila", but is '
            f"{type(backend).__name__}."
        )
    return from_aer_noise_model(AerNoiseModel.from_backend(backend), qubits)


def by_name(backend: Any) -> Any:
    """The fake backend of a name; anything but a string as it is.

    Raises:
        ValueError: for an unknown name.
    """
    if not isinstance(backend, str):
        return backend
    from qjaxsim_qiskit.service import LOCAL, connect, find_backend

    return find_backend(backend, connect(LOCAL))


def to_aer_noise_model(model: NoiseModel, n_qubits: int) -> "AerNoiseModel":
    """This package's noise model as one of Aer's, for circuits of a width.

    Args:
        model: without parameters; every rule names its gates. A name that is no gate's is the label of gates as wide
            as the noise after it, or as the places that the rule names.
        n_qubits: width of the circuits.

    Raises:
        ImportError: if Aer is missing, naming the extra.
        ValueError: for parameters, for rules that follow every gate or phases with several controls, which Qiskit has
            no name for, and for noise of one qubit after a label without saying where.

    >>> model = qj.NoiseModel().after("x", qj.Circuit(1).bit_flip(0.25, 0))
    >>> to_aer_noise_model(model, 2).noise_instructions
    ['x']
    """
    require("qiskit_aer", "Noise models of Aer need the package qiskit-aer", "qiskit")
    from qiskit_aer.noise import NoiseModel as AerNoiseModel
    from qiskit_aer.noise import ReadoutError

    out = AerNoiseModel(basis_gates=sorted({*_names(model), "cx", "rz", "sx", "x", "id"}))
    for name in _names(model):
        # Where Aer has an error for some qubits it forgets that for all, unless it is none: so each place gets its own.
        rules = [rule for rule in model.rules if name in (rule.gates or ())]
        if all(rule.places is None and not rule.except_at for rule in rules):
            (width,) = _widths(name, rules)
            _add(out, name, rules, tuple(range(width)), everywhere=True)
            continue
        for width in _widths(name, rules):
            for place in itertools.permutations(range(n_qubits), width):
                _add(out, name, rules, place)
    for qubit in range(n_qubits):
        if errors := model.readout(qubit):
            out.add_readout_error(ReadoutError(misreading(*errors).T), [qubit])
    # Aer asks every pass for the unit of every delay, also of qubits that it leaves alone.
    dt = next((each.dt for each in model.relaxations if each.dt is not None), None)
    for relaxation in model.relaxations:
        _add_relaxation(out, relaxation, n_qubits, dt)
    return out


def _names(model: NoiseModel) -> list[str]:
    for rule in model.rules:
        if rule.gates is None:
            raise ValueError("Argument `model` must name the gates of every rule, but one follows every gate.")
        if rule.noise.parameters:
            raise ValueError(
                f"Argument `model` must be without parameters, but has {list(rule.noise.parameters)}; build it with "
                "numbers."
            )
    return sorted({name for rule in model.rules for name in rule.gates or ()})


def _add(out: Any, name: str, rules: Iterable[Rule], place: tuple[int, ...], everywhere: bool = False) -> None:
    """All that follows a gate at a place as one error, which may be that of every place."""
    from qiskit.quantum_info import Kraus as QiskitKraus
    from qiskit_aer.noise import QuantumError

    width = len(place)
    at = tuple(range(width))
    noise = qj.Circuit(width)
    for rule in rules:
        if (rule.places is None or place in rule.places) and place not in rule.except_at:
            one = Reset(0) if name == RESET else Gate(name, at)
            noise.extend(replace(rule, places=None, except_at=frozenset()).after(one, width))
    if not len(noise):
        return
    # Bits of Qiskit's matrices run the other way: ours with its qubits turned round.
    turned = unitary(doubled(noise.on(at[::-1], width)))
    error = QuantumError(QiskitKraus(list(kraus_matrices(turned, LEAST))))
    if everywhere:
        out.add_all_qubit_quantum_error(error, name, warnings=False)
    else:
        out.add_quantum_error(error, name, list(place), warnings=False)


def _widths(name: str, rules: Sequence[Rule]) -> list[int]:
    """How many qubits the gates of a name have; a label may be that of gates of several widths."""
    if name in GATES and name not in set(GATES):  # made for any number of controls
        raise ValueError(
            f"Argument `model` has noise after {name!r}, which Qiskit has by another name, for any number of controls; "
            "export the circuit with its noise (`to_qiskit(model.apply(circuit))`)."
        )
    if name == RESET or name in GATES:
        return [1 if name == RESET else GATES[name].n_qubits]
    if any(rule.places is None and rule.noise.n_qubits == 1 and not rule.at_first for rule in rules):
        raise ValueError(
            f"Argument `model` has noise of one qubit after {name!r}, which is no gate's name, so that the width of "
            "what it follows is open; say where (`on`)."
        )
    anywhere = [rule.noise.n_qubits for rule in rules if rule.places is None]
    named = {len(place) for rule in rules for place in rule.places or ()}
    return sorted({*named, *([max(anywhere)] if anywhere else [])})


def _noise_of(error: Any) -> qj.Circuit:
    """An error of Aer's as one channel."""
    return qj.Circuit(error.num_qubits).extend([as_kraus(error, "error")])


def _misread(error: Any) -> tuple[float, float]:
    """The probabilities of reading 1 for 0, and 0 for 1."""
    table = np.asarray(error.probabilities)
    if table.shape != (2, 2):
        raise ValueError(
            f"Argument `model` has a readout error of {len(table).bit_length() - 1} qubits together; give each qubit "
            "its own."
        )
    return float(table[0, 1]), float(table[1, 0])


def _relax(model: NoiseModel, noise_pass: Any) -> None:
    """The relaxation that a pass of Aer's adds to delays.

    Raises:
        ValueError: for passes that do something else.
    """
    from qiskit.circuit import Delay
    from qiskit_aer.noise import RelaxationNoisePass

    if not isinstance(noise_pass, RelaxationNoisePass) or noise_pass._ops != (Delay,):
        raise ValueError(
            f"Argument `model` has a pass {type(noise_pass).__name__}, whose noise hangs on a schedule; only "
            "relaxation in delays comes over."
        )
    times = zip(noise_pass._t1s, noise_pass._t2s, noise_pass._p1s, strict=True)
    for qubit, (t1, t2, excited) in enumerate(times):
        if math.isinf(t1) and math.isinf(t2):
            continue
        # Rounding must not make T2 more than twice T1, which a backend's properties may be.
        model.relaxation(float(t1), min(float(t2), 2 * float(t1)), qubit, excited=float(excited), dt=noise_pass._dt)


def _add_relaxation(out: Any, relaxation: Relaxation, n_qubits: int, dt: float | None) -> None:
    """A pass of Aer's that adds relaxation to the delays of some qubits."""
    from qiskit.circuit import Delay
    from qiskit_aer.noise import RelaxationNoisePass

    chosen = [relaxation.qubits is None or qubit in relaxation.qubits for qubit in range(n_qubits)]
    t1s, t2s = ([time if each else math.inf for each in chosen] for time in (relaxation.t1, relaxation.t2))
    excited = [relaxation.excited] * n_qubits
    noise_pass = RelaxationNoisePass(t1s, t2s, dt, op_types=Delay, excited_state_populations=excited)
    out._custom_noise_passes.append(noise_pass)
