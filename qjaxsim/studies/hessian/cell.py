"""One cell of the study `hessian`: train, take curvature at a point of the path, look at planes through it."""

import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.progress import Progress
from qjaxsim.models.losses import metrics, sample_losses
from qjaxsim.models.patches import Params, PatchesModel
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.hessian.columns import COLUMNS
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.planes import planes
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.hessian.spectrum import measure
from qjaxsim.studies.shared.sharpness import sharpness_arrays
from qjaxsim.studies.shared.sweep import CellResult
from qjaxsim.training import Evaluation, TrainConfig, TrainResult, fit

# Halvings of the way between two checkpoints to the point of a given loss.
_HALVINGS = 30


class Point(NamedTuple):
    """Where curvature is taken: parameters, epochs done, and the history's columns there."""

    params: Params
    epoch: float
    metrics: dict[str, float]


def run_cell(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    folder: Path,
    progress: Progress,
    *,
    training: Path | None = None,
    loss: float | None = None,
) -> CellResult:
    """Train, or take up the training that `folder` holds, then compute spectrum and landscapes.

    Args:
        settings: resolved, with one value each of patches, layers and seeds.
        model: the model.
        examples: its data.
        folder: the cell's.
        progress: bars.
        training: folder of the training; default the cell's own.
        loss: training loss to look for on the path; default its minimum.
    """
    result = train(settings, model, examples, folder / "training" if training is None else training, progress)
    point = _minimum(result) if loss is None else at_loss(model, examples, result, loss)
    params = jax.tree.map(lambda leaf: leaf.astype(settings.dtype), point.params)
    began = time.perf_counter()
    measured, arrays = measure(settings, model, examples, params, progress, folder)
    seconds_hessian = time.perf_counter() - began
    row = {
        "patches": model.n_patches,
        "layers": model.n_layers,
        "qubits": model.n_qubits,
        "n_classes": model.n_classes,
        "parameters": model.n_parameters,
        "aggregation": model.aggregation,
        "scale": model.scale,
        "learning_rate": settings.train_config().learning_rate,
        "seed": settings.seeds[0],
        "images": len(examples.x_train),
        "epochs": settings.epochs,
        "best_epoch": point.epoch,
        **point.metrics,
        "final_test_accuracy": result.history[-1]["test_accuracy"],
        **measured,
        "seconds_train": sum(float(entry["seconds"] or 0.0) for entry in result.history),
        "seconds_hessian": seconds_hessian,
    }
    arrays |= {
        "history_train_loss": np.array([entry["train_loss"] for entry in result.history]),
        "history_test_loss": np.array([entry["test_loss"] for entry in result.history]),
        "minimum": np.array(result.best_epoch),
    }
    if settings.sharpness and training is None:
        arrays |= _sharpness(settings, model, examples, result, folder, progress)
    vectors = arrays.pop("top_vectors")
    if loss is None:
        arrays |= planes(settings, model, examples, result, (arrays["top_values"], vectors), progress, folder)
    return CellResult({name: row[name] for name in COLUMNS if name in row}, arrays)


# --- training --------------------------------------------------------------------------------------------------------


def train(
    settings: HessianSettings, model: PatchesModel, examples: HessianExamples, folder: Path, progress: Progress
) -> TrainResult:
    """The model trained with the study's settings, checkpointed in `folder` and resumed from there."""
    dtype = np.dtype(settings.training_dtype)
    return fit(
        sample_losses(model),
        model.init(jax.random.key(settings.seeds[0]), dtype),
        examples.x_train.astype(dtype),
        examples.y_train,
        settings.train_config(),
        metrics=metrics(model),
        test=(examples.x_test.astype(dtype), examples.y_test),
        folder=folder,
        resume=True,  # a folder with checkpoints is always an earlier attempt at this very cell
        progress=progress,
    )


def _sharpness(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    result: TrainResult,
    folder: Path,
    progress: Progress,
) -> dict[str, np.ndarray]:
    x = examples.x_train.astype(result.trajectory.dtype)
    config = settings.train_config()
    return sharpness_arrays(sample_losses(model), result, x, examples.y_train, config, folder, progress)


# --- where to look ---------------------------------------------------------------------------------------------------


def _minimum(result: TrainResult) -> Point:
    """The checkpoint of lowest training loss, the paper's choice."""
    row = result.history[result.best_epoch]
    names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    return Point(result.params_best, result.best_epoch, {name: float(row[name] or 0.0) for name in names})


def at_loss(model: PatchesModel, examples: HessianExamples, result: TrainResult, loss: float) -> Point:
    """The first point of given training loss on the path, which is straight between checkpoints.

    Raises:
        ValueError: if the path does not come down to it.
    """
    losses = np.array([row["train_loss"] for row in result.history], float)
    reached = np.flatnonzero(losses <= loss)
    if not reached.size:
        raise ValueError(f"Argument `loss` must be at least the path's lowest, {losses.min():.6g}, but is {loss:.6g}.")
    after = int(reached[0])
    if after == 0:
        return _evaluated(model, examples, result, 0.0)
    evaluation = _evaluation(model, examples, result)
    low, high = float(after - 1), float(after)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = evaluation.means("train", _on_path(result, middle))["loss"] > loss
        low, high = (middle, high) if above else (low, middle)
        if (high - low) * abs(losses[after] - losses[after - 1]) < 1e-6 * loss:
            break
    return _evaluated(model, examples, result, high)


def _evaluated(model: PatchesModel, examples: HessianExamples, result: TrainResult, epoch: float) -> Point:
    params = _on_path(result, epoch)
    return Point(params, epoch, _evaluation(model, examples, result)(params))


def _evaluation(model: PatchesModel, examples: HessianExamples, result: TrainResult) -> Evaluation:
    """As in training, by the same program."""
    dtype = result.trajectory.dtype
    data = {
        "train": (examples.x_train.astype(dtype), examples.y_train),
        "test": (examples.x_test.astype(dtype), examples.y_test),
    }
    return Evaluation(metrics(model), result.params_best, data, TrainConfig.eval_batch_size)


def _on_path(result: TrainResult, epoch: float) -> Params:
    _, unravel = ravel_pytree(result.params_best)
    before = min(int(epoch), len(result.trajectory) - 2)
    share = epoch - before
    ends = result.trajectory[before : before + 2]
    return unravel(to_jax(((1 - share) * ends[0] + share * ends[1]).astype(ends.dtype)))
