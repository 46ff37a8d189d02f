"""Trained models out of a results folder of the study `attention`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from qjaxsim.models.attention import CIRCUIT_QUBITS, Attended, attend, value_angles, value_circuit
from qjaxsim.models.attention_vit import VisionTransformer
from qjaxsim.studies.attention.cell import model_of
from qjaxsim.studies.attention.examples import load_examples
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.run import Run
from qjaxsim.studies.shared.trained import (
    ModelReader,
    TrainedCircuit,
    TrainedClassifier,
    example_on_images,
    params_of_training,
    real_numbers,
    warn_of_other_images,
)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedTransformer(TrainedClassifier):
    """The transformer of one kind of attention and seed after its last epoch."""

    model: VisionTransformer

    def attend(self, tokens: Any) -> Attended:
        """The first block's attention applied to sequences: output and where it looks.

        Args:
            tokens: (B, n, dim), normalised, as `model.first_tokens` gives them for images; of any length n.

        Raises:
            TypeError: for masked tokens.
            ValueError: for another number of axes or another dimension, or tokens that are no real numbers.
        """
        tokens = jnp.asarray(real_numbers("tokens", tokens), self._dtype)
        if tokens.ndim != 3 or tokens.shape[2] != self.model.dim:
            raise ValueError(
                f"Argument `tokens` must have shape (batch, tokens, {self.model.dim}), but has {tokens.shape}."
            )
        return attend(self.model.attention, self._layer, tokens)

    def circuits(self, x: Any = None) -> dict[str, TrainedCircuit]:
        """Of the kind "circuit" its circuit, "values": <Z> of its qubits become a token's value. None of other kinds.

        Args:
            x: images as `predict` takes them, of which each token is one entry of the batch; None leaves "inputs",
                what tokens become, open.
        """
        if self.model.attention.kind != "circuit":
            return {}
        params = {"weights": self._layer["weights"]}
        if x is not None:
            angles = value_angles(self._layer, self.model.first_tokens(self.params, self.prepare(x)))
            params["inputs"] = angles.reshape(-1, CIRCUIT_QUBITS)
        return {"values": TrainedCircuit(value_circuit(), params)}

    @property
    def _layer(self) -> dict[str, Any]:
        layer: dict[str, Any] = self.params["block0"]["attention"]
        return layer


def trained_transformer(run: Run, key: str, *, data_dir: Path | None = None) -> TrainedTransformer:
    """The trained model of one finished cell.

    Args:
        run: of the study.
        key: of the cell.
        data_dir: where prepared data sets are; None for TFDS's place.

    Raises:
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    examples = load_examples(run.settings, data_dir)
    warn_of_other_images(run, examples.source)
    cell = run.recorded.cells[key]
    model = model_of(run.settings, examples, cell["attention"])
    folder = sweep.cell_folder(run.folder, key) / "training"
    return TrainedTransformer(
        key=key,
        seed=cell["seed"],
        model=model,
        params=params_of_training(folder, run.settings.epochs, model.init),
        examples=examples,
        labels=tuple(range(examples.n_classes)),
    )


def _keeps(key: str, cell: Mapping[str, Any]) -> bool:
    return True


MODELS = ModelReader(_keeps, trained_transformer, example_on_images)
