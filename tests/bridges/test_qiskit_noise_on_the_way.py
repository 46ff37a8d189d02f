"""Noise where nothing but time passes, in measurements, resets and gates of one's own: against Aer and closed forms."""

import re

import jax
import numpy as np
import pytest

pytest.importorskip("qiskit_aer", reason="compares with Aer")

from qiskit import QuantumCircuit, transpile  # noqa: E402
from qiskit.circuit import Duration, Parameter  # noqa: E402
from qiskit.circuit.classical import expr  # noqa: E402
from qiskit.circuit.library import QFTGate, WeightedSumGate, XGate, zz_feature_map  # noqa: E402
from qiskit.quantum_info import Kraus, SuperOp  # noqa: E402
from qiskit_aer.noise import (  # noqa: E402
    NoiseModel,
    RelaxationNoisePass,
    amplitude_damping_error,
    depolarizing_error,
    pauli_error,
)
from qiskit_ibm_runtime.fake_provider import FakeManilaV2  # noqa: E402
from qjaxsim_qiskit import (  # noqa: E402
    crosscheck,
    from_aer_noise_model,
    from_backend,
    from_qiskit,
    ibm,
    to_aer_noise_model,
    to_qiskit,
)

import qjaxsim as qj  # noqa: E402

C = qj.Circuit


def flips(probability):
    return pauli_error([("X", probability), ("I", 1 - probability)])


def model_of(**errors):
    out = NoiseModel()
    for name, error in errors.items():
        out.add_all_qubit_quantum_error(error, name)
    return out


def one(*operations):
    """A circuit of one qubit and bit, in |1>, with some of its methods called."""
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    for name, *arguments in operations:
        getattr(circuit, name)(*arguments)
    return circuit


def chance(circuit, noise):
    """Of 1, here."""
    noisy = from_aer_noise_model(noise).apply(from_qiskit(circuit).circuit)
    return float(qj.probabilities(noisy)()[1])


# --- delays ----------------------------------------------------------------------------------------------------------


def test_errors_of_delays_follow_them_whatever_their_unit():
    noise = model_of(delay=amplitude_damping_error(0.3))
    circuit = one(("delay", 100, 0), ("delay", 2.5, 0, "us"), ("measure", 0, 0))
    assert chance(circuit, noise) == pytest.approx(0.49)
    assert crosscheck(circuit, noise=noise, shots=4000).agrees


def test_a_backends_qubits_relax_in_delays():
    device, waited = FakeManilaV2(), one(("delay", 100, 0, "us"))
    t1 = device.qubit_properties(3).t1
    scheduled = transpile(waited, device, optimization_level=0, scheduling_method="asap", initial_layout=[3])
    imported = from_qiskit(scheduled)
    (delay,) = [gate for gate in imported.circuit.operations if gate.name == "delay_dt"]
    assert delay.angles[0] * device.dt == pytest.approx(1e-4)
    bare = qj.NoiseModel().relaxation(t1, t1, dt=device.dt)
    for model in (bare, from_backend(device).on(imported.qubits)):
        without = qj.NoiseModel().extend(model.rules)
        ratio = [qj.density_matrix(each.apply(imported.circuit))()[1, 1].real for each in (model, without)]
        assert ratio[0] / ratio[1] == pytest.approx(np.exp(-1e-4 / t1), rel=1e-9)
    assert crosscheck(waited, noise="fake_manila", shots=4000).agrees
    assert crosscheck(scheduled, noise=device).agrees


@pytest.mark.parametrize("inside", [False, True])
def test_qubits_relax_in_delays_whose_durations_are_expressions(inside):
    circuit = waiting = one(("delay", expr.lift(Duration.us(50)), 0))
    if inside:
        circuit = QuantumCircuit(1, 1)
        circuit.append(waiting.to_instruction(), [0], [0])
    noise = qj.NoiseModel().relaxation(1e-4, 1e-4)
    assert float(qj.probabilities(noise.apply(from_qiskit(circuit).circuit))()[1]) == pytest.approx(np.exp(-0.5))
    assert crosscheck(circuit, noise=noise).agrees


@pytest.mark.parametrize(
    "time",
    [
        expr.mul(2.0, Duration.us(25)),
        expr.div(Duration.ms(0.1), 2.0),
        expr.sub(Duration.us(60), expr.add(Duration.us(4), Duration.us(6))),
        expr.mul(Duration.dt(500), 2.0),  # of 50 ns
    ],
)
def test_durations_that_are_sums_and_multiples_are_worked_out(time):
    noise = qj.NoiseModel().relaxation(1e-4, 1e-4, dt=5e-8)
    found = from_qiskit(one(("delay", time, 0))).circuit
    assert float(qj.probabilities(noise.apply(found))()[1]) == pytest.approx(np.exp(-0.5))


def test_delays_that_a_schedule_is_to_find_are_noted():
    circuit = QuantumCircuit(1)
    stretch = circuit.add_stretch("s")
    circuit.delay(stretch, 0)
    circuit.delay(expr.add(stretch, Duration.dt(4)), 0)
    found = from_qiskit(circuit)
    assert not len(found.circuit) and found.notes == ("2 delays that a schedule is to find: left out",)
    with pytest.raises(ValueError, match=r"operation 1 \(delay\) lasts seconds and units of a device together"):
        from_qiskit(one(("delay", expr.add(Duration.dt(4), Duration.ns(5)), 0)))


def test_relaxation_there_and_back():
    ours = qj.NoiseModel().relaxation(1e-4, 8e-5, [0, 2], excited=0.1, dt=2e-9).relaxation(3e-4, 6e-4, 1)
    assert from_aer_noise_model(to_aer_noise_model(ours, 3)).relaxations[0].dt == 2e-9
    t = qj.Parameter("t")
    circuit = C(3).h([0, 1, 2]).delay(t, [0, 1]).delay(3e-5, 2).delay_dt(1000, 0).h(1)
    times = {"t": np.array([0.0, 2e-5, 1e-3])}
    assert crosscheck(circuit, times, noise=ours).agrees
    noisy = ours.apply(C(3).x(1).delay(t, 1))
    decayed = qj.expectation(noisy, (1 - qj.Z(1)) / 2)
    np.testing.assert_allclose(decayed({"t": 1e-4}), np.exp(-1 / 3), atol=1e-12)
    np.testing.assert_allclose(jax.grad(lambda t: decayed({"t": t}))(1e-4), -np.exp(-1 / 3) / 3e-4, rtol=1e-9)


def test_delays_of_unknown_units_and_other_passes_are_refused():
    with pytest.raises(
        ValueError, match=r"a delay on qubit 1 in units of a device; give the noise model their seconds"
    ):
        qj.NoiseModel().relaxation(1.0, 1.0).apply(C(2).delay_dt(5, 1))
    gates = NoiseModel()
    gates._custom_noise_passes.append(RelaxationNoisePass([1.0], [1.0]))
    with pytest.raises(ValueError, match="has a pass RelaxationNoisePass, whose noise hangs on a schedule"):
        from_aer_noise_model(gates)
    with pytest.raises(ValueError, match="t2 is 3, but at most twice t1, 2, is possible"):
        qj.NoiseModel().relaxation(1.0, 3.0)
    with pytest.raises(ValueError, match="Argument `dt` must be a positive number, but is -1"):
        qj.NoiseModel().relaxation(1.0, 1.0, dt=-1)


def test_a_free_delay_without_noise_does_nothing():
    circuit = QuantumCircuit(2)
    circuit.delay(Parameter("wait"), 0, "us")
    circuit.h(0)
    imported = from_qiskit(circuit)
    assert str(imported.circuit.operations[0].angles[0]).count("wait") == 1
    np.testing.assert_allclose(qj.probabilities(imported.circuit)(imported.params([3.0])), [0.5, 0, 0.5, 0], atol=1e-12)


# --- resets, measurements, labels ------------------------------------------------------------------------------------


def test_errors_of_resets_follow_the_first_one_too():
    noise = model_of(reset=flips(0.2))
    assert chance(one(("reset", 0)), noise) == pytest.approx(0.2)
    first = QuantumCircuit(1)
    first.reset(0)
    assert chance(first, noise) == pytest.approx(0.2)
    assert qj.statevector(from_qiskit(first).circuit)()[0] == 1  # still no state but a pure one
    assert crosscheck(one(("reset", 0), ("h", 0)), noise=noise).agrees


def test_readout_errors_act_on_bits_measured_on_the_way():
    noise = NoiseModel()
    noise.add_all_qubit_readout_error([[0.9, 0.1], [0.3, 0.7]])
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    circuit.x(1)
    noisy = from_aer_noise_model(noise).apply(from_qiskit(circuit).circuit)
    read = qj.probabilities(noisy, bits=[0, 1])()
    # The first bit is wrong in three of ten cases, and the second goes by it.
    np.testing.assert_allclose(read, [0.3 * 0.9, 0.3 * 0.1, 0.7 * 0.3, 0.7 * 0.7], atol=1e-12)
    assert crosscheck(circuit, noise=noise, shots=4000).agrees
    with pytest.raises(ValueError, match="free of readout errors to be exported, but operation 1 is one of qubit 0"):
        to_qiskit(noisy)


def test_quantum_errors_of_measurements_are_refused():
    with pytest.raises(ValueError, match="has a quantum error of 'measure'.*give readout errors instead"):
        from_aer_noise_model(model_of(measure=flips(0.2)))
    with pytest.raises(ValueError, match="'measure', which is no gate's; use `readout_error`"):
        qj.NoiseModel().after("measure", C(1).x(0))


@pytest.mark.parametrize(("noise", "wrong"), [(("mine", "x"), 0.25), (("x",), 0.0)])
def test_labels_stand_in_the_place_of_names(noise, wrong):
    circuit = QuantumCircuit(1)
    circuit.append(XGate(label="mine"), [0])
    model = model_of(**{name: flips(0.25 if name == "mine" else 0.1) for name in noise})
    assert chance(circuit, model) == pytest.approx(1 - wrong)
    assert crosscheck(circuit, noise=model).agrees
    assert to_qiskit(from_qiskit(circuit).circuit).data[0].operation.label == "mine"


def test_names_of_aers_models_are_taken_as_they_are():
    names = ["ccz4", "rx90", "h1", "xx"]
    model = from_aer_noise_model(model_of(**dict.fromkeys(names, flips(0.1))))
    assert {name for rule in model.rules for name in rule.gates} == set(names)


# --- both sides of a cross-check --------------------------------------------------------------------------------------


def own_gate():
    inner = QuantumCircuit(1, name="rzz")  # Aer would run Qiskit's
    inner.h(0)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [1])
    circuit.h(0)
    circuit.cx(0, 1, ctrl_state=0)
    circuit.append(zz_feature_map(2).assign_parameters([0.3, 0.4]).to_gate(), [1, 0])
    return circuit


def prepared():
    circuit = QuantumCircuit(2)
    circuit.initialize([0, 0.6, 0.8j, 0], [1, 0])
    circuit.h(1)
    circuit.append(QFTGate(2), [0, 1])
    return circuit


def dynamic():
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    inner = QuantumCircuit(2, name="mine")
    inner.h(0)
    inner.cx(0, 1)
    with circuit.if_test((0, 1)):
        circuit.append(inner.to_gate(), [1, 0])
        circuit.measure(1, 0)
    circuit.append(QFTGate(2), [0, 1])
    return circuit


@pytest.mark.parametrize("circuit", [own_gate(), prepared(), dynamic()], ids=["own gate", "prepared", "dynamic"])
def test_both_sides_know_the_same_gates_under_noise(circuit):
    noise = model_of(h=depolarizing_error(0.1, 1), cx=depolarizing_error(0.1, 2), x=flips(0.05))
    assert crosscheck(circuit, noise=noise, shots=4000).agrees


def test_what_aer_cannot_run_is_refused_in_one_sentence():
    circuit = QuantumCircuit(1, 2)
    circuit.measure(0, 1)
    with circuit.if_test(expr.equal(expr.shift_right(circuit.cregs[0], 1), 1)):
        circuit.x(0)
    with pytest.raises(
        ValueError, match="Aer cannot run the circuit, so that there is nothing to compare with: .*SHIFT"
    ):
        crosscheck(circuit)


@pytest.mark.parametrize("form", [Kraus, SuperOp])
def test_channels_in_circuits_come_over(form):
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.append(form(amplitude_damping_error(0.3)).to_instruction(), [0])
    circuit.append(flips(0.2).to_instruction(), [1])
    circuit.cx(0, 1)
    imported = from_qiskit(circuit)
    rho = qj.density_matrix(C(2).h(0).amplitude_damping(0.3, 0).bit_flip(0.2, 1).cx(0, 1))()
    np.testing.assert_allclose(qj.density_matrix(imported.circuit)(), rho, atol=1e-12)
    assert from_qiskit(to_qiskit(imported.circuit)).circuit.n_qubits == 2
    assert crosscheck(circuit, shots=4000).agrees
    assert crosscheck(circuit, noise=model_of(cx=depolarizing_error(0.1, 2))).agrees


def test_what_cannot_be_followed_is_said():
    spare = QuantumCircuit(4)
    spare.append(WeightedSumGate(2, [1, 2]), [0, 1, 2, 3])
    with (
        pytest.warns(UserWarning, match="clean auxiliary"),
        pytest.raises(
            ValueError, match=r"operation 0 \(WeightedSum\).*or transpile the circuit first where it needs spare qubits"
        ),
    ):
        from_qiskit(spare)
    twice = QuantumCircuit(1, 1)
    twice.h(0)
    twice.measure(0, 0)
    with twice.switch(twice.clbits[0]) as case:
        with case(0):
            twice.h(0)
            twice.measure(0, 0)
        with case(1):
            twice.x(0)
    text = "operation 2 (switch_case) asks bits [0] more than once, and measures into them in a branch"
    with pytest.raises(ValueError, match=re.escape(text)):
        from_qiskit(twice)


# --- predictions -----------------------------------------------------------------------------------------------------


def test_predictions_keep_measurements_on_the_way(tmp_path):
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.h(0)
    rows = ibm.run(circuit, None, backend="fake_manila", shots=100, out=tmp_path).rows()
    for row in rows:  # without the measurement H twice would be the identity
        assert row["exact"] == pytest.approx(0.5) and row["noisy"] == pytest.approx(0.5, abs=0.02)


def test_what_the_runtime_cannot_prepare_is_said(tmp_path):
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.x(0)
    circuit.cx(0, 1)
    with pytest.raises(
        ValueError, match="the runtime cannot prepare the circuit .*ask for counts, without observables"
    ):
        ibm.run(circuit, None, [qj.Z(1)], backend="fake_manila", out=tmp_path)
