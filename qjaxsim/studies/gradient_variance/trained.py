"""Trained models out of a results folder of the study `gradient-variance`."""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from qjaxsim.models.hybrid import HybridModel, Params
from qjaxsim.studies.gradient_variance.cell import END, seed_parameters
from qjaxsim.studies.gradient_variance.cells import HESSIAN, INITIALISATIONS, arms
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.gradient_variance.study import STUDY, load_images
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.recorded import choose_finished, recorded_settings


class TrainedHybrid(NamedTuple):
    """A finished cell's model at the end of training.

    Attributes:
        key: of the cell.
        seed: of the training.
        model: the model.
        params: at its end, in the precision of training.
        images: the study's.
    """

    key: str
    seed: int
    model: HybridModel
    params: Params
    images: Examples

    def predict(self, images: Any) -> np.ndarray:
        """The label of each image, (N,) int32.

        Args:
            images: as the data set has them, (N, side, side) with pixels up to its largest; they are scaled here as
                for training.

        Raises:
            ValueError: for images of other sizes, or pixels out of range.
        """
        assert self.images.prepare is not None
        x = jnp.asarray(self.images.prepare(images), self.params["weights"].dtype)
        return np.asarray(self.model.outputs(self.params, x)).argmax(axis=1).astype(np.int32)


def trained_hybrid(
    out: str | Path, key: str | None = None, seed: int | None = None, *, data_dir: Path | None = None
) -> TrainedHybrid:
    """The trained model of one seed of a finished cell.

    Args:
        out: results folder of the study.
        key: the cell's key; default the first finished one, the centre of the sweeps.
        seed: one of the cell's; default its first.
        data_dir: where prepared data sets are; None for TFDS's place.

    Raises:
        ValueError: if `out` holds no such study, no such finished cell, or the cell no such seed.
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    recorded = recorded_settings(out, STUDY.name)
    del recorded["images_source"]
    settings = GradientSettings(**recorded)
    images = load_images(settings, data_dir)
    runs = {
        arm.cell.key: arm.run
        for arm in arms(settings, len(images.x_train))
        if arm.control not in (INITIALISATIONS, HESSIAN)
    }
    chosen = choose_finished(out, list(runs), key)
    arrays = sweep.read_arrays(out, chosen)
    first = int(arrays["seeds"][0]) if seed is None else seed
    model = runs[chosen].model(images.side, images.n_classes)
    return TrainedHybrid(chosen, first, model, seed_parameters(arrays, END, first), images)
