"""A classifier and a regressor in scikit-learn's style, around a circuit that is trained by gradients."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.common.checks import require_one_of, shown
from qjaxsim.learning.building import build_circuit, default_observables
from qjaxsim.models.circuit_model import CircuitModel
from qjaxsim.models.losses import LOSSES, Loss, decided, mean_loss, metrics
from qjaxsim.training import TrainConfig, fit

if TYPE_CHECKING:
    from rich.progress import Progress

# Samples whose states are held at once when predicting.
_AT_ONCE = 1024
_REALS = (np.float64, np.float32)


class _QuantumEstimator(BaseEstimator):
    """What both share: parameters, the model, training, outputs and curvature."""

    def __init__(
        self,
        feature_map: str | Circuit = "angle",
        ansatz: str | Circuit | None = "real_amplitudes",
        *,
        layers: int = 2,
        reuploads: int = 1,
        n_qubits: int | None = None,
        inputs: str | Sequence[str] = "x",
        observables: PauliSum | Sequence[PauliSum] | None = None,
        output_scale: float | None = None,
        trainable_scale: bool = False,
        loss: str | Loss | None = None,
        optimizer: Any = "adam",
        learning_rate: float = 0.1,
        schedule: str = "constant",
        epochs: int = 50,
        batch_size: int = 32,
        scale_features: tuple[float, float] | None = (0.0, math.pi),
        dtype: str | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        progress: "bool | Progress" = False,
        folder: str | Path | None = None,
        resume: bool = False,
    ):
        self.feature_map = feature_map
        self.ansatz = ansatz
        self.layers = layers
        self.reuploads = reuploads
        self.n_qubits = n_qubits
        self.inputs = inputs
        self.observables = observables
        self.output_scale = output_scale
        self.trainable_scale = trainable_scale
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.scale_features = scale_features
        self.dtype = dtype
        self.random_state = random_state
        self.warm_start = warm_start
        self.progress = progress
        self.folder = folder
        self.resume = resume

    # What the two differ in.
    _LOSS: str
    _SCALE: float

    def _train(self, X: np.ndarray, y: np.ndarray, n_outputs: int) -> None:  # noqa: N803
        """Build the model for these data, and set what training finds."""
        loss, dtype = self._chosen_loss(), self._chosen_dtype()
        self._fit_scaler(X)
        model = self._model(X.shape[1], n_outputs)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        config = TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            optimizer=self.optimizer,
            seed=seed,
        )
        found = fit(
            mean_loss(model, loss),
            self._start(model, seed, dtype),
            self._angles(X, dtype),
            y,
            config,
            metrics=metrics(model, loss),
            folder=self.folder,
            resume=self.resume,
            progress=self.progress,
        )
        self.model_, self.circuit_ = model, model.circuit
        self.params_, self.history_ = found.params_best, found.history

    def _model(self, n_features: int, n_outputs: int) -> CircuitModel:
        circuit = build_circuit(
            self.feature_map,
            self.ansatz,
            n_features,
            n_outputs=n_outputs if self.observables is None else 1,
            n_qubits=self.n_qubits,
            layers=self.layers,
            reuploads=self.reuploads,
            inputs=self.inputs,
        )
        if self.observables is None:
            observables = tuple(default_observables(n_outputs, circuit.n_qubits))
        else:
            observables = pauli_sums(self.observables, circuit.n_qubits)
        scale = self._SCALE if self.output_scale is None else self.output_scale
        model = CircuitModel(circuit, observables, self.inputs, scale, self.trainable_scale)
        if model.n_features != n_features:
            raise ValueError(
                f"Argument `X` must have as many features as enter the circuit, {model.n_features} by "
                f"{', '.join(map(repr, model.inputs))}, but has {n_features}."
            )
        return model

    def _start(self, model: CircuitModel, seed: int, dtype: Any) -> dict[str, jax.Array]:
        if not (self.warm_start and hasattr(self, "params_")):
            return model.init(jax.random.key(seed), dtype)
        if model != self.model_:
            raise ValueError(
                "Argument `warm_start` must be False for another circuit, other observables or another number of "
                "classes than in the fit before, but is True."
            )
        return {name: leaf.astype(dtype) for name, leaf in self.params_.items()}

    def _chosen_loss(self) -> Loss:
        if callable(self.loss):
            return self.loss
        name = self._loss_name()
        require_one_of("loss", name, self._losses(), " or a function of outputs and targets")
        return LOSSES[name]

    def _loss_name(self) -> Any:
        return self._LOSS if self.loss is None else self.loss

    def _losses(self) -> list[str]:
        return list(LOSSES)

    def _chosen_dtype(self) -> Any:
        require_one_of("dtype", self.dtype, (None, "float32", "float64"))
        default = jnp.zeros(()).dtype
        if self.dtype == "float64" and default != np.float64 and not jax.config.read("jax_enable_x64"):
            raise ValueError(
                "Argument `dtype` must be 'float32' or None without JAX's double precision, but is 'float64'; switch it "
                'on by `jax.config.update("jax_enable_x64", True)`.'
            )
        return default if self.dtype is None else np.dtype(self.dtype)

    # --- features --------------------------------------------------------------------------------------------------

    def _fit_scaler(self, X: np.ndarray) -> None:  # noqa: N803
        from sklearn.preprocessing import MinMaxScaler

        if self.scale_features is None:
            self.scaler_ = None
            return
        bounds = np.asarray(self.scale_features, float)
        if bounds.shape != (2,) or not (np.isfinite(bounds).all() and bounds[0] < bounds[1]):
            raise ValueError(
                "Argument `scale_features` must be two finite angles in ascending order, or None for features that are "
                f"angles already, but is {shown(self.scale_features)}."
            )
        self.scaler_ = MinMaxScaler((float(bounds[0]), float(bounds[1]))).fit(X)

    def _angles(self, X: np.ndarray, dtype: Any) -> np.ndarray:  # noqa: N803
        scaled = X if self.scaler_ is None else self.scaler_.transform(X)
        return np.asarray(scaled, dtype)

    # --- after training --------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> np.ndarray:  # noqa: N803
        """The model's outputs, (N, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=_REALS)  # noqa: N806
        x = self._angles(X, self._trained_dtype())
        parts = [x[start : start + _AT_ONCE] for start in range(0, len(x), _AT_ONCE)]
        return np.concatenate([np.asarray(_run(self.model_.outputs, self.params_, part)) for part in parts])

    def _trained_dtype(self) -> Any:
        return next(iter(self.params_.values())).dtype

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """What the loss compares outputs with, (N,)."""
        raise NotImplementedError

    def curvature(self, X: Any, y: Any, **options: Any) -> Any:  # noqa: N803
        """The curvature report of the mean loss at the trained parameters.

        Args:
            X: (N, n_features) samples.
            y: (N,) targets.
            options: as `qjaxsim.curvature.spectrum_report` takes them.

        Returns:
            What that function returns.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            ValueError: for data as `predict` refuses them, and targets of another number or unknown classes.
        """
        import qjaxsim.curvature

        check_is_fitted(self)
        X, y = validate_data(self, X, y, reset=False, dtype=_REALS)  # noqa: N806
        data = self._angles(X, self._trained_dtype()), self._targets(y)
        report: Callable[..., Any] = qjaxsim.curvature.spectrum_report
        return report(self.model_.outputs, self.params_, data, loss=self._chosen_loss(), **options)


class QuantumClassifier(ClassifierMixin, _QuantumEstimator):
    """TODO."""

    _LOSS, _SCALE = "cross_entropy", 5.0

    def fit(self, X: Any, y: Any) -> "QuantumClassifier":  # noqa: N803
        """Train."""
        X, y = validate_data(self, X, y, dtype=_REALS)  # noqa: N806
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(f"Argument `y` must hold at least two classes, but holds one class, {self.classes_[0]!r}.")
        if self.observables is not None and (given := _count(self.observables)) not in ({1, 2} if count == 2 else {count}):
            raise ValueError("TODO")
        n_outputs = 1 if count == 2 else count
        self._train(X, self._targets(y), n_outputs)
        return self

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes_, y).astype(np.int32)

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Logits."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 2:
            return outputs[:, 1] - outputs[:, 0]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Classes."""
        return self.classes_[np.asarray(decided(jnp.asarray(self._outputs(X))))]

    @available_if(lambda self: self._loss_name() == "cross_entropy")
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        return np.asarray(jax.nn.softmax(outputs, axis=1))


class QuantumRegressor(RegressorMixin, _QuantumEstimator):
    """TODO."""

    _LOSS, _SCALE = "squared_error", 2.0

    def fit(self, X: Any, y: Any) -> "QuantumRegressor":  # noqa: N803
        """Train."""
        X, y = validate_data(self, X, y, dtype=_REALS, y_numeric=True)  # noqa: N806
        low, high = float(y.min()), float(y.max())
        self.y_middle_, self.y_half_range_ = (low + high) / 2, (high - low) / 2 or 1.0
        self._train(X, self._targets(y), 1)
        return self

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return ((y - self.y_middle_) / self.y_half_range_).astype(self._chosen_dtype())

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        return self.y_middle_ + self.y_half_range_ * self._outputs(X)[:, 0]


def _count(observables: Any) -> int:
    return 1 if isinstance(observables, PauliSum) else len(observables)


@partial(jax.jit, static_argnums=0)
def _run(outputs: Callable[..., jax.Array], params: Any, x: Any) -> jax.Array:
    return outputs(params, x)
