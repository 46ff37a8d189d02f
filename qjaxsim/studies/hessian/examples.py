"""The images and the model of a cell."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qjaxsim import datasets
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.shared.examples import Examples, source_of, training_and_test
from qjaxsim.studies.shared.preprocessing import preprocessing_of
from qjaxsim.studies.shared.setting import require_at_most


@dataclass(frozen=True, eq=False, kw_only=True)
class HessianExamples(Examples):
    """Images as angles (N, side, side) and labels (N,) int32, in double precision.

    Attributes:
        chosen: maps a number of training images, None for all, to a stratified choice of so many.
    """

    chosen: Callable[[int | None], tuple[np.ndarray, np.ndarray]]


def load_examples(settings: HessianSettings, classes: tuple[int, ...] | None, data_dir: Path | None) -> HessianExamples:
    """Training and test images of some classes as angles, with labels; `settings` must be resolved."""
    train, test = training_and_test(settings.dataset, data_dir, settings.data_seed)
    prepare = preprocessing_of(train, grey=True, n_qubits=settings.qubits, pool=settings.pool)
    if classes is not None:
        train, test = (datasets.select_classes(split, classes) for split in (train, test))
    if settings.images is not None:
        require_at_most("images", settings.images, len(train), f"training images of {settings.dataset}")
        train = datasets.subset(train, settings.images, seed=settings.data_seed)

    @functools.cache
    def chosen(images: int | None) -> tuple[np.ndarray, np.ndarray]:
        if images is None or images >= len(train):
            return angles, train.labels
        part = datasets.subset(train, images, seed=settings.data_seed)
        return prepare(part.images), part.labels

    angles = prepare(train.images)
    return HessianExamples(
        x_train=angles,
        y_train=train.labels,
        x_test=prepare(test.images),
        y_test=test.labels,
        n_classes=train.n_classes,
        source=source_of(train, test),
        chosen=chosen,
        prepare=prepare,
    )


def model_of(settings: HessianSettings, examples: HessianExamples) -> PatchesModel:
    """The model of one cell; `settings` must be resolved, with one value each of patches and layers."""
    assert settings.qubits is not None and settings.patch_size is not None
    return PatchesModel(
        n_patches=settings.patches[0],
        n_layers=settings.layers[0],
        n_qubits=settings.qubits,
        image_size=examples.x_train.shape[1],
        patch_size=settings.patch_size,
        n_classes=examples.n_classes,
        scale=settings.scale,
        aggregation=settings.aggregation,
    )
