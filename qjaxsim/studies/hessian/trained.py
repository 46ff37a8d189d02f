"""Trained models out of a results folder of the study `hessian`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.flatten_util import ravel_pytree

from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian.cells import arms
from qjaxsim.studies.hessian.configurations import MINIMUM
from qjaxsim.studies.hessian.examples import load_examples, model_of
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.run import Run
from qjaxsim.studies.shared.trained import (
    ModelReader,
    TrainedCircuit,
    TrainedClassifier,
    example_on_images,
    params_of_training,
    warn_of_other_images,
)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedPatches(TrainedClassifier):
    """A cell's model at its training minimum, the checkpoint of lowest training loss."""

    model: PatchesModel

    def circuits(self, x: Any = None) -> dict[str, TrainedCircuit]:
        """One circuit a patch, "patch0", "patch1", ...; its data are angles of pixels and the trained bias of each.

        The logits are the sum over patches of the expectation values of `qjaxsim.models.patches.readout`, times
        `model.outputs.scale`.

        Args:
            x: images as `predict` takes them; None leaves "first" and "second", a patch's angles, open.
        """
        outputs, flat = self.model.outputs, ravel_pytree(self.params)[0]
        part = outputs.part
        assert isinstance(part, StagedCircuit)
        names = part.circuit.parameters.keys() - (part.data if x is None else frozenset())
        patches = None if x is None else self.model.patches(self.prepare(x))
        found = {}
        for place, index in enumerate(outputs.index):
            params = part.params(flat[index], None if patches is None else patches[:, place], sorted(names))
            found[f"patch{place}"] = TrainedCircuit(part.circuit.copy(), params)
        return found


def trained_patches(run: Run, key: str, *, data_dir: Path | None = None) -> TrainedPatches:
    """The trained model of one finished cell.

    Args:
        run: of the study.
        key: of the cell.
        data_dir: where prepared data sets are; None for TFDS's place.

    Raises:
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    (settings,) = (arm.settings for arm in arms(run.settings) if arm.cell.key == key)
    examples = load_examples(settings, settings.classes, data_dir)
    warn_of_other_images(run, examples.source)
    model = model_of(settings, examples)
    best = int(sweep.read_row(run.folder, key)["best_epoch"])
    return TrainedPatches(
        key=key,
        seed=settings.seeds[0],
        model=model,
        params=params_of_training(sweep.cell_folder(run.folder, key) / "training", best, model.init),
        examples=examples,
        labels=settings.classes or tuple(range(examples.n_classes)),
    )


def _keeps(key: str, cell: Mapping[str, Any]) -> bool:
    """Points of equal loss lie on the path of another cell's training."""
    return cell.get("point", MINIMUM) == MINIMUM


MODELS = ModelReader(_keeps, trained_patches, example_on_images)
