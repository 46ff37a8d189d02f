"""Channels and noise models against Aer's density matrices and Qiskit's own algebra of channels."""

import re

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits.noise import NoiseModel
from tests.noisy_circuits import random_noisy, random_values

pytest.importorskip("qiskit_aer", reason="Qiskit Aer is not installed")

from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import DensityMatrix, SuperOp, random_unitary
from qiskit_aer import AerSimulator, noise
from qjaxsim_qiskit import (
    crosscheck,
    from_aer_noise_model,
    from_backend,
    from_qiskit,
    to_aer_noise_model,
    to_qiskit,
)
from qjaxsim_qiskit.ordering import reverse_state


def turned(rho, n_qubits):
    """A density matrix of Qiskit's with the bits of its indices turned round."""
    rows = reverse_state(np.asarray(rho).T, n_qubits).T
    return reverse_state(rows, n_qubits)


def on_aer(circuit, model=None):
    """Aer's final density matrix of a circuit of Qiskit's, its bits in our order."""
    simulator = AerSimulator(method="density_matrix", noise_model=model)
    known = {*AerSimulator(method="density_matrix").operation_names, "quantum_channel"}
    saved = circuit.copy()
    while unknown := sorted({instruction.name for instruction in saved.data} - known):
        saved = saved.decompose(unknown)
    saved.save_density_matrix()
    result = simulator.run(saved).result()
    return turned(result.data(0)["density_matrix"], circuit.num_qubits)


AERS = {
    "bit_flip": ((0.1,), noise.pauli_error([("X", 0.1), ("I", 0.9)])),
    "phase_flip": ((0.1,), noise.pauli_error([("Z", 0.1), ("I", 0.9)])),
    "bit_phase_flip": ((0.1,), noise.pauli_error([("Y", 0.1), ("I", 0.9)])),
    "pauli_error": ((0.1, 0.2, 0.05), noise.pauli_error([("X", 0.1), ("Y", 0.2), ("Z", 0.05), ("I", 0.65)])),
    "depolarizing": ((0.3,), noise.depolarizing_error(0.3, 1)),
    "depolarizing2": ((0.3,), noise.depolarizing_error(0.3, 2)),
    "amplitude_damping": ((0.3,), noise.amplitude_damping_error(0.3)),
    "generalized_amplitude_damping": ((0.3, 0.2), noise.amplitude_damping_error(0.3, 0.2)),
    "phase_damping": ((0.3,), noise.phase_damping_error(0.3)),
    "phase_amplitude_damping": ((0.3, 0.2, 0.1), noise.phase_amplitude_damping_error(0.3, 0.2, 0.1)),
    "thermal_relaxation": ((50.0, 70.0, 9.0, 0.2), noise.thermal_relaxation_error(50.0, 70.0, 9.0, 0.2)),
    "reset_error": ((0.2, 0.1), noise.reset_error(0.2, 0.1)),
}


def test_every_channel_is_compared():
    from qjaxsim.circuits.channels import CHANNELS

    assert AERS.keys() == CHANNELS.keys()


@pytest.mark.parametrize("name", AERS)
def test_channels_are_those_of_aer(name):
    values, error = AERS[name]
    own = qj.Circuit(3).h(0).cx(0, 1).ry(0.7, 2).t(1).rx(0.4, 1)
    other = to_qiskit(own)
    width = error.num_qubits
    own.append(name, range(1, 1 + width), values)
    other.append(error, list(range(1, 1 + width)))
    np.testing.assert_allclose(qj.density_matrix(own)(), on_aer(other), atol=1e-12)


def check_exported(seed, n_qubits=None):
    circuit, rng = random_noisy(seed, n_qubits)
    values = random_values(rng, circuit)
    numbers = with_numbers(circuit, values)
    np.testing.assert_allclose(qj.density_matrix(circuit)(values), on_aer(to_qiskit(numbers)), atol=1e-10)


def with_numbers(circuit, values):
    """The circuit with its parameters replaced by numbers, for Qiskit, whose channels have none."""
    from dataclasses import replace

    from qjaxsim.circuits.expressions import Expression
    from qjaxsim.circuits.operations import Repeat

    out = qj.Circuit(circuit.n_qubits)
    for operation in circuit.operations:
        if isinstance(operation, Repeat):
            for _ in range(operation.times):
                out.extend(with_numbers(operation.circuit, values).operations)
        elif getattr(operation, "angles", ()):
            angles = [
                a.evaluate(lambda name, i: values[name][i], np) if isinstance(a, Expression) else a
                for a in operation.angles
            ]
            out.extend([replace(operation, angles=tuple(float(a) for a in angles))])
        else:
            out.extend([operation])
    return out


@pytest.mark.parametrize("seed", [3, 4])
def test_noisy_circuits_are_those_of_aer(seed):
    check_exported(seed, 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5, 205))
def test_many_noisy_circuits_are_those_of_aer(seed):
    check_exported(seed)


def noisy_model():
    strengths = qj.Circuit(2).depolarizing2(0.05, 0, 1).amplitude_damping(0.1, 0)
    model = NoiseModel().after("cx", strengths).after(["h", "x"], qj.Circuit(1).bit_flip(0.1, 0), except_on=[2])
    model.after("cx", qj.Circuit(2).rx(0.2, 0).phase_flip(0.1, 1), on=[(1, 2)])
    return model.readout_error(0.1, 0.2, [0, 2]).readout_error(0.05, 0.0)


def test_a_model_there_and_back():
    circuit = qj.Circuit(3).h(range(3)).cx(0, 1).cx(1, 2).cx(2, 1).x(1).x(2)
    model = noisy_model()
    aer = to_aer_noise_model(model, 3)
    expected = on_aer(to_qiskit(circuit), aer)
    back = from_aer_noise_model(aer)
    for each in (model, back):
        np.testing.assert_allclose(qj.density_matrix(each.apply(circuit))(), expected, atol=1e-12)
    ours, again = (qj.probabilities(each.apply(circuit))() for each in (model, back))
    np.testing.assert_allclose(ours, again, atol=1e-12)


def labelled():
    """Matrices of several widths under one label, their qubits out of order, and one without a label."""
    circuit = QuantumCircuit(3)
    circuit.h([0, 1, 2])
    circuit.unitary(random_unitary(4, seed=1), [2, 0], label="mine")
    circuit.unitary(random_unitary(8, seed=2), [1, 2, 0], label="mine")
    circuit.unitary(random_unitary(4, seed=3), [0, 1])
    return circuit


def leaning():
    """An error that tells its first qubit from its second."""
    return noise.amplitude_damping_error(0.3).expand(noise.phase_damping_error(0.2))


@pytest.mark.parametrize(
    ("error", "name", "on"),
    [
        (leaning(), "mine", None),
        (leaning(), "mine", [2, 0]),
        (leaning(), "mine", [0, 2]),  # no gate is there
        (noise.amplitude_damping_error(0.3), "mine", None),
        (noise.amplitude_damping_error(0.3), "unitary", None),
    ],
)
def test_noise_finds_labelled_matrices_and_their_qubits_as_in_aer(error, name, on):
    aer = noise.NoiseModel()
    if on is None:
        aer.add_all_qubit_quantum_error(error, [name])
    else:
        aer.add_quantum_error(error, [name], on)
    wanted = on_aer(labelled(), aer)
    model = from_aer_noise_model(aer)
    ours = from_qiskit(labelled()).circuit
    np.testing.assert_allclose(qj.density_matrix(model.apply(ours))(), wanted, atol=1e-10)
    # The way back: of the circuit, and of the model.
    np.testing.assert_allclose(on_aer(to_qiskit(ours), aer), wanted, atol=1e-10)
    np.testing.assert_allclose(on_aer(labelled(), to_aer_noise_model(model, 3)), wanted, atol=1e-10)


def test_counts_with_readout_errors_follow_our_probabilities():
    from qjaxsim_qiskit.crosschecking.comparing import P_VALUE, p_value

    circuit = qj.Circuit(3).h(0).cx(0, 1).cx(1, 2)
    other = to_qiskit(circuit)
    other.measure_all()
    model = noisy_model()
    simulator = AerSimulator(method="density_matrix", noise_model=to_aer_noise_model(model, 3), seed_simulator=1)
    counts = simulator.run(other, shots=20000).result().get_counts()
    drawn = np.array([counts.get(format(i, "03b")[::-1], 0) for i in range(8)])
    assert p_value(drawn, np.asarray(qj.probabilities(model.apply(circuit))())) > P_VALUE


def exact_on(backend, circuit):
    """A transpiled circuit's density matrix by Qiskit's algebra of channels, its qubits as they are."""
    errors = noise.NoiseModel.from_backend(backend)._local_quantum_errors
    rho = DensityMatrix.from_label("0" * circuit.num_qubits)
    for instruction in circuit.data:
        where = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        rho = rho.evolve(instruction.operation, where)
        error = errors.get(instruction.operation.name, {}).get(tuple(where))
        rho = rho if error is None else rho.evolve(SuperOp(error), where)
    return turned(rho.data, circuit.num_qubits)


def on_first_qubits(backend):
    """A circuit of three qubits transpiled to the first three of a backend, as a circuit of three qubits."""
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.ry(0.3, 2)
    wide = transpile(circuit, backend, optimization_level=1, seed_transpiler=0, initial_layout=[0, 1, 2])
    narrow = QuantumCircuit(3, global_phase=wide.global_phase)
    for instruction in wide.data:
        narrow.append(instruction.operation, [wide.find_bit(qubit).index for qubit in instruction.qubits])
    return narrow


def check_backend(backend):
    circuit = on_first_qubits(backend)
    noisy = from_backend(backend).on([0, 1, 2]).apply(from_qiskit(circuit).circuit)
    rho = qj.density_matrix(noisy)()
    np.testing.assert_allclose(rho, exact_on(backend, circuit), atol=1e-12)
    # Aer leaves small Kraus matrices out: on fake_manila it is 3.5e-10 away from Qiskit's own algebra.
    np.testing.assert_allclose(rho, on_aer(circuit, noise.NoiseModel.from_backend(backend)), atol=1e-9)


def test_noise_of_a_fake_backend():
    fake = pytest.importorskip("qiskit_ibm_runtime.fake_provider", reason="qiskit-ibm-runtime is not installed")
    check_backend(fake.FakeManilaV2())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FakeGuadalupeV2", "FakeBrisbane"])
def test_noise_of_wider_fake_backends(name):
    fake = pytest.importorskip("qiskit_ibm_runtime.fake_provider", reason="qiskit-ibm-runtime is not installed")
    check_backend(getattr(fake, name)())


@pytest.mark.parametrize("qubits", [None, [2, 1, 0]])
def test_readout_errors_of_some_qubits_stand_in_the_place_of_those_of_all(qubits):
    aer = noise.NoiseModel()
    aer.add_all_qubit_readout_error([[0.9, 0.1], [0.3, 0.7]])
    aer.add_readout_error([[0.8, 0.2], [0.4, 0.6]], [0])
    found = from_aer_noise_model(aer, qubits)
    chosen = 0 if qubits is None else 2
    assert [found.readout(q) for q in range(3)] == [((0.2, 0.4),) if q == chosen else ((0.1, 0.3),) for q in range(3)]
    circuit = QuantumCircuit(3)
    circuit.x(1)
    zeros = [qj.probabilities(found.apply(from_qiskit(circuit).circuit), [q])()[0] for q in range(3)]
    np.testing.assert_allclose(zeros, [0.8, 0.3, 0.9] if qubits is None else [0.9, 0.3, 0.8], atol=1e-12)
    back = to_aer_noise_model(found, 3)._local_readout_errors
    np.testing.assert_allclose(back[(chosen,)].probabilities, [[0.8, 0.2], [0.4, 0.6]])
    np.testing.assert_allclose(back[(1,)].probabilities, [[0.9, 0.1], [0.3, 0.7]])


def test_what_cannot_be_brought_over_is_said():
    aer = noise.NoiseModel()
    aer.add_readout_error(noise.ReadoutError(np.eye(4)[[1, 0, 2, 3]]), [0, 1])
    with pytest.raises(ValueError, match="readout error of 2 qubits together"):
        from_aer_noise_model(aer)
    prepared = noise.NoiseModel()
    prepared.add_all_qubit_quantum_error(noise.depolarizing_error(0.1, 1), ["initialize"])
    with pytest.raises(ValueError, match="quantum error of 'initialize', which is no gate here; append the error"):
        from_aer_noise_model(prepared)
    many = noise.NoiseModel()
    many.add_all_qubit_quantum_error(noise.pauli_error([("XXXX", 0.1), ("IIII", 0.9)]), ["mcx"])
    with pytest.raises(ValueError, match="quantum error of 'mcx', which is no gate here; append the error"):
        from_aer_noise_model(many)
    with pytest.raises(ValueError, match="noise after 'mcp2', which Qiskit has by another name"):
        to_aer_noise_model(NoiseModel().after("mcp2", qj.Circuit(1).bit_flip(0.1, 0)), 3)
    with pytest.raises(ValueError, match="noise of one qubit after 'mine', which is no gate's name, .*; say where"):
        to_aer_noise_model(NoiseModel().after("mine", qj.Circuit(1).bit_flip(0.1, 0)), 3)
    with pytest.raises(ValueError, match="the name 'initialize', which is no gate's; put the noise of a preparation"):
        NoiseModel().after("initialize", qj.Circuit(1).bit_flip(0.1, 0))
    with pytest.raises(
        TypeError, match='a backend or the name of a fake one, such as "fake_manila", but is NoiseModel'
    ):
        from_backend(noise.NoiseModel())
    with pytest.raises(ValueError, match="fake_manil"):
        from_backend("fake_manil")
    with pytest.raises(TypeError, match="must be a NoiseModel of qiskit_aer, but is str"):
        from_aer_noise_model("fake")
    everywhere = NoiseModel().after(None, qj.Circuit(1).bit_flip(0.1, 0))
    with pytest.raises(ValueError, match="must name the gates of every rule"):
        to_aer_noise_model(everywhere, 2)
    free = NoiseModel().after("x", qj.Circuit(1).bit_flip(qj.Parameter("p"), 0))
    with pytest.raises(ValueError, match=re.escape("must be without parameters, but has ['p']")):
        to_aer_noise_model(free, 2)
    with pytest.raises(ValueError, match="operation 0 is 'bit_flip' with a free strength"):
        to_qiskit(qj.Circuit(1).bit_flip(qj.Parameter("p"), 0))
    with pytest.raises(ValueError, match="operation 0 is one of qubit 0"):
        to_qiskit(qj.Circuit(1).readout_error(0.1, 0.1, 0))


def crossed(noise_given, params=None, **options):
    w = qj.Parameter("w", (3, 2))
    circuit = qj.Circuit(3)
    for q in range(3):
        circuit.ry(w[q, 0], q).rz(w[q, 1], q)
    circuit.h(range(3)).cx(0, 1).cx(1, 2).csx(0, 2).unitary(np.eye(2), 1)
    return crosscheck(circuit, params, noise=noise_given, **options)


def test_cross_check_under_a_model():
    values = {"w": np.random.default_rng(0).normal(size=(2, 3, 2))}
    found = crossed(noisy_model(), values, shots=2000)
    assert found.agrees
    assert found.samples == 2
    assert [check.quantity for check in found.checks] == [
        "density matrix", "expectation values", "counts of Aer, our probabilities",
    ]  # fmt: skip
    assert crossed(to_aer_noise_model(noisy_model(), 3)).agrees


def test_phases_with_several_controls_are_one_gate_on_both_sides_of_a_cross_check():
    circuit = qj.Circuit(3).h(range(3)).mcp(0.7, [2, 0], 1).cx(0, 1).h(1)
    assert crosscheck(circuit, noise=NoiseModel().after("cx", qj.Circuit(2).depolarizing2(0.2, 0, 1))).agrees


def test_cross_check_under_the_noise_of_a_backend():
    pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
    found = crossed("fake_manila", shots=2000)
    assert found.agrees
    assert found.n_qubits == 3


def test_a_wrong_channel_is_found(monkeypatch):
    monkeypatch.setattr("qjaxsim_qiskit.crosschecking.noisy.to_aer_noise_model", lambda *_: noise.NoiseModel())
    assert not crossed(noisy_model()).agrees


def test_noise_of_no_kind_is_refused():
    with pytest.raises(TypeError, match="Argument `noise` must be a qjaxsim.NoiseModel, .* but is float"):
        crossed(0.1)


def test_cross_check_under_noise_on_the_command_line(tmp_path, capsys):
    from qjaxsim.command import main as cli

    program, model = tmp_path / "bell.qasm", tmp_path / "noise.json"
    program.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0],q[1];')
    model.write_text('{"after": [{"gates": "cx", "channel": "depolarizing2", "strengths": [0.75]}]}')
    assert cli.main(["crosscheck", str(program), "--noise", str(model)]) in (0, None)
    assert "density matrix" in (text := capsys.readouterr().out)
    # 1/4 of a Bell state beside 3/4 of the mixed state: purity 1/16 + 2 * 3/16 * 1/4 + 9/16 * 1/4
    assert "purity 0.2969" in text
