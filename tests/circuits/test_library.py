"""Encodings and layers against Qiskit's circuit library, closed forms and repeated layers."""

import math

import numpy as np
import pytest
from qiskit.circuit import library
from qiskit.quantum_info import Statevector

import qjaxsim as qj
from qjaxsim.circuits import reference

NAMES = ("full", "linear", "reverse_linear", "circular")
PAIRS = [(1, 0), (0, 1)]


def of_qiskit(circuit, values):
    """Amplitudes with qubit 0 as the most significant bit."""
    return Statevector(circuit.assign_parameters(list(values))).reverse_qargs().data


@pytest.mark.parametrize("n", (2, 3, 5))
@pytest.mark.parametrize("entanglement", NAMES)
@pytest.mark.parametrize("repetitions", (1, 2))
def test_zz_feature_map_is_qiskits(n, entanglement, repetitions):
    x = np.random.default_rng(n).uniform(-3, 3, n)
    ours = reference.statevector(qj.zz_feature_map(n, repetitions=repetitions, entanglement=entanglement), {"x": x})
    np.testing.assert_allclose(ours, of_qiskit(library.zz_feature_map(n, repetitions, entanglement), x), atol=1e-13)


def test_zz_feature_map_of_given_pairs_is_qiskits():
    x = np.array([0.3, -1.2, 2.0])
    theirs = library.pauli_feature_map(3, 2, {1: [(0,), (1,), (2,)], 2: PAIRS}, paulis=["z", "zz"])
    ours = reference.statevector(qj.zz_feature_map(3, entanglement=PAIRS), {"x": x})
    np.testing.assert_allclose(ours, of_qiskit(theirs, x), atol=1e-13)


@pytest.mark.parametrize("name", ("real_amplitudes", "efficient_su2"))
@pytest.mark.parametrize("n, layers", ((2, 1), (3, 0), (3, 3), (4, 2)))
@pytest.mark.parametrize("entanglement", (*NAMES, PAIRS))
def test_trainable_layers_are_qiskits_with_angles_in_row_major_order(name, n, layers, entanglement):
    circuit = getattr(qj, name)(n, layers, entanglement=entanglement)
    weights = np.random.default_rng(n).uniform(-3, 3, circuit.parameters["weights"])
    theirs = getattr(library, name)(n, entanglement=entanglement, reps=layers)
    ours = reference.statevector(circuit, {"weights": weights})
    np.testing.assert_allclose(ours, of_qiskit(theirs, weights.ravel()), atol=1e-13)


@pytest.mark.parametrize("rotation", ("rx", "ry", "rz"))
def test_angle_encoding_turns_one_qubit_a_feature_and_leaves_others_alone(rotation):
    x = np.array([0.4, 1.1, -2.0])
    circuit = qj.Circuit(4).h(range(4)).compose(qj.angle_encoding(3, rotation=rotation, n_qubits=4, name="angles"))
    for letter, kept in (("X", "rx"), ("Y", "ry"), ("Z", "rz")):
        # |+> points along x: it stays there, or turns towards -z or y.
        along = {
            "rx": {"X": 1 + 0 * x},
            "ry": {"X": np.cos(x), "Z": -np.sin(x)},
            "rz": {"X": np.cos(x), "Y": np.sin(x)},
        }
        wanted = [*along[rotation].get(letter, 0 * x), float(letter == "X")]
        found = [reference.expectation(circuit, getattr(qj, letter)(q), {"angles": x}) for q in range(4)]
        np.testing.assert_allclose(found, wanted, atol=1e-14, err_msg=kept)


@pytest.mark.parametrize("encoding", ("angle_encoding", "zz_feature_map"))
def test_data_reuploading_is_a_repeated_layer_that_shares_the_data(encoding):
    first, second = getattr(qj, encoding)(3), qj.efficient_su2(3, 1)
    rng = np.random.default_rng(1)
    params = {"x": rng.uniform(-2, 2, 3), "weights": rng.uniform(-2, 2, (3, 2, 2, 3))}
    written_out = qj.data_reuploading(first, second, 3)
    repeated = qj.Circuit(3).repeat(first.copy().compose(second), 3, shared=["x"])
    assert written_out.parameters == repeated.parameters
    np.testing.assert_allclose(
        reference.statevector(written_out, params), reference.statevector(repeated, params), atol=1e-13
    )


def test_data_reuploading_gives_weights_of_the_encoding_a_layer_each_too():
    w, x = qj.Parameter("w"), qj.Parameter("x")
    encoding = qj.Circuit(1).ry(w * x + 1, 0).unitary(np.eye(2), 0)
    circuit = qj.data_reuploading(encoding, qj.Circuit(1), 2, shared="x")
    assert circuit.parameters == {"w": (2,), "x": ()}
    value = reference.expectation(circuit, qj.Z(0), {"w": np.array([0.5, 2.0]), "x": np.array(0.3)})
    assert value == pytest.approx(math.cos(2.5 * 0.3 + 2))
    assert encoding.parameters == {"w": (), "x": ()}


@pytest.mark.parametrize(
    "build, error, message",
    (
        (lambda: qj.angle_encoding(0), ValueError, "`n_features` must be a positive integer, but is 0"),
        (lambda: qj.angle_encoding(4, n_qubits=3), ValueError, "`n_qubits` must be at least the number of features, 4"),
        (
            lambda: qj.angle_encoding(2, rotation="RX"),
            ValueError,
            r"`rotation` must be one of .* \(did you mean 'rx'\?",
        ),
        (lambda: qj.zz_feature_map(3, repetitions=0), ValueError, "`repetitions` must be a positive integer"),
        (lambda: qj.zz_feature_map(3, entanglement="ful"), ValueError, r"or pairs of qubits, .*did you mean 'full'"),
        (lambda: qj.zz_feature_map(3, entanglement=[(0, 3)]), ValueError, "Qubit 3 of 'entanglement' is out of range"),
        (lambda: qj.real_amplitudes(3, entanglement=[(1, 1)]), ValueError, "Qubits of 'entanglement' must differ"),
        (
            lambda: qj.real_amplitudes(3, entanglement=["01"]),
            ValueError,
            "`entanglement` must hold pairs of qubits, but",
        ),
        (lambda: qj.efficient_su2(3, -1), ValueError, "`layers` must be an integer of at least 0, but is -1"),
        (
            lambda: qj.data_reuploading(qj.angle_encoding(2), qj.real_amplitudes(3), 2),
            ValueError,
            "`trainable` must have 2 qubits like the encoding, but has 3",
        ),
        (
            lambda: qj.data_reuploading(qj.angle_encoding(2), qj.real_amplitudes(2), 2, shared=["y"]),
            ValueError,
            r"`shared` names \['y'\], but the layer has \['weights', 'x'\]",
        ),
        (
            lambda: qj.data_reuploading(qj.angle_encoding(2), qj.Circuit(2).repeat(qj.Circuit(2).h(0), 2), 2),
            ValueError,
            "must hold no repeated layer",
        ),
        (lambda: qj.data_reuploading("zz", qj.real_amplitudes(3), 2), TypeError, "`encoding` must be a Circuit"),
        (lambda: qj.data_reuploading(qj.angle_encoding(2), None, 2), TypeError, "`trainable` must be a Circuit"),
    ),
)
def test_bad_arguments_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
