"""The cells of the study `disentangler` for a published encoder of sentences."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.datasets.encoder import open_encoder
from qjaxsim.studies.disentangler.cell import LayerCells, text_recorded
from qjaxsim.studies.disentangler.encoder import FEWEST, EncoderEvaluation, Sentences, encoder_of, sentences_of
from qjaxsim.studies.disentangler.layer import Subject, noise_like
from qjaxsim.studies.disentangler.model import model_text
from qjaxsim.studies.disentangler.plan import require_layers
from qjaxsim.studies.disentangler.settings import DisentanglerStudySettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import require_at_most


class EncoderCells(LayerCells):
    """Layers of an encoder, noise, and the encoder with layers replaced."""

    # What is aimed at is the encoder as it was published.
    trains = False

    def __init__(
        self, settings: DisentanglerStudySettings, out: Path, progress: Progress, folder: Path, text: Path | None
    ) -> None:
        self.folder = open_encoder(folder)
        self.model = encoder_of(self.folder)
        super().__init__(settings.of_encoder(self.model, self.folder.name), out, progress)
        settings = self.settings
        assert settings.profile_layer is not None
        self.shapes = {name: self.model.shape_of(name) for name in settings.layers}
        require_layers(settings, self.shapes)
        self.text = model_text(text)
        self.sentences = self._sentences()
        first = settings.seeds[0]
        if "model" in settings.parts:
            self.cells[f"s{first}-original"] = self._original
        for seed in settings.seeds:
            # The seed moves noise, random restarts and healing: the weights are as published, and compressed once.
            for source in ("trained", "noise") if seed == first else ("noise",):
                if "layers" in settings.parts:
                    for layer in settings.layers if source == "trained" else self.one_of_each_shape(self.shapes):
                        self.add_layers(layer, source, seed)
                if "depth" in settings.parts:
                    self.add_depth(source, seed)
                if "bond" in settings.parts:
                    self.add_bond(source, seed)
                if "shots" in settings.parts and source == "trained":
                    self.add_shots(source, seed)
            if "model" in settings.parts:
                self.add_rebuilt(seed, first, lambda: self.evaluation)

    def recorded(self) -> dict[str, Any]:
        """Which encoder, and which text."""
        return {
            "encoder": self.folder.name,
            "encoder_sha256": self.folder.sha256,
            "encoder_pooling": self.folder.pooling,
            "layer_shapes": {name: list(shape) for name, shape in self.shapes.items()},
            **text_recorded(self.text),
            "sentences": {"train": len(self.sentences.train), "test": len(self.sentences.test)},
        }

    def subject(self, layer: str, source: str, seed: int) -> Subject:
        """A layer of the encoder, or noise of its norm."""
        evaluation = self.evaluation
        weight = np.asarray(self.model.weight(evaluation.params, layer))
        if source == "noise":
            return Subject(layer, source, noise_like(weight, seed), seed)
        moment, inputs = evaluation.moments[layer], evaluation.inputs[layer]
        return Subject(layer, source, weight, seed, moment, lambda w: evaluation.score({layer: w}), inputs)

    @functools.cached_property
    def evaluation(self) -> EncoderEvaluation:
        """The encoder as published."""
        arrays: Mapping[str, np.ndarray] = self.folder.arrays(self.model.shapes)
        params = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
        return EncoderEvaluation(self.model, params, self.sentences)

    def _sentences(self) -> Sentences:
        """Of the text, as many for the test as are wanted."""
        assert self.settings.context is not None
        found, wanted = sentences_of(self.text, self.folder, self.settings.context), self.settings.test_windows
        if wanted != DisentanglerStudySettings.test_windows:
            if wanted is not None and wanted < FEWEST:
                raise ValueError(f"Argument `test_windows` must be at least {FEWEST} with an encoder, but is {wanted}.")
            require_at_most("test_windows", wanted, len(found.test), "sentences of the text's test part")
        return found._replace(test=found.test[:wanted])

    def _original(self, folder: Path) -> sweep.CellResult:
        row = {
            "part": "model", "seed": self.settings.seeds[0], "layer": "none", "source": "trained",
            "method": "original", **self.evaluation.score({}), "model_parameters": self.evaluation.n_params,
        }  # fmt: skip
        return sweep.CellResult(row, {})
