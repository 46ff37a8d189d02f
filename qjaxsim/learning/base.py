"""What the estimators share: from parameters to a trained model, its outputs and its curvature."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.common.checks import positive_integer, require_one_of, require_positive, shown
from qjaxsim.curvature import SpectrumReport, spectrum_report
from qjaxsim.learning.building import build_circuit, default_observables
from qjaxsim.learning.data import checked_data, samples_that_count
from qjaxsim.models.circuit_model import CircuitModel
from qjaxsim.models.losses import LOSSES, Loss, metrics, sample_losses
from qjaxsim.training import TrainConfig, fit

if TYPE_CHECKING:
    from rich.progress import Progress

# Samples whose states are held at once after training.
_AT_ONCE = 1024
_RATE = 0.1


class QuantumEstimator(BaseEstimator):
    """A circuit model with the methods of scikit-learn; `QuantumClassifier` says what the parameters are."""

    # What a subclass differs in: its losses, the default first, the default of `output_scale`, and what scikit-learn is
    # to check of targets.
    _losses: tuple[str, ...]
    _scale: float
    _checks: Mapping[str, bool] = MappingProxyType({})

    def __init__(
        self,
        feature_map: str | Circuit = "angle",
        ansatz: str | Circuit | None = "efficient_su2",
        *,
        layers: int = 2,
        reuploads: int = 1,
        n_qubits: int | None = None,
        inputs: str | Sequence[str] = "x",
        observables: PauliSum | Sequence[PauliSum] | None = None,
        output_scale: float | None = None,
        trainable_scale: bool = False,
        scale_features: tuple[float, float] | None = (0.0, math.pi),
        loss: str | Loss | None = None,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        schedule: str = "constant",
        epochs: int = 50,
        batch_size: int = 32,
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
        self.scale_features = scale_features
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.dtype = dtype
        self.random_state = random_state
        self.warm_start = warm_start
        self.progress = progress
        self.folder = folder
        self.resume = resume

    def curvature(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> SpectrumReport:  # noqa: N803
        """The curvature of the mean loss at the trained weights: spectrum, parts, blocks and planes.

        Args:
            X: (N, n_features) samples.
            y: (N,) targets, or (N, T) as in training.
            sample_weight: (N,) weights of the samples in the mean, as `fit` takes them.
            options: as `qjaxsim.curvature.spectrum_report` takes them; `trajectory=estimator.trajectory_` also draws
                the path of training.

        Returns:
            The report; `plot`, `to_html` and `save` are its methods. Of a regressor the loss is that of scaled targets.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            ValueError: for data that `predict` refuses, and targets of another number or of unknown classes.
        """
        check_is_fitted(self, "model_")
        X, y = checked_data(self, X, y, reset=False, **self._checks)  # noqa: N806
        X, y, weights = samples_that_count(X, y, sample_weight)  # noqa: N806
        dtype, loss = self._trained_dtype, self._chosen_loss()
        angles, targets = self._angles(X, dtype), self._targets(y, dtype)
        if weights is None:
            return spectrum_report(self.model_.outputs, self.params_, (angles, targets), loss=loss, **options)
        data = angles, (targets, (weights / weights.mean()).astype(dtype))
        return spectrum_report(self.model_.outputs, self.params_, data, loss=_weighted(loss), **options)

    def _targets(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """What the loss compares outputs with, (N,) or (N, T)."""
        raise NotImplementedError

    # --- training ----------------------------------------------------------------------------------------------------

    def _train(
        self,
        X: np.ndarray,  # noqa: N803
        y: np.ndarray,
        weights: np.ndarray | None,
        counts: tuple[int, ...],
    ) -> None:
        """Build the model for these data and train it.

        Args:
            X: (N, n_features).
            y: (N,) or (N, T) as the estimator's users give them.
            weights: (N,) of the samples, positive; None for equal ones.
            counts: how many outputs the model may have, the default first.
        """
        loss, dtype = self._chosen_loss(), self._chosen_dtype()
        self.scaler_ = self._fitted_scaler(X)
        model = self._model(X.shape[1], counts)
        seed = self._chosen_seed()
        found = fit(
            sample_losses(model, loss),
            self._start(model, seed, dtype),
            self._angles(X, dtype),
            self._targets(y, dtype),
            self._config(seed, len(X)),
            weights=weights,
            metrics=metrics(model, loss),
            folder=self.folder,
            resume=self.resume,
            progress=self.progress,
        )
        self.model_, self.circuit_ = model, model.circuit
        self.params_, self.history_, self.trajectory_ = found.params_best, found.history, found.trajectory

    def _config(self, seed: int, n_samples: int) -> TrainConfig:
        # An optimiser of optax brings its rate, and what it would be given beside is left at the loop's default.
        default = _RATE if isinstance(self.optimizer, str) else TrainConfig.learning_rate
        return TrainConfig(
            epochs=self.epochs,
            batch_size=min(positive_integer("batch_size", self.batch_size), n_samples),
            learning_rate=default if self.learning_rate is None else self.learning_rate,
            schedule=self.schedule,
            optimizer=self.optimizer,
            seed=seed,
        )

    def _model(self, n_features: int, counts: tuple[int, ...]) -> CircuitModel:
        given = self.observables
        circuit = build_circuit(
            self.feature_map,
            self.ansatz,
            n_features,
            n_outputs=counts[0] if given is None else 1,
            n_qubits=self.n_qubits,
            layers=self.layers,
            reuploads=self.reuploads,
            inputs=self.inputs,
        )
        width = circuit.n_qubits
        observables = pauli_sums(default_observables(counts[0], width) if given is None else given, width)
        if len(observables) not in counts:
            raise ValueError(
                f"Argument `observables` must hold {' or '.join(map(str, counts))} for these targets, but holds "
                f"{len(observables)}."
            )
        scale = self._scale if self.output_scale is None else self.output_scale
        require_positive("output_scale", scale)
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
                "Argument `warm_start` must be False after a change of circuit, observables, scale or number of "
                "classes, but is True."
            )
        return {name: leaf.astype(dtype) for name, leaf in self.params_.items()}

    def _chosen_loss(self) -> Loss:
        if callable(self.loss):
            return self.loss
        name = self._losses[0] if self.loss is None else self.loss
        require_one_of("loss", name, self._losses, " or a function of outputs and targets")
        return LOSSES[name]

    def _chosen_seed(self) -> int:
        try:
            state = check_random_state(self.random_state)
        except ValueError as error:
            raise ValueError(
                "Argument `random_state` must be an integer from 0 to 4294967295, a numpy.random.RandomState or None, "
                f"but is {shown(self.random_state)}."
            ) from error
        return int(state.randint(2**31 - 1))

    def _chosen_dtype(self) -> np.dtype:
        require_one_of("dtype", self.dtype, (None, "float32", "float64"))
        chosen = jnp.zeros(()).dtype if self.dtype is None else np.dtype(self.dtype)
        if jax.dtypes.canonicalize_dtype(chosen) != chosen:
            raise ValueError(
                "Argument `dtype` must be 'float32' or None without JAX's double precision, but is 'float64'; switch "
                'that on by `jax.config.update("jax_enable_x64", True)`.'
            )
        return chosen

    # --- features and outputs ----------------------------------------------------------------------------------------

    def _fitted_scaler(self, X: np.ndarray) -> Any:  # noqa: N803
        """What takes features to angles, None where they are angles already."""
        if self.scale_features is None:
            return None
        from sklearn.preprocessing import MinMaxScaler

        bounds = np.asarray(self.scale_features)
        if bounds.shape != (2,) or bounds.dtype.kind not in "iuf" or not -np.inf < bounds[0] < bounds[1] < np.inf:
            raise ValueError(
                "Argument `scale_features` must be two angles in ascending order, or None for features that are angles "
                f"already, but is {shown(self.scale_features)}."
            )
        scaler = MinMaxScaler((float(bounds[0]), float(bounds[1]))).fit(X)
        # scikit-learn takes features of a range below 2e-15 for constant, in whatever unit they are.
        varies = scaler.data_range_ > 10 * np.finfo(np.float64).eps * np.abs(X).max(axis=0)
        scaler.scale_[varies] = (bounds[1] - bounds[0]) / scaler.data_range_[varies]
        scaler.min_ = bounds[0] - scaler.data_min_ * scaler.scale_
        return scaler

    def _angles(self, X: np.ndarray, dtype: Any) -> np.ndarray:  # noqa: N803
        return np.asarray(X if self.scaler_ is None else self.scaler_.transform(X), dtype)

    @property
    def _trained_dtype(self) -> Any:
        return next(iter(self.params_.values())).dtype

    def _outputs(self, X: Any) -> np.ndarray:  # noqa: N803
        """The model's outputs, (N, K)."""
        check_is_fitted(self, "model_")
        x = self._angles(checked_data(self, X, reset=False), self._trained_dtype)
        parts = [x[start : start + _AT_ONCE] for start in range(0, len(x), _AT_ONCE)]
        return np.concatenate([np.asarray(_run(self.model_.outputs, self.params_, part)) for part in parts])


@contextmanager
def unchanged_by_failure(estimator: Any) -> Iterator[None]:
    """Whatever an earlier `fit` found stays together where this one fails or is interrupted."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@functools.lru_cache(maxsize=16)  # so that equal losses share what is compiled
def _weighted(loss: Loss) -> Callable[[jax.Array, Any], jax.Array]:
    """The loss of targets that come with weights; a mean, which has no place for them, stays one and is refused."""

    def weighted(outputs: jax.Array, targets: Any) -> jax.Array:
        losses = loss(outputs, targets[0])
        return targets[1] * losses if jnp.ndim(losses) else losses

    return weighted


@functools.partial(jax.jit, static_argnums=0)
def _run(outputs: Callable[..., jax.Array], params: Any, x: Any) -> jax.Array:
    return outputs(params, x)
