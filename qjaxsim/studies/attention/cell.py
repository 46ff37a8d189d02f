"""One cell of the study `attention`: train one kind with one seed, then look at what it does."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.models.losses import metrics, sample_losses
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.attention import measures
from qjaxsim.studies.attention.columns import COLUMNS
from qjaxsim.studies.attention.settings import COMPARED, AttentionStudySettings
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.sweep import CellResult
from qjaxsim.training import TrainResult, fit

# Images whose maps are drawn.
SHOWN = 6


def model_of(settings: AttentionStudySettings, examples: Examples, kind: str) -> VisionTransformer:
    """The model of one kind; `settings` must be resolved."""
    assert settings.patch_size is not None and settings.dim is not None
    return VisionTransformer(
        image_size=examples.x_train.shape[1],
        channels=examples.x_train.shape[3],
        patch_size=settings.patch_size,
        dim=settings.dim,
        hidden=settings.dim,
        n_classes=examples.n_classes,
        attention=settings.layer(kind),
    )


def run_cell(
    settings: AttentionStudySettings,
    model: VisionTransformer,
    seed: int,
    examples: Examples,
    folder: Path,
    progress: Progress,
) -> CellResult:
    """Train, or take up the training that `folder` holds, then measure."""
    result = train(settings, model, seed, examples, folder / "training", progress)
    params, kind = result.params_final, model.attention.kind
    few = examples.x_test[: settings.energy_images]
    attended = jax.jit(model.first_attention)(params, to_jax(few))
    weights = np.asarray(attended.weights)
    accuracies = np.array([row["test_accuracy"] for row in result.history])
    last = result.history[-1]
    row: dict[str, Any] = {
        "attention": kind,
        "seed": seed,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "images": len(examples.x_train),
        "epochs": settings.epochs,
        **{name: last[name] for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")},
        "best_test_accuracy": float(accuracies[1:].max()),
        "largest_fall": measures.largest_fall(accuracies[1:]),
        **measures.selection(model.attention, weights),
        **measures.times(model, params, examples.x_test[: settings.batch_size]),
        "seconds_train": sum(float(entry["seconds"] or 0.0) for entry in result.history),
    }
    if kind == "qama-v2":
        row |= measures.swapped(model, params, examples.x_test, examples.y_test)
    if kind in COMPARED:
        row |= measures.energies(model.attention, jax.jit(model.first_problem)(params, to_jax(few)))
    arrays = {
        "history_train_loss": np.array([entry["train_loss"] for entry in result.history]),
        "history_test_accuracy": accuracies,
        "images": few[:SHOWN],
        "weights": weights[:SHOWN],
    }
    return CellResult({name: row[name] for name in COLUMNS if name in row}, arrays)


def train(
    settings: AttentionStudySettings,
    model: VisionTransformer,
    seed: int,
    examples: Examples,
    folder: Path,
    progress: Progress,
) -> TrainResult:
    """The model trained with the study's settings, checkpointed in `folder` and resumed from there."""
    return fit(
        sample_losses(model),
        model.init(jax.random.key(seed), np.float32),
        examples.x_train,
        examples.y_train,
        settings.train_config(seed, len(examples.x_test)),
        metrics=metrics(model),
        test=(examples.x_test, examples.y_test),
        folder=folder,
        resume=True,
        progress=progress,
    )
