"""The built-in model of the study `disentangler`: training, and perplexity with weights exchanged."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.progress import Progress
from qjaxsim.datasets.text import Text, load_text, windows
from qjaxsim.models.disentangler.char_transformer import CharTransformer, next_character_metrics
from qjaxsim.models.disentangler.transformer import Params
from qjaxsim.running.array_types import to_jax
from qjaxsim.training import TrainConfig, TrainResult, fit

# Windows at once where metrics are computed; memory only.
AT_ONCE = 128
# The array of a trained cell that is no parameter.
ALPHABET = "alphabet"


@dataclass(frozen=True, eq=False)
class Corpus:
    """Windows of a text as pairs of inputs and targets, (number, context) int32 each.

    Attributes:
        train: what models are trained and healed on.
        validation: what chooses the best epoch.
        test: what perplexities are of.
        text: the text itself.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    text: Text


def model_text(path: Path | None) -> Text:
    """What the model learns, by default the text that ships with Python; messages call the file `text`."""
    try:
        return load_text(path)
    except (OSError, ValueError) as error:
        if "`path`" not in str(error):
            raise
        raise type(error)(str(error).replace("`path`", "`text`")) from error


def corpus_of(text: Text, context: int, test_windows: int | None) -> Corpus:
    """The text in windows; the test part cut to its first `test_windows`, if given."""
    test = windows(text.test, context)
    kept = (test[0][:test_windows], test[1][:test_windows])
    return Corpus(windows(text.train, context), windows(text.validation, context), kept, text)


# One object for equal models, so that what is compiled for one seed serves the others.
@functools.lru_cache(maxsize=4)
def _metrics(model: CharTransformer) -> Callable[..., dict[str, jax.Array]]:
    def measured(params: Params, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        return next_character_metrics(model.outputs(params, x), y)

    return measured


@functools.lru_cache(maxsize=4)
def next_character_loss(model: CharTransformer) -> Callable[..., jax.Array]:
    """Maps (params, x, y) to the mean cross-entropy of the next character; one object for equal models."""

    def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        return next_character_metrics(model.outputs(params, x), y)["loss"]

    return loss


def train_model(
    model: CharTransformer, corpus: Corpus, config: TrainConfig, seed: int, folder: Path, progress: Progress
) -> TrainResult:
    """The model trained on the training part, checkpointed in `folder` and resumed from there."""
    return fit(
        next_character_loss(model),
        model.init(jax.random.key(seed), np.float32),
        *corpus.train,
        config,
        metrics=_metrics(model),
        test=corpus.validation,
        folder=folder,
        resume=True,
        progress=progress,
    )


class TextEvaluation:
    """Perplexity and accuracy of one trained model with weights exchanged, all by one compiled function."""

    healed = ("perplexity", "accuracy")

    def __init__(self, model: CharTransformer, params: Params, corpus: Corpus) -> None:
        self.model, self.params = model, params
        self._x, self._y = corpus.test
        self.examples = corpus.train
        self._measure = jax.jit(_metrics(model))
        self.n_params = sum(leaf.size for leaf in jax.tree.leaves(params))
        self.original = self._perplexity({})["perplexity"]

    def score(self, weights: Mapping[str, Any]) -> dict[str, float]:
        """Of the model on the test windows: "perplexity" (exponential of nats a character), "perplexity_change" (over
        that of the original, less one) and "accuracy".

        Args:
            weights: name of a linear map -> its new (out, in) matrix; none for the model as trained.
        """  # noqa: D205
        found = self._perplexity(weights)
        change = found["perplexity"] / self.original - 1
        return {"perplexity": found["perplexity"], "perplexity_change": change, "accuracy": found["accuracy"]}

    def loss(self, params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        """Mean cross-entropy of the next character."""
        return next_character_loss(self.model)(params, x, y)

    def _perplexity(self, weights: Mapping[str, Any]) -> dict[str, float]:
        params = self.model.with_weights(self.params, weights)
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(self._x), AT_ONCE)]
        sizes = np.array([len(self._x[part]) for part in parts])
        found = [self._measure(params, self._x[part], self._y[part]) for part in parts]
        loss, accuracy = (float(np.average([float(one[name]) for one in found], weights=sizes)) for name in
                          ("loss", "accuracy"))  # fmt: skip
        # A broken model may be surer of the wrong character than the exponential can tell.
        return {"perplexity": math.exp(min(loss, 700.0)), "accuracy": accuracy}

    @functools.cached_property
    def moments(self) -> dict[str, np.ndarray]:
        """Mean of x x^T over the inputs of each linear map on the test windows: name -> (in, in), double precision."""
        moments = jax.jit(
            lambda params, x: {
                name: jnp.matmul(rows.T, rows, precision=HIGHEST) / len(rows)
                for name, rows in self.model.inputs_of(params, x).items()
            }
        )
        return {name: np.asarray(found, np.float64) for name, found in moments(self.params, self._x[:AT_ONCE]).items()}

    @functools.cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """What each linear map receives on the first test window: name -> (context, in)."""
        found = jax.jit(self.model.inputs_of)(self.params, self._x[:1])
        return {name: np.asarray(rows) for name, rows in found.items()}


def trained_arrays(params: Params, characters: str) -> dict[str, np.ndarray]:
    """What a cell keeps of its trained model: parameters by name, and its characters, without which codes mean nothing.

    Args:
        params: of the model.
        characters: code c stands for `characters[c]`.
    """
    return {ALPHABET: np.array([ord(one) for one in characters], np.int32), **params_as_arrays(params)}


def params_as_arrays(params: Params) -> dict[str, np.ndarray]:
    """A pytree of dicts as named arrays, "block0.query.weight" and so on."""
    found: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": array for inner, array in params_as_arrays(value).items()}
        else:
            found[name] = np.asarray(value)
    return found


def params_from_arrays(arrays: Mapping[str, np.ndarray]) -> Params:
    """The inverse of `params_as_arrays`, and the parameters of `trained_arrays`."""
    params: Params = {}
    for name, array in arrays.items():
        if name == ALPHABET:
            continue
        *path, last = name.split(".")
        place = params
        for part in path:
            place = place.setdefault(part, {})
        place[last] = to_jax(array)
    return params
