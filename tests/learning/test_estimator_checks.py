"""scikit-learn's own checks of estimators."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from qjaxsim.learning import QuantumClassifier, QuantumRegressor

pytestmark = pytest.mark.usefixtures("quick_compiler")

ESTIMATORS = [
    QuantumClassifier(layers=1, epochs=20, batch_size=64, learning_rate=0.2),
    QuantumRegressor(layers=1, epochs=20, batch_size=64, learning_rate=0.2),
]


@parametrize_with_checks(ESTIMATORS)
def test_what_scikit_learn_expects(estimator, check):
    check(estimator)
