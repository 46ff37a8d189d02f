"""What the estimators refuse of their parameters and labels, in the words of who gave them."""

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.learning import QuantumClassifier
from qjaxsim.models.losses import cross_entropy

rng = np.random.default_rng(5)
X = rng.normal(size=(30, 3))
THREE = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]


@pytest.mark.parametrize(
    "parameters, error, message",
    (
        (
            {"feature_map": "ZZ"},
            ValueError,
            r"`feature_map` must be one of \['angle', 'zz'\] or a Circuit, .*mean 'zz'",
        ),
        ({"ansatz": "real_amplitude"}, ValueError, r"`ansatz` must be one of .* \(did you mean 'real_amplitudes'\?\)"),
        ({"feature_map": 3}, TypeError, "`feature_map` must be a Circuit, but is 3"),
        ({"ansatz": 3}, TypeError, "`ansatz` must be a Circuit, but is 3"),
        ({"ansatz": None}, ValueError, "`circuit` must have parameters to train beside the inputs, but has 'x' alone"),
        ({"feature_map": qj.Circuit(3).h(0)}, ValueError, "`inputs` must name parameters .* enter, but is 'x'; the"),
        (
            {"feature_map": qj.angle_encoding(2)},
            ValueError,
            "as many features as enter the circuit, 2 by 'x', but has 3",
        ),
        (
            {"ansatz": qj.real_amplitudes(2)},
            ValueError,
            "`ansatz` must bring a qubit for each of 3 features, but brings 2; reduce",
        ),
        ({"n_qubits": 2}, ValueError, "`n_qubits` must bring a qubit for each of 3 features, but brings 2; reduce"),
        (
            {"n_qubits": 4, "ansatz": qj.real_amplitudes(3)},
            ValueError,
            "must have one width, but have n_qubits 4, ansatz 3 qubits",
        ),
        ({"layers": -1}, ValueError, "`layers` must be an integer of at least 0, but is -1"),
        ({"reuploads": 0}, ValueError, "`reuploads` must be a positive integer, but is 0"),
        ({"observables": [qj.Z(0)]}, ValueError, "`observables` must hold 3 for these targets, but holds 1"),
        ({"observables": [qj.Z(q) for q in (0, 1, 3)]}, ValueError, "Observable 2 acts on qubit 3"),
        ({"observables": "Z"}, TypeError, "Observable 0 must be a PauliSum, but is str"),
        ({"output_scale": -1.0}, ValueError, "`output_scale` must be a positive number, but is -1"),
        ({"loss": "crossentropy"}, ValueError, r"`loss` must be one of .*function.*did you mean 'cross_entropy'"),
        (
            {"loss": lambda z, y: (z - 1) ** 2},
            ValueError,
            r"`loss` must return one number a sample, shape \(\d+,\), but returned shape",
        ),
        ({"optimizer": "adamw"}, ValueError, r"`optimizer` must be one of .*did you mean 'adam'"),
        ({"schedule": "cos"}, ValueError, "`schedule` must be one of"),
        ({"epochs": 1.5}, ValueError, "`epochs` must be an integer of at least 0, but is 1.5"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer, but is 0"),
        ({"learning_rate": -0.1}, ValueError, "`learning_rate` must be finite and not negative, but is -0.1"),
        ({"scale_features": (1.0, 0.0)}, ValueError, r"`scale_features` must be two angles .*, but is \(1.0, 0.0\)"),
        ({"scale_features": "minmax"}, ValueError, "`scale_features` must be two angles .*, but is 'minmax'"),
        ({"random_state": -1}, ValueError, "`random_state` must be an integer from 0 to 4294967295, .*, but is -1"),
        ({"random_state": np.random.default_rng(0)}, ValueError, "`random_state` must be .*, but is Generator"),
        ({"dtype": "float16"}, ValueError, r"`dtype` must be one of \[None, 'float32', 'float64'\], but is 'float16'"),
        ({"resume": True}, ValueError, "`folder` must be given when resume=True"),
    ),
)
def test_bad_parameters_are_named(parameters, error, message):
    with pytest.raises(error, match=message):
        QuantumClassifier(**parameters).fit(X, THREE)


def test_labels_of_several_kinds_are_refused_and_other_strings_are_taken():
    mixed = np.array([1, *THREE[1:].tolist()], object)
    with pytest.raises(ValueError, match="`y` must hold labels of one kind, but holds '(low|mid|top)' and 1; make str"):
        QuantumClassifier(layers=1, epochs=0).fit(X, mixed)
    strings = np.array([np.str_(THREE[0]), *THREE[1:].tolist()], object)
    assert QuantumClassifier(layers=1, epochs=0).fit(X, strings).classes_.tolist() == ["low", "mid", "top"]


def test_a_loss_that_is_a_mean_has_no_place_for_weights_of_samples():
    trained = QuantumClassifier(layers=1, epochs=0, loss=lambda z, y: cross_entropy(z, y).mean()).fit(X, THREE)
    for weights in (None, np.arange(30) + 1.0):
        with pytest.raises(
            ValueError, match=r"`loss` must return one number a sample, shape \(30,\), .*leave the mean"
        ):
            trained.curvature(X, THREE, sample_weight=weights, planes=[], progress=False)
