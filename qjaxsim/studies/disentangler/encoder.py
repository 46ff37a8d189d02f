"""A published encoder of sentences in the study `disentangler`: how far its sentences move with weights exchanged."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST
from qjaxsim.datasets.encoder import EncoderFolder
from qjaxsim.datasets.text import Text, sentences
from qjaxsim.models.disentangler.sentence_encoder import SentenceEncoder
from qjaxsim.models.disentangler.transformer import Params

# Sentences at once where vectors are computed; memory only.
AT_ONCE = 128
# Sentences of which one can be nearer than another to a third.
FEWEST = 3


def encoder_of(folder: EncoderFolder) -> SentenceEncoder:
    """The model of a folder."""
    config = folder.config
    return SentenceEncoder(
        n_tokens=config["vocab_size"],
        positions=config["max_position_embeddings"],
        width=config["hidden_size"],
        wide=config["intermediate_size"],
        n_blocks=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        padding=folder.padding,
        epsilon=float(config.get("layer_norm_eps", SentenceEncoder.epsilon)),
        pooling=folder.pooling,
    )


class Sentences(NamedTuple):
    """Sentences of a text as tokens, (number, length) int32.

    Attributes:
        train: what operators are healed on.
        test: what measures are of.
    """

    train: np.ndarray
    test: np.ndarray


def sentences_of(text: Text, folder: EncoderFolder, length: int) -> Sentences:
    """All sentences of a text.

    Args:
        text: in its parts.
        folder: of the encoder whose tokens they become.
        length: tokens of a sentence, where longer ones are cut.

    Raises:
        ValueError: if a part has fewer than three.
    """
    parts = {name: sentences(text.decode(getattr(text, name))) for name in ("train", "test")}
    for name, found in parts.items():
        if len(found) < FEWEST:
            raise ValueError(
                f"Argument `text` must have {FEWEST} sentences of five words in each part, but its {name} part has "
                f"{len(found)}."
            )
    return Sentences(**{name: folder.tokens(found, length) for name, found in parts.items()})


# One object for equal models, so that what is compiled for one piece of work serves the others.
@functools.lru_cache(maxsize=4)
def _vectors(model: SentenceEncoder) -> Callable[..., jax.Array]:
    return jax.jit(model.outputs)


class EncoderEvaluation:
    """An encoder with weights exchanged, beside itself as it was."""

    healed = ("distance", "agreement")

    def __init__(self, model: SentenceEncoder, params: Params, corpus: Sentences) -> None:
        self.model, self.params, self._corpus = model, params, corpus
        self.n_params = sum(leaf.size for leaf in jax.tree.leaves(params))
        self._test = self._all(params, corpus.test)
        self._nearest = _nearest(self._test, self._test)

    def score(self, weights: Mapping[str, Any]) -> dict[str, float]:
        """Of the test sentences: "distance", one less the mean cosine of the angle between a sentence's vector and the
        one that it had, and "agreement", the share that is nearest to the same other sentence's former vector.

        Args:
            weights: name of a linear map -> its new (out, in) matrix; none for the encoder as published.
        """  # noqa: D205
        found = self._all(self.model.with_weights(self.params, weights), self._corpus.test)
        same = _nearest(found, self._test) == self._nearest
        # Of vectors of length one half the square of the difference is one less the cosine, without its rounding.
        return {"distance": float(((found - self._test) ** 2).sum(axis=1).mean() / 2), "agreement": float(same.mean())}

    def loss(self, params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        """One less the mean cosine between vectors of sentences and what they shall be."""
        return 1 - (self.model.outputs(params, x) * y).sum(axis=1).mean()

    @functools.cached_property
    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Training sentences, and their vectors by the encoder as published, float32."""
        return self._corpus.train, self._all(self.params, self._corpus.train).astype(np.float32)

    @functools.cached_property
    def moments(self) -> dict[str, np.ndarray]:
        """Mean of x x^T over the inputs of each linear map on test sentences: name -> (in, in), double precision."""
        moments = jax.jit(
            lambda params: {
                name: jnp.matmul(rows.T, rows, precision=HIGHEST) / len(rows)
                for name, rows in self.model.inputs_of(params, self._corpus.test[:AT_ONCE]).items()
            }
        )
        return {name: np.asarray(found, np.float64) for name, found in moments(self.params).items()}

    @functools.cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """What each linear map receives for the first test sentence: name -> (tokens, in)."""
        found = jax.jit(lambda params: self.model.inputs_of(params, self._corpus.test[:1]))(self.params)
        return {name: np.asarray(rows) for name, rows in found.items()}

    def _all(self, params: Params, tokens: np.ndarray) -> np.ndarray:
        """Vectors of any number of sentences, double precision."""
        parts = [tokens[start : start + AT_ONCE] for start in range(0, len(tokens), AT_ONCE)]
        return np.concatenate([np.asarray(_vectors(self.model)(params, part), np.float64) for part in parts])


def _nearest(vectors: np.ndarray, former: np.ndarray) -> np.ndarray:
    """For each vector the place of the closest of the other sentences' former ones."""
    cosines = vectors @ former.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: np.ndarray = cosines.argmax(axis=1)
    return nearest
