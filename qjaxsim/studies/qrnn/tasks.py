"""The sequence tasks of the recurrent network, drawn afresh for every update (arXiv:2006.14619, section 4).

A task gives sequences of L input words and L target words. A network that predicts reads words 0..L-2 and is scored on
targets 1..L-1; one that labels reads and is scored at every place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import require_one_of
from qjaxsim.running.array_types import to_jax

Pair = tuple[jax.Array, jax.Array]
TASKS = ("memorise", "xor", "letters", "dna", "dna-clean", "mnist", "mnist-generate")


@dataclass(frozen=True, eq=False)
class SequenceTask:
    """Sequences to learn.

    Attributes:
        name: one of `TASKS`.
        width: bits I of a word.
        length: words L of a sequence.
        counted: (L,) whether a target is in the loss and in the accuracy.
        forced: (L,) whether an evaluation sets the lanes to the target instead of to a sample.
        draw: maps (arrays, key, batch) to inputs and targets (batch, L) int32 of the training part.
        arrays: what `draw` needs, by name.
        held_out: the same as `draw` for validation, where that is another part; None for fresh sequences.
    """

    name: str
    width: int
    length: int
    counted: np.ndarray
    forced: np.ndarray
    draw: Callable[[Mapping[str, Any], jax.Array, int], Pair]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    held_out: Callable[[Mapping[str, Any], jax.Array, int], Pair] | None = None


def make_task(name: str, length: int) -> SequenceTask:
    """A task by its name; the two of digits are made in `digits`.

    Args:
        name: "memorise" (two fixed sequences), "xor" and "letters" (Elman 1990), "dna" (tell the base after a marked
            one; as published the targets after the mark are the answer itself, and the lanes are set to them), or
            "dna-clean" (all targets but the last are 0).
        length: words of a sequence.

    Raises:
        ValueError: for an unknown name, or a length too short.
    """
    makers = {"memorise": _memorise, "xor": _xor, "letters": _letters, "dna": _dna, "dna-clean": _dna_clean}
    require_one_of("name", name, makers)
    least = 5 if name.startswith("dna") else 3
    if length < least:
        raise ValueError(f"Argument `length` must be at least {least} for {name}, but is {length}.")
    return makers[name](length)


def _memorise(length: int) -> SequenceTask:
    """0 1 2 3 0 1 2 3 ... and 4 4 4 4 ..., half of the batch each."""

    def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
        place = jnp.arange(length, dtype=jnp.int32)[None, :]
        first = (jnp.arange(batch, dtype=jnp.int32) % 2 == 0)[:, None]
        words = jnp.where(first, place % 4, jnp.full_like(place, 4))
        return words, words

    return SequenceTask("memorise", 3, length, np.ones(length, bool), np.zeros(length, bool), draw)


def _xor(length: int) -> SequenceTask:
    """Random bits a, b, then a xor b, and so on; only the third of each triple is asked for."""
    third = np.arange(length) % 3 == 2

    def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
        bits = jax.random.bernoulli(key, shape=(batch, -(-length // 3), 2)).astype(jnp.int32)
        triples = jnp.concatenate([bits, bits[..., :1] ^ bits[..., 1:]], axis=2)
        words = triples.reshape(batch, -1)[:, :length]
        return words, jnp.where(to_jax(third)[None, :], words, jnp.full_like(words, 2))

    return SequenceTask("xor", 2, length, third, ~third, draw)


def _letters(length: int) -> SequenceTask:
    """Words ba, dii, guuu at random; b, d, g are 4, 5, 6 and a, i, u are 0, 1, 2; consonants cannot be told: 7."""

    def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
        chosen = jax.random.randint(key, (batch, length // 2 + 1), 0, 3, jnp.int32)
        ends = jnp.cumsum(chosen + 2, axis=1, dtype=jnp.int32)
        place = jnp.arange(length, dtype=jnp.int32)
        word = (ends[:, None, :] <= place[None, :, None]).sum(axis=2, dtype=jnp.int32)
        letter = jnp.take_along_axis(chosen, word, axis=1)
        starts = jnp.take_along_axis(ends - chosen - 2, word, axis=1)
        consonant = starts == place[None, :]
        return jnp.where(consonant, letter + 4, letter), jnp.where(consonant, jnp.full_like(letter, 7), letter)

    return SequenceTask("letters", 3, length, np.ones(length, bool), np.zeros(length, bool), draw)


def _marked(key: jax.Array, batch: int, length: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random bases (batch, L) with one marked in the first half, the marked base and its place (batch, 1)."""
    bases, places = jax.random.split(key)
    words = jax.random.randint(bases, (batch, length), 0, 4, jnp.int32)
    mark = jax.random.randint(places, (batch, 1), 1, max(2, length // 2), jnp.int32)
    base = jnp.take_along_axis(words, mark, axis=1)
    at = jnp.arange(length, dtype=jnp.int32)[None, :] == mark
    return jnp.where(at, words + 4, words), base, mark


def _dna(length: int) -> SequenceTask:
    last = np.arange(length) == length - 1

    def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
        words, base, mark = _marked(key, batch, length)
        place = jnp.arange(length, dtype=jnp.int32)[None, :]
        zero = jnp.zeros_like(words)
        return words, jnp.where(place < mark, zero, jnp.where(place == mark, base + 4, zero + base))

    return SequenceTask("dna", 3, length, last, ~last, draw)


def _dna_clean(length: int) -> SequenceTask:
    last = np.arange(length) == length - 1

    def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
        words, base, _ = _marked(key, batch, length)
        zero = jnp.zeros_like(words)
        return words, jnp.where(to_jax(last)[None, :], zero + base, zero)

    return SequenceTask("dna-clean", 3, length, last, ~last, draw)
