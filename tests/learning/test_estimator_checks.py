"""scikit-learn's own checks of estimators: some of them always, all of them with `-m slow`."""

import functools

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

import qjaxsim as qj
from qjaxsim.learning import QuantumClassifier, QuantumRegressor


def encoding_of_30_features():
    """On three qubits."""
    circuit, x = qj.Circuit(3), qj.Parameter("x", (30,))
    for place in range(30):
        (circuit.ry if place // 3 % 2 else circuit.rx)(x[place], place % 3)
    return circuit


SETTINGS = {"layers": 1, "epochs": 20, "batch_size": 64, "learning_rate": 0.2}
# The check of weights has 30 features, and its outcomes are to be equal to rounding, which Adam blows up.
OF_WEIGHTS = {"feature_map": encoding_of_30_features(), "optimizer": "sgd", "dtype": "float64"}
# Those that train little or not at all; one of each kind.
QUICK = {
    "check_all_zero_sample_weights_error",
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_complex_data",
    "check_dict_unchanged",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_sparse_array",
    "check_estimators_empty_data_messages",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_n_features_in",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_requires_y_none",
    "check_set_params",
    "check_valid_tag_types",
}


def checks():
    for each in (QuantumClassifier(**SETTINGS), QuantumRegressor(**SETTINGS)):
        for estimator, check in estimator_checks_generator(each):
            name = (check.func if isinstance(check, functools.partial) else check).__name__
            marks = () if name in QUICK else pytest.mark.slow
            if name == "check_sample_weight_equivalence_on_dense_data":
                estimator = clone(estimator).set_params(**OF_WEIGHTS)
            yield pytest.param(estimator, check, marks=marks, id=f"{type(each).__name__}-{name}")


@pytest.mark.parametrize("estimator, check", list(checks()))
def test_what_scikit_learn_expects_holds(estimator, check):
    check(estimator)
