"""Built-in data sets of scikit-learn are learned far beyond what labels alone give."""

import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qjaxsim.learning import QuantumClassifier, QuantumRegressor

pytestmark = pytest.mark.slow


def held_out(load, n_features, estimator):
    """Scores of a pipeline and of the labels alone on a quarter of the data."""
    x, y = load(return_X_y=True)
    classes = y if isinstance(estimator, QuantumClassifier) else None
    x, x_test, y, y_test = train_test_split(x, y, stratify=classes, random_state=0)
    fitted = make_pipeline(StandardScaler(), PCA(n_features, random_state=0), estimator).fit(x, y)
    return fitted.score(x_test, y_test), DummyClassifier().fit(x, y).score(x_test, y_test)


@pytest.mark.parametrize(
    "load, n_features, settings, least",
    (
        (load_iris, 4, {}, 0.9),
        (load_wine, 6, {}, 0.9),
        (load_digits, 6, {"reuploads": 2, "epochs": 30}, 0.5),
    ),
)
def test_classes(load, n_features, settings, least):
    accuracy, trivial = held_out(load, n_features, QuantumClassifier(random_state=0, **settings))
    assert accuracy > max(least, trivial + 0.3)


def test_numbers():
    assert held_out(load_diabetes, 6, QuantumRegressor(random_state=0))[0] > 0.3
