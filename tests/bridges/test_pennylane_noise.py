"""PennyLane's noise as channels of ours, against `default.mixed` and PennyLane's own Kraus matrices."""

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference

qml = pytest.importorskip("pennylane", reason="needs the pennylane extra")

DAMPING = [np.diag([1, np.sqrt(0.7)]), np.array([[0, np.sqrt(0.3)], [0, 0]])]
WIRES = ("a", 7, 0)


class Dephasing(qml.operation.Channel):
    """A channel of a user's own."""

    num_params, num_wires = 1, 1

    @staticmethod
    def compute_kraus_matrices(p):
        return [np.sqrt(1 - p) * np.eye(2), np.sqrt(p) * np.diag([1.0, -1.0])]


CHANNELS = [
    qml.BitFlip(0.1, "a"),
    qml.PhaseFlip(0.2, 7),
    qml.DepolarizingChannel(0.9, "a"),
    qml.AmplitudeDamping(0.3, 0),
    qml.GeneralizedAmplitudeDamping(0.3, 0.2, 7),
    qml.PhaseDamping(0.4, "a"),
    qml.ResetError(0.1, 0.3, 0),
    qml.PauliError("XYZ", 0.4, [0, "a", 7]),
    qml.PauliError("II", 0.4, [0, "a"]),
    qml.ThermalRelaxationError(0.2, 1.0, 0.7, 0.3, 7),
    qml.ThermalRelaxationError(0.2, 1.0, 1.6, 0.3, "a"),
    qml.QubitChannel(DAMPING, "a"),
    qml.QubitChannel([np.kron(one, other) for one in DAMPING for other in DAMPING], [0, "a"]),
    Dephasing(0.3, 7),
]


def density_by_hand(operations, wires):
    """Gates and Kraus matrices of PennyLane's, applied one by one in NumPy."""
    rho = np.zeros((2 ** len(wires),) * 2, complex)
    rho[0, 0] = 1
    for each in operations:
        kraus = each.kraus_matrices() if isinstance(each, qml.operation.Channel) else [each.matrix()]
        full = [qml.math.expand_matrix(np.asarray(one, complex), each.wires, wire_order=wires) for one in kraus]
        rho = sum(one @ rho @ one.conj().T for one in full)
    return rho


@pytest.mark.filterwarnings("ignore:Casting complex values")  # PennyLane's own, of Y in a PauliError
def test_every_channel_does_what_pennylanes_kraus_matrices_do():
    gates = [qml.RY(0.3, "a"), qml.RX(1.1, 7), qml.Hadamard(0), qml.CNOT(["a", 7]), qml.RZ(0.4, 7), qml.CNOT([7, 0])]
    for channel in CHANNELS:
        operations = [*gates, channel, qml.RX(0.5, "a")]
        found = qj.from_pennylane(qml.tape.QuantumScript(operations), wire_order=WIRES)
        wanted = density_by_hand(operations, WIRES)
        np.testing.assert_allclose(reference.density_matrix(found.circuit), wanted, atol=1e-12)


def test_a_noisy_model_has_the_values_and_gradients_of_default_mixed():
    @qml.qnode(qml.device("default.mixed", wires=3))
    def model(angles, strength):
        for wire in range(3):
            qml.RY(angles[wire], wires=wire)
            qml.DepolarizingChannel(strength / 2, wires=wire)
        qml.CNOT([0, 1])
        qml.GeneralizedAmplitudeDamping(strength, 1 - 2 * strength, wires=1)
        qml.ThermalRelaxationError(strength, 1.0, 1.4, 0.3, wires=2)
        return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.Z(2))

    angles, strength = np.array([0.4, -0.9, 1.3]), 0.2
    found = qj.from_pennylane(model, angles, strength, parameters="arguments")
    assert found.circuit.parameters == {"angles": (3,), "strength": ()}
    values = qj.expectation(found.circuit, found.observables)
    for at in ((angles, strength), (angles[::-1] / 2, 0.3)):
        params = dict(zip(("angles", "strength"), map(np.asarray, at), strict=True))
        np.testing.assert_allclose(values(params), model(*at), atol=1e-12)
    slope = jax.grad(lambda s: values({"angles": angles, "strength": s}).sum())(strength)
    wanted = (sum(model(angles, strength + 1e-5)) - sum(model(angles, strength - 1e-5))) / 2e-5
    np.testing.assert_allclose(slope, wanted, atol=1e-8)


def test_noise_that_a_transform_puts_in_and_trainable_strengths_come_over():
    noisy = qml.NoiseModel({qml.noise.op_eq(qml.RX): qml.noise.partial_wires(qml.BitFlip, 0.1)})

    @qml.add_noise(noise_model=noisy)
    @qml.qnode(qml.device("default.mixed", wires=2))
    def model(x):
        qml.RX(x, wires=0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    found = qj.from_pennylane(model, 0.3)
    np.testing.assert_allclose(qj.expectation(found.circuit, found.observables)(), [0.8 * np.cos(0.3)], atol=1e-7)
    tape = qml.tape.QuantumScript([qml.RX(0.3, 0), qml.DepolarizingChannel(0.3, 0), qml.QubitChannel(DAMPING, 0)])
    found = qj.from_pennylane(tape, parameters="trainable")
    assert found.params["params"].tolist() == [0.3, 0.3]
    mean = qj.expectation(found.circuit, qj.Z(0))({"params": np.array([0.5, 0.6])})
    np.testing.assert_allclose(mean, 0.3 + 0.7 * (1 - 4 * 0.6 / 3) * np.cos(0.5), atol=1e-12)


def test_noise_that_no_circuit_can_have_is_refused():
    class Weak(Dephasing):
        @staticmethod
        def compute_kraus_matrices(p):
            return [np.sqrt(1 - p) * np.eye(2)]

    with pytest.raises(ValueError, match=r"operation 0 \(Weak\) must keep the trace .* but differs by 0.3"):
        qj.from_pennylane(qml.tape.QuantumScript([Weak(0.3, 0)]))
    tape = qml.tape.QuantumScript([qml.RX(0.1, 0), Dephasing(0.3, 0)])
    with pytest.raises(ValueError, match=r"operation 1 \(Dephasing\) depends on parameters by matrices .*constant"):
        qj.from_pennylane(tape, parameters="trainable")
    with pytest.raises(ValueError, match="has noise or measures under a control"):
        qj.from_pennylane(qml.tape.QuantumScript([qml.ops.Controlled(qml.BitFlip(0.1, 0), 1)]))
    with pytest.raises(ValueError, match="A channel has no inverse"):
        qj.from_pennylane(qml.tape.QuantumScript([qml.ops.Adjoint(qml.BitFlip(0.1, 0))]))
