"""Trained models out of a results folder of the study `gradient-variance`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from qjaxsim.common.checks import integer_among
from qjaxsim.models.hybrid import HybridModel
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.gradient_variance.cell import END, seed_parameters
from qjaxsim.studies.gradient_variance.cells import HESSIAN, INITIALISATIONS, arms
from qjaxsim.studies.gradient_variance.examples import load_images
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.run import Run
from qjaxsim.studies.shared.trained import (
    ModelReader,
    TrainedCircuit,
    TrainedClassifier,
    example_on_images,
    require_as_many,
    warn_of_other_images,
)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedHybrid(TrainedClassifier):
    """The model of one seed of a cell at the end of training."""

    model: HybridModel

    def circuits(self, x: Any = None) -> dict[str, TrainedCircuit]:
        """The model's circuit, "circuit", whose <Z> of every qubit the post-layer takes to logits.

        Args:
            x: images as `predict` takes them; None leaves "inputs", what the pre-layer makes of an image, open.
        """
        if x is None:
            params = {"weights": self.params["weights"]}
        else:
            params = self.model.circuit_params(self.params, self.prepare(x))
        return {"circuit": TrainedCircuit(self.model.circuit.copy(), params)}


def trained_hybrid(run: Run, key: str, *, seed: int | None = None, data_dir: Path | None = None) -> TrainedHybrid:
    """The trained model of one seed of a finished cell.

    Args:
        run: of the study.
        key: of the cell.
        seed: one of the cell's; default its first.
        data_dir: where prepared data sets are; None for TFDS's place.

    Raises:
        ValueError: if the cell has no such seed, or the images are of another size now.
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    images = load_images(run.settings, data_dir)
    warn_of_other_images(run, images.source)
    (trained,) = (arm.run for arm in arms(run.settings, len(images.x_train)) if arm.cell.key == key)
    arrays = sweep.read_arrays(run.folder, key)
    seeds = arrays["seeds"].tolist()
    chosen = seeds[0] if seed is None else integer_among("seed", seed, seeds)
    model, params = trained.model(images.side, images.n_classes), seed_parameters(arrays, END, chosen)
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(each)) for each in (params, model.init(jax.random.key(0)))]
    require_as_many(sweep.cell_folder(run.folder, key), *sizes)
    return TrainedHybrid(
        key=key,
        seed=chosen,
        model=model,
        params=jax.tree.map(to_jax, params),
        examples=images,
        labels=tuple(range(images.n_classes)),
    )


def _keeps(key: str, cell: Mapping[str, Any]) -> bool:
    """Random initialisations are not trained, and spectra are of models that other cells keep."""
    return cell.get("control") not in (INITIALISATIONS, HESSIAN)


MODELS = ModelReader(_keeps, trained_hybrid, example_on_images)
