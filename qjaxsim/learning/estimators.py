"""A classifier and a regressor in scikit-learn's style, around a circuit that is trained by exact gradients."""

from typing import Any

import jax
import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from qjaxsim.common.checks import shown
from qjaxsim.learning.base import QuantumEstimator, unchanged_by_failure
from qjaxsim.learning.data import checked_data, require_numbers, require_one_kind, samples_that_count
from qjaxsim.models.losses import LOSSES, cross_entropy, decided


class QuantumClassifier(ClassifierMixin, QuantumEstimator):
    """A classifier whose outputs are expectation values of a circuit.

    Features are scaled to angles and encoded by a feature map; an ansatz with trained weights follows, or alternates
    with it where data are uploaded several times. Outputs are `output_scale` times an expectation value for each class,
    or a single one for two classes, which is positive for the second.

    Args:
        feature_map: "angle" (`qjaxsim.angle_encoding`), "zz" (`qjaxsim.zz_feature_map`) or a Circuit.
        ansatz: "efficient_su2", "real_amplitudes" (functions of `qjaxsim`), a Circuit, or None where the feature map
            has the weights, too.
        layers: of an ansatz by name.
        reuploads: how often feature map and ansatz are run, every time with weights of their own
            (`qjaxsim.data_reuploading`).
        n_qubits: width; default that of a circuit given, else one qubit a feature, or more where classes need them.
        inputs: names of the circuit's parameters that features enter, as `qjaxsim.models.CircuitModel` takes them.
        observables: one for each class, or a single one for two. Default: Z of the qubits in turn, then products of two
            Z; for a single output the mean of all Z.
        output_scale: factor of the expectation values; default 5, in the regressor 2.
        trainable_scale: whether every output's factor is trained, beginning at `output_scale`.
        scale_features: angles that the least and the greatest value of each feature in training go to, linearly; None
            takes features as angles.
        loss: "cross_entropy" (the default), "squared_error" (outputs are to be 1 for the class and -1 for others), or a
            function of outputs (B, K) and integer labels (B,) to losses (B,).
        optimizer: "adam", "sgd" or an optax optimiser, made with its rate.
        learning_rate: of the first epoch; default 0.1.
        schedule: "constant", "cosine" or "cosine_cycle", see `qjaxsim.training.TrainConfig`.
        epochs: passes over the data.
        batch_size: largest minibatch; all samples where they are fewer.
        dtype: "float32" or "float64"; default JAX's, single unless `jax_enable_x64` is on.
        random_state: integer, `numpy.random.RandomState` or None; chooses initial weights and minibatches.
        warm_start: whether another `fit` begins at the weights that are there.
        progress: whether to show a bar on a terminal; or a rich Progress.
        folder: where `qjaxsim.training.fit` keeps checkpoints; nothing is written without it.
        resume: go on from the checkpoints in `folder`, for which `random_state` must be the same integer.

    Attributes:
        classes_: labels in ascending order.
        params_: weights of the epoch with the lowest training loss, by name.
        circuit_: the circuit; `qjaxsim_qiskit.to_qiskit(circuit_)` is Qiskit's.
        model_: the `qjaxsim.models.CircuitModel`; `model_.outputs(params_, angles)` are the outputs.
        history_: a row (dict) for every epoch from 0: "train_loss", "train_accuracy" and others.
        trajectory_: weights after every epoch as flat vectors, (epochs + 1, P).
        scaler_: what takes features to angles (`transform`), None without `scale_features`.
        n_features_in_: columns of X.

    Cost: one compilation for each number of samples (seconds), then that of the gradients.

    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, 0.7], [1.0, 0.1], [0.9, 0.0]])
    >>> classifier = QuantumClassifier(layers=1, epochs=20, random_state=0).fit(X, ["up", "up", "down", "down"])
    >>> print(classifier.predict([[0.1, 0.8], [0.8, 0.2]]))
    ['up' 'down']
    """

    _losses, _scale = tuple(LOSSES), 5.0

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "QuantumClassifier":  # noqa: N803
        """Train on samples (N, n_features) with labels (N,).

        Args:
            X: samples.
            y: labels.
            sample_weight: (N,) weights of the samples in the mean loss and in `history_`, of which only the ratios
                count; default equal ones. Those of weight 0 are as if they were not there. For classes of unequal
                sizes `sklearn.utils.class_weight.compute_sample_weight("balanced", y)`.

        Raises:
            ValueError: naming the argument, for a single class, data or parameters that do not fit, unknown names.
            TypeError: for anything but names and circuits.
            FloatingPointError: if the loss is not finite.
            FileExistsError, qjaxsim.training.CheckpointError: as `qjaxsim.training.fit` says of `folder`.
        """
        with unchanged_by_failure(self):
            X, y = checked_data(self, X, y)  # noqa: N806
            require_one_kind(y)
            check_classification_targets(y)
            X, y, weights = samples_that_count(X, y, sample_weight)  # noqa: N806
            self.classes_ = np.unique(y)
            count = len(self.classes_)
            if count < 2:
                raise ValueError(
                    "Argument `y` must hold at least two classes, but holds one class alone, "
                    f"{shown(self.classes_.tolist()[0])}."
                )
            self._train(X, y, weights, (1, 2) if count == 2 else (count,))
        return self

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Outputs of all classes, (N, K); for two classes how far the second is ahead, (N,)."""
        outputs = self._outputs(X)
        if len(self.classes_) > 2:
            return outputs
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Labels, (N,)."""
        chosen = decided(self._outputs(X))
        return self.classes_[chosen]

    @available_if(lambda self: self._chosen_loss() is cross_entropy)
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities of all classes, (N, n_classes), with loss "cross_entropy"."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        return np.asarray(jax.nn.softmax(outputs, axis=1))

    def _targets(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        if (unknown := ~np.isin(y, self.classes_)).any():
            raise ValueError(
                f"Argument `y` must hold classes seen in training, {shown(self.classes_.tolist())}, but holds "
                f"{shown(y[unknown].tolist()[0])}."
            )
        return np.searchsorted(self.classes_, y).astype(np.int32)


class QuantumRegressor(RegressorMixin, QuantumEstimator):
    """A regressor whose outputs are expectation values of a circuit, one for each target.

    The model predicts targets scaled so that those of training lie between -1 and 1; predictions reach `output_scale`
    times as far.

    Args:
        observables: one for each target. Default: the mean of all Z for one, else as in the classifier.
        loss: "squared_error" (the default, summed over targets), or a function of outputs (B, T) and scaled targets, as
            `fit` was given them (B,) or (B, T), to losses (B,).
        output_scale: factor of the expectation values; default 2.

    All other parameters and attributes are those of `QuantumClassifier`.

    Attributes:
        y_middle_: the target that the output 0 stands for; (T,) where `fit` was given targets (N, T).
        y_half_range_: by how much the target grows with the output, likewise.

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> regressor = QuantumRegressor(reuploads=2, epochs=60, random_state=0).fit(X, 10 + np.sin(2 * X[:, 0]))
    >>> regressor.score(X, 10 + np.sin(2 * X[:, 0])) > 0.95
    True
    """

    _losses, _scale = ("squared_error",), 2.0
    _checks = {"multi_output": True}

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "QuantumRegressor":  # noqa: N803
        """Train on samples (N, n_features) with targets (N,) or (N, T), as `QuantumClassifier.fit` does."""
        require_numbers(y)
        with unchanged_by_failure(self):
            X, y = checked_data(self, X, y, y_numeric=True, **self._checks)  # noqa: N806
            X, y, weights = samples_that_count(X, y, sample_weight)  # noqa: N806
            low, high = np.min(y, axis=0) / 2, np.max(y, axis=0) / 2
            self.y_middle_, self.y_half_range_ = low + high, np.where(high > low, high - low, 1.0)[()]
            self._train(X, y, weights, (np.size(low),))
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Targets, (N,) or (N, T) as in training."""
        # Single precision would lose what differs between targets far from zero.
        outputs = self._outputs(X).astype(np.float64)
        return self.y_middle_ + self.y_half_range_ * (outputs if np.ndim(self.y_middle_) else outputs[:, 0])

    def _targets(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        require_numbers(y)
        if y.shape[1:] != (several := np.shape(self.y_middle_)):
            wanted = f"(N, {several[0]})" if several else "(N,)"
            raise ValueError(f"Argument `y` must have shape {wanted}, as in training, but has shape {y.shape}.")
        return ((np.float64(y) - self.y_middle_) / self.y_half_range_).astype(dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
