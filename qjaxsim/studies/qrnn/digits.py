"""Handwritten digits as sequences of words that end with the digit, or begin with it and draw it."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim import datasets
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.qrnn.encoding import Encoding
from qjaxsim.studies.qrnn.features import coordinates, eight_bits, feature_words
from qjaxsim.studies.qrnn.images import binary_images, deskewed, two_scans
from qjaxsim.studies.qrnn.tasks import Pair, SequenceTask, make_task
from qjaxsim.studies.shared.examples import source_of

# Training images of each digit that are held out, as published.
VALIDATION_PER_DIGIT = 500
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DigitWords:
    """Words of some digits: training, validation and test part.

    Attributes:
        encoding: what they are.
        train: one (n, steps) array for each digit.
        validation: the same.
        test: the same.
        source: where the images are from.
    """

    encoding: Encoding
    train: list[np.ndarray]
    validation: list[np.ndarray]
    test: list[np.ndarray]
    source: str

    def duplicates(self) -> list[float]:
        """For each digit, the share of test sequences that also occur in training (any digit)."""
        seen = {row.tobytes() for part in self.train for row in np.ascontiguousarray(part)}
        return [float(np.mean([row.tobytes() in seen for row in np.ascontiguousarray(part)])) for part in self.test]


def lookup(words: DigitWords) -> tuple[float, int]:
    """What a table would do: test accuracy of the commonest digit of equal training sequences, and their number.

    A sequence that does not occur in training counts as wrong.
    """
    count: dict[bytes, Counter[int]] = defaultdict(Counter)
    for digit, part in enumerate(words.train):
        for row in np.ascontiguousarray(part):
            count[row.tobytes()][digit] += 1
    best = {row: digits.most_common(1)[0][0] for row, digits in count.items()}
    hits = [best.get(row.tobytes()) == i for i, part in enumerate(words.test) for row in np.ascontiguousarray(part)]
    return float(np.mean(hits)), len(best)


def load_digit_words(encoding: Encoding, data_dir: Path | None = None) -> DigitWords:
    """The words of all images of some digits; the first training images of each are held out.

    Args:
        encoding: how.
        data_dir: where prepared data sets are; None for TFDS's place.

    Raises:
        ValueError: if the images are not of 28 x 28 pixels, or too few of a digit to hold some out.
        qjaxsim.datasets.DatasetNotFoundError: if they are not at hand.
        ImportError: for features "umap" without the package umap-learn.
    """
    train, test = (datasets.load(encoding.dataset, split, data_dir=data_dir) for split in ("train", "test"))
    for part in (train, test):
        if part.images.shape[1:] != (28, 28, 1):
            size = " x ".join(map(str, part.images.shape[1:]))
            raise ValueError(
                f"Argument `dataset` must name grey images of 28 x 28 pixels, but those of {part.name} for "
                f"{part.split}ing have shape {size}; prepare it with others."
            )
    for digit in encoding.digits:
        counts = [int((part.labels == digit).sum()) for part in (train, test)]
        if counts[0] <= VALIDATION_PER_DIGIT or not counts[1]:
            raise ValueError(
                f"Argument `digits` must name digits with more than {VALIDATION_PER_DIGIT} images for training, so "
                f"many being held out, and one for testing, but {train.name} has {counts[0]} and {counts[1]} of "
                f"{digit}; choose others."
            )
    parts = [train.images[train.labels == digit] for digit in encoding.digits]
    images = {
        "train": [part[VALIDATION_PER_DIGIT:] for part in parts],
        "validation": [part[:VALIDATION_PER_DIGIT] for part in parts],
        "test": [test.images[test.labels == digit] for digit in encoding.digits],
    }
    source = f"{source_of(train, test)}; first {VALIDATION_PER_DIGIT} training images of each digit held out"
    return DigitWords(encoding, **_words(encoding, images), source=source)


def _words(encoding: Encoding, images: Mapping[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Words in place of images, fitted to the training part alone where there is something to fit."""
    sizes = [len(part) for name in _SPLITS for part in images[name]]
    together = np.concatenate([part for name in _SPLITS for part in images[name]])
    if encoding.deskew:
        together = deskewed(together)
    if encoding.coordinates is None or encoding.bits is None:
        words = two_scans(binary_images(together))
    else:
        fitted = sum(sizes[: len(encoding.digits)])
        flat = together.reshape(len(together), -1).astype(np.float32)
        labels = np.repeat(np.arange(len(encoding.digits)), sizes[: len(encoding.digits)])
        placed = coordinates(encoding.features, encoding.coordinates, flat[:fitted], flat[fitted:], labels)
        words = feature_words(encoding.features, np.concatenate(eight_bits(*placed)), encoding.bits)
    parts = iter(np.split(words.astype(np.int32), np.cumsum(sizes)[:-1]))
    return {name: [next(parts) for _ in images[name]] for name in _SPLITS}


# --- tasks ---------------------------------------------------------------------------------------------------------


def mnist_task(words: DigitWords) -> SequenceTask:
    """Tell the digit after its last word; all targets before are 0, and the lanes are set to them.

    The author's targets end with the image where the label is one word, so that its last word is never fed; here it is.
    """
    encoding = words.encoding
    label = np.arange(encoding.length) >= encoding.steps
    draw, held_out = (_drawn(words, name, lambda rows, classes: with_labels(encoding, rows, classes))
                      for name in ("train", "validation"))  # fmt: skip
    return SequenceTask("mnist", encoding.width, encoding.length, label, ~label, draw, _arrays(words), held_out)


def generation_task(words: DigitWords) -> SequenceTask:
    """Draw the digit that the first word names: inputs are that and the image's other words, targets the image.

    The first pixel is never asked for. Nothing is projected on a target in an evaluation, as published.
    """
    length = words.encoding.steps
    draw, held_out = (_drawn(words, name, _named_first) for name in ("train", "validation"))
    counted = np.arange(length) > 0
    return SequenceTask(
        "mnist-generate", words.encoding.width, length, counted, np.zeros(length, bool), draw, _arrays(words), held_out
    )


def _named_first(rows: Any, classes: Any) -> Pair:
    pixels, first = to_jax(rows).astype(jnp.int32), to_jax(classes).astype(jnp.int32)
    return pixels.at[:, 0].set(first), pixels


def task_of(name: str, length: int, words: DigitWords | None) -> SequenceTask:
    """Any task by its name; those of digits need their words."""
    if words is None:
        return make_task(name, length)
    return mnist_task(words) if name == "mnist" else generation_task(words)


def _arrays(words: DigitWords) -> dict[str, np.ndarray]:
    parts = {"train": words.train, "validation": words.validation}
    # No word has more than eight bits.
    return {f"{name}{i}": part.astype(np.uint8) for name, split in parts.items() for i, part in enumerate(split)}


def _drawn(words: DigitWords, name: str, completed: Any) -> Any:
    """A function that draws as many images of each digit, with replacement, and completes them."""
    count = len(words.train)

    def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
        chosen = []
        for i, own in enumerate(jax.random.split(key, count)):
            part = arrays[f"{name}{i}"]
            size = (batch + count - 1 - i) // count
            chosen.append(part[jax.random.randint(own, (size,), 0, len(part))])
        classes = np.repeat(np.arange(count), [len(rows) for rows in chosen])
        return completed(jnp.concatenate(chosen), classes)

    return draw


def with_labels(encoding: Encoding, words: Any, classes: Any) -> Pair:
    """Inputs and targets (N, length) of an image's words (N, steps) and classes (N,): zeros, then the label's words."""
    image, count = to_jax(words).astype(jnp.int32), encoding.label_words
    shifts = encoding.width * np.arange(count - 1, -1, -1, dtype=np.int32)
    label = (to_jax(classes).astype(jnp.int32)[:, None] >> to_jax(shifts)[None, :]) % 2**encoding.width
    inputs = jnp.concatenate([image, jnp.zeros((len(image), count), jnp.int32)], axis=1)
    return inputs, jnp.concatenate([jnp.zeros_like(image), label], axis=1)
