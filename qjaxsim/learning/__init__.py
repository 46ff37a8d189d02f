"""Circuits in scikit-learn's style: `QuantumClassifier` and `QuantumRegressor`, trained by the project's one loop.

They are built on what can be used alone: circuits (`qjaxsim.zz_feature_map` and others), `qjaxsim.models.CircuitModel`
and `qjaxsim.training.fit`. Importing this package imports scikit-learn.
"""

from qjaxsim.learning.estimators import QuantumClassifier, QuantumRegressor

__all__ = ["QuantumClassifier", "QuantumRegressor"]
