"""Trained models out of a results folder of the study `disentangler`: the transformer, and disentangled layers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_among, integer_from, require_unmasked
from qjaxsim.datasets.text import Text
from qjaxsim.models.disentangler.char_transformer import CharTransformer, generate
from qjaxsim.models.disentangler.config import DisentanglerConfig
from qjaxsim.models.disentangler.layer import DisentangledLayer
from qjaxsim.models.disentangler.quantum import layer_circuits
from qjaxsim.studies.disentangler.layer import config_of, operator_from
from qjaxsim.studies.disentangler.model import (
    ALPHABET,
    corpus_of,
    model_text,
    next_character_loss,
    params_from_arrays,
)
from qjaxsim.studies.disentangler.settings import METHODS, DisentanglerStudySettings
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.run import Run
from qjaxsim.studies.shared.trained import (
    ModelReader,
    TrainedCircuit,
    TrainedModel,
    outputs,
    real_numbers,
    without_data,
)

_TRAINING = re.compile(r"s(\d+)-train")
_LAYER = re.compile(r"s\d+-(layers|bond)-.*")


# --- the transformer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedText(TrainedModel):
    """The built-in model of one seed, at the epoch of lowest validation loss.

    Attributes:
        kept: characters of its text; None where a version before did not keep them.
        run: of the study.
        text: file of the text that it learned; None for Python's language reference.
    """

    model: CharTransformer
    kept: str | None
    run: Run
    text: Path | None

    def predict(self, x: Any, length: int = 40) -> Any:
        """How a text goes on, or the likeliest character after each of a sequence of codes.

        Args:
            x: a string, or codes (B, L), L at most the model's context.
            length: characters to add to a string, each the likeliest.

        Returns:
            The string added; or (B, L) int32 codes.

        Raises:
            ValueError: for an empty string or one with characters that the model does not know, or other codes.
        """
        if not isinstance(x, str):
            require_unmasked("Argument `x`", x)
            return self._likeliest(np.asarray(x))
        if not x:
            raise ValueError("Argument `x` must hold at least one character, but is empty.")
        if strange := sorted(set(x) - set(self.characters)):
            raise ValueError(f"Argument `x` must hold characters that the model knows, but {strange[0]!r} is none.")
        codes = [self.characters.index(one) for one in x]
        length = integer_from(0, "length", length)
        found = generate(self.model, self.params, codes, length, jax.random.key(0), temperature=0.0)
        return "".join(self.characters[code] for code in found[len(codes) :])

    def _likeliest(self, codes: np.ndarray) -> np.ndarray:
        context, most = self.model.context, self.model.n_characters - 1
        if codes.ndim != 2 or not 1 <= codes.shape[1] <= context or codes.dtype.kind not in "iu":
            raise ValueError(
                f"Argument `x` must be a string or integer codes (B, L) of L up to {context}, but is {codes.dtype} of "
                f"shape {codes.shape}."
            )
        if codes.size and not (codes.min() >= 0 and codes.max() <= most):
            raise ValueError(f"Argument `x` must hold codes from 0 to {most}, but goes to {codes.max()}.")
        logits = outputs(self.model)(self.params, jnp.asarray(codes, jnp.int32))
        return np.asarray(logits.argmax(axis=-1), np.int32)

    @property
    def characters(self) -> str:
        """Code c stands for `characters[c]`.

        Raises:
            ValueError: if the folder does not hold them, and the text at hand is another one than the model learned.
        """
        return self._learned.characters if self.kept is None else self.kept

    @property
    def loss(self) -> Callable[..., jax.Array]:
        """Mean cross-entropy of the next character."""
        return next_character_loss(self.model)

    @cached_property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Windows of the training text and the characters that come next, codes (number, context) each.

        Raises:
            ValueError: if the text at hand is another one than the model learned.
        """
        return corpus_of(self._learned, self.model.context, None).train

    @cached_property
    def _learned(self) -> Text:
        text, recorded = model_text(self.text), self.run.recorded.settings
        if text.sha256 != recorded["text_sha256"]:
            raise ValueError(
                f"Argument `text` must be the text that the model learned ({recorded['text']}), but {text.source} is "
                f"another one; give its file: run.cell({self.key!r}, text=FILE)."
            )
        return text


def _transformer(run: Run, key: str, seed: int, text: Path | None) -> TrainedText:
    arrays = sweep.read_arrays(run.folder, key)
    kept = "".join(map(chr, arrays[ALPHABET].tolist())) if ALPHABET in arrays else None
    return TrainedText(
        key=key,
        seed=seed,
        model=run.settings.model(run.recorded.settings["text_characters"]),
        params=params_from_arrays(arrays),
        kept=kept,
        run=run,
        text=text,
    )


# --- layers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TrainedLayer(TrainedModel):
    """A matrix product operator between two circuits, in the place of a layer's matrix; `params` is all of it."""

    model: DisentanglerConfig
    params: DisentangledLayer

    def predict(self, x: Any) -> np.ndarray:
        """The layer applied to rows, (..., d_in) -> (..., d_out).

        Raises:
            TypeError: for masked rows.
            ValueError: for rows of another length, or that are no real numbers.
        """
        rows = jnp.asarray(real_numbers("x", x), self.params.u[0].dtype)
        if rows.ndim < 1 or rows.shape[-1] != self.params.d_in:
            raise ValueError(f"Argument `x` must have shape (..., {self.params.d_in}), but has {rows.shape}.")
        return np.asarray(self.params.apply(rows))

    @property
    def loss(self) -> Callable[..., jax.Array]:
        """There is none.

        Raises:
            NotImplementedError: always, saying how to go on.
        """
        raise _not_trained()

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """There is none; see `loss`."""
        raise _not_trained()

    def circuits(self, x: Any = None) -> dict[str, TrainedCircuit]:
        """The circuits "u" and "v"; the layer runs v reversed, then the operator `params.mpo`, then u."""
        without_data(x, "circuits of a layer, which takes its rows as amplitudes and")
        found = layer_circuits(self.params)
        return {"u": TrainedCircuit(found.u, {}), "v": TrainedCircuit(found.v, {})}


def _not_trained() -> NotImplementedError:
    return NotImplementedError(
        "A disentangled layer is optimised by sweeps over its gates, not trained on examples; optimise it by "
        "`qjaxsim.models.disentangler.layer.disentangle`."
    )


def _layer(run: Run, key: str, part: str, chi: int | None) -> TrainedLayer:
    rows = [row for row in sweep.read_rows(run.folder, key) if row["method"] in METHODS]
    # Arrays are named by bonds as they were given, of which one may stand for the largest there is.
    given = run.settings.chi if part == "layers" else run.settings.bond_chi
    names = {row["chi"]: f"chi{bond}" for row, bond in zip(rows, given, strict=True)}
    chosen = max(names) if chi is None else integer_among("chi", chi, sorted(names), f", the bonds of {key!r}")
    row = next(row for row in rows if row["chi"] == chosen)
    recorded = run.recorded.settings
    shape = recorded.get("matrix_shape") or recorded.get("layer_shapes", {}).get(row["layer"])
    if shape is None:
        shape = run.settings.model(recorded["text_characters"]).shape_of(row["layer"])
    circuit = (row["gate_qubits"], row["depth"])
    config = config_of(run.settings, shape, row["method"], chosen, circuit, row["seed"])
    layer = operator_from(sweep.read_arrays(run.folder, key), names[chosen], shape, config)
    return TrainedLayer(key=key, seed=row["seed"], model=config, params=layer)


# --- both ------------------------------------------------------------------------------------------------------------


def trained_model(run: Run, key: str, *, chi: int | None = None, text: Path | None = None) -> TrainedModel:
    """The transformer of a cell "sSEED-train", or the disentangled layer of another cell.

    Args:
        run: of the study.
        key: of the cell.
        chi: bond of a layer; default the largest of the cell.
        text: file of the text that a transformer learned; default Python's language reference.

    Raises:
        ValueError: for a bond that the cell does not have, or a choice that is not for it.
    """
    if training := _TRAINING.fullmatch(key):
        if chi is not None:
            raise ValueError(f"Argument `chi` must be left out for {key!r}, which holds no layer, but is {chi}.")
        return _transformer(run, key, int(training[1]), text)
    if text is not None:
        raise ValueError(f"Argument `text` must be left out for {key!r}, which learned none.")
    match = _LAYER.fullmatch(key)
    assert match is not None
    return _layer(run, key, match[1], chi)


def _keeps(key: str, cell: Mapping[str, Any]) -> bool:
    """Neither plain operators nor rebuilt models are kept."""
    return bool(_TRAINING.fullmatch(key) or _LAYER.fullmatch(key)) and not key.endswith("-plain")


def _example(settings: DisentanglerStudySettings, key: str) -> str:
    if _TRAINING.fullmatch(key):
        return "print(trained.predict(trained.characters[0]))"
    return "print(trained.predict([1.0] * trained.params.d_in))"


MODELS = ModelReader(_keeps, trained_model, _example)
