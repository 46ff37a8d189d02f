"""Trained models out of a results folder of the study `hessian`."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from qjaxsim.models.patches import Params, PatchesModel
from qjaxsim.studies import sweep
from qjaxsim.studies.hessian import STUDY, load_examples, model_of
from qjaxsim.studies.hessian_cell import Examples
from qjaxsim.studies.hessian_controls import MINIMUM, arms
from qjaxsim.studies.hessian_settings import HessianSettings
from qjaxsim.studies.recorded import choose_finished, recorded_settings
from qjaxsim.training.checkpoint import read_point


class TrainedCell(NamedTuple):
    """A finished cell's model at its training minimum.

    Attributes:
        key: of the cell.
        model: the model.
        params: at the checkpoint of lowest training loss, in the precision of training.
        examples: its images as angles, with labels.
        row: the cell's line of the summary.
    """

    key: str
    model: PatchesModel
    params: Params
    examples: Examples
    row: dict[str, Any]


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
    recorded = recorded_settings(out, STUDY)
    del recorded["images_source"]
    known = {arm.cell.key: arm for arm in arms(HessianSettings(**recorded)) if arm.point == MINIMUM}
    chosen = choose_finished(out, list(known), key)
    changed = known[chosen].settings
    examples = load_examples(changed, changed.classes, data_dir)
    model, row = model_of(changed, examples), sweep.read_row(out, chosen)
    flat = read_point(sweep.cell_folder(out, chosen) / "training", int(row["best_epoch"]))
    _, unravel = ravel_pytree(model.init(jax.random.key(0), flat.dtype))
    return TrainedCell(chosen, model, unravel(jnp.asarray(flat)), examples, row)
