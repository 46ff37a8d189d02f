"""Trained models out of a results folder of the study `hessian`."""

import json
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
    settings = _settings(Path(out))
    known = {arm.cell.key: arm for arm in arms(settings) if arm.point == MINIMUM}
    finished = [key for key in known if (sweep.cell_folder(out, key) / "result.json").is_file()]
    chosen = key or next(iter(finished), None)
    if chosen not in finished:
        raise ValueError(
            f"Argument `cell` must be a finished cell of {out} that ends at a training minimum "
            f"({', '.join(finished) or 'there is none yet'}), but is {key!r}."
        )
    changed = known[chosen].settings
    examples = load_examples(changed, changed.classes, data_dir)
    model, row = model_of(changed, examples), sweep.read_row(out, chosen)
    flat = read_point(sweep.cell_folder(out, chosen) / "training", int(row["best_epoch"]))
    _, unravel = ravel_pytree(model.init(jax.random.key(0), flat.dtype))
    return TrainedCell(chosen, model, unravel(jnp.asarray(flat)), examples, row)


def _settings(out: Path) -> HessianSettings:
    """The settings that a study wrote into its folder."""
    try:
        config = json.loads((out / sweep.CONFIG).read_text(encoding="utf-8"))
        study, recorded = config["study"], dict(config["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Argument `run` must be a results folder of a study, but {out} holds none ({error})."
        ) from error
    if study != STUDY:
        raise ValueError(f"Argument `run` must be a results folder of the study {STUDY!r}, but {out} holds {study!r}.")
    del recorded["images_source"]
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in recorded.items()}
    return HessianSettings(**values)
