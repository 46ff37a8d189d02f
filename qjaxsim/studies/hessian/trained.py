"""Trained models out of a results folder of the study `hessian`."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.models.patches import Params, PatchesModel
from qjaxsim.studies.hessian.cells import MINIMUM, arms
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.hessian.study import STUDY, load_examples, model_of
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.recorded import choose_finished, recorded_settings
from qjaxsim.training.checkpoint import read_point


class TrainedCell(NamedTuple):
    """A finished cell's model at its training minimum.

    Attributes:
        key: of the cell.
        model: the model.
        params: at the checkpoint of lowest training loss, in the precision of training (single without JAX's x64 mode).
        examples: its images as angles, with labels.
        row: the cell's line of the summary.
        labels: of the model's outputs, in their order.
    """

    key: str
    model: PatchesModel
    params: Params
    examples: HessianExamples
    row: dict[str, Any]
    labels: tuple[int, ...]

    def predict(self, images: Any) -> np.ndarray:
        """The label of each image, (N,) int32.

        Args:
            images: as the data set has them, (N, side, side) with pixels up to its largest; they are scaled here as
                for training.

        Raises:
            ValueError: for images of other sizes, or pixels out of range.
        """
        prepare = self.examples.prepare
        assert prepare is not None
        logits = self.model.outputs(self.params, jnp.asarray(prepare(images), self.params["weights"].dtype))
        return np.asarray(self.labels, np.int32)[np.asarray(logits).argmax(axis=1)]


def trained_cell(out: str | Path, key: str | None = None, *, data_dir: Path | None = None) -> TrainedCell:
    """The trained model of one finished cell.

    Args:
        out: results folder of the study.
        key: the cell's key; default the first finished one.
        data_dir: where prepared data sets are; None for TFDS's place.

    Raises:
        ValueError: if `out` holds no such study, no such finished cell, or one that is no training minimum.
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    recorded = recorded_settings(out, STUDY.name)
    del recorded["images_source"]
    known = {arm.cell.key: arm for arm in arms(HessianSettings(**recorded)) if arm.point == MINIMUM}
    chosen = choose_finished(out, list(known), key)
    changed = known[chosen].settings
    examples = load_examples(changed, changed.classes, data_dir)
    model, row = model_of(changed, examples), sweep.read_row(out, chosen)
    flat = read_point(sweep.cell_folder(out, chosen) / "training", int(row["best_epoch"]))
    dtype = jax.dtypes.canonicalize_dtype(flat.dtype)  # JAX would warn of doubles that it does not hold
    _, unravel = ravel_pytree(model.init(jax.random.key(0), dtype))
    labels = changed.classes or tuple(range(examples.n_classes))
    return TrainedCell(chosen, model, unravel(jnp.asarray(flat, dtype)), examples, row, labels)
