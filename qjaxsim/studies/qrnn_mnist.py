"""Handwritten digits as sequences of bits: 10 x 10 pixels, read along rows and along columns at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim import datasets
from qjaxsim.studies.qrnn_tasks import Pair, SequenceTask

# Training images of each digit that are held out, as published.
VALIDATION_PER_DIGIT = 500
SIDE = 10


def binary_images(images: np.ndarray) -> np.ndarray:
    """(N, 10, 10) booleans, true for background: centre 20 x 20, means of 2 x 2 pixels, a threshold for each image.

    The threshold is Otsu's, from the image's own 100 values. It gives means of 0.63 (digit 0) and 0.83 (digit 1), like
    the author's files; his resampling is not reproducible bit for bit.

    Args:
        images: (N, 28, 28) or (N, 28, 28, 1) grey values, ink high.
    """
    grey = images.reshape(len(images), 28, 28)[:, 4:24, 4:24].astype(np.float64)
    values = grey.reshape(len(grey), SIDE, 2, SIDE, 2).mean(axis=(2, 4)).reshape(len(grey), -1)
    ranked = np.sort(values, axis=1)
    sums = np.cumsum(ranked, axis=1)
    below = np.arange(1, values.shape[1])
    above = values.shape[1] - below
    between = below * above * (sums[:, :-1] / below - (sums[:, -1:] - sums[:, :-1]) / above) ** 2
    best = between.argmax(axis=1)[:, None]
    threshold = (np.take_along_axis(ranked, best, 1) + np.take_along_axis(ranked, best + 1, 1)) / 2
    return (values < threshold).reshape(-1, SIDE, SIDE)


def two_scans(bits: np.ndarray) -> np.ndarray:
    """(N, 100) words 0..3: pixel i in row-major order is the high bit, pixel i in column-major order the low one."""
    rows = bits.reshape(len(bits), -1).astype(np.int32)
    columns = bits.swapaxes(1, 2).reshape(len(bits), -1).astype(np.int32)
    return 2 * rows + columns


class DigitWords:
    """Words and classes of some digits: training, validation and test part.

    Attributes:
        train: one (n, 100) array for each digit.
        validation: the same.
        test: the same.
        source: where the images are from.
    """

    def __init__(self, digits: Sequence[int], dataset: str = "mnist", data_dir: Path | None = None):
        if len(set(digits)) != len(digits) or not 2 <= len(digits) <= 4 or not set(digits) <= set(range(10)):
            raise ValueError(f"Argument `digits` must be two to four different digits, but is {list(digits)}.")
        train, test = (datasets.load(dataset, split, data_dir=data_dir) for split in ("train", "test"))
        if train.images.shape[1:] != (28, 28, 1):
            raise ValueError(f"Argument `dataset` must have images of 28 x 28 pixels, but is {dataset!r}.")
        words = {split.split: two_scans(binary_images(split.images)) for split in (train, test)}
        parts = [words["train"][train.labels == digit] for digit in digits]
        self.validation = [part[:VALIDATION_PER_DIGIT] for part in parts]
        self.train = [part[VALIDATION_PER_DIGIT:] for part in parts]
        self.test = [words["test"][test.labels == digit] for digit in digits]
        self.source = f"{train.source}; first {VALIDATION_PER_DIGIT} training images of each digit held out"

    def duplicates(self) -> list[float]:
        """For each digit, the share of test sequences that also occur in training (any digit)."""
        seen = {row.tobytes() for part in self.train for row in np.ascontiguousarray(part)}
        return [float(np.mean([row.tobytes() in seen for row in np.ascontiguousarray(part)])) for part in self.test]


def mnist_task(words: DigitWords) -> SequenceTask:
    """Tell the digit after its last pixel; all targets before are 0, and the lanes are set to them."""
    length = SIDE * SIDE + 1
    last = np.arange(length) == length - 1
    parts = {"train": words.train, "validation": words.validation}
    arrays = {f"{name}{i}": part.astype(np.int8) for name, split in parts.items() for i, part in enumerate(split)}

    def drawn(name: str) -> Any:
        def draw(arrays: Mapping[str, Any], key: jax.Array, batch: int) -> Pair:
            count = len(words.train)
            chosen = []
            for i, own in enumerate(jax.random.split(key, count)):
                part = arrays[f"{name}{i}"]
                size = (batch + count - 1 - i) // count
                chosen.append(part[jax.random.randint(own, (size,), 0, len(part))])
            labels = np.repeat(np.arange(count), [len(rows) for rows in chosen])
            return with_labels(jnp.concatenate(chosen), labels)

        return draw

    return SequenceTask("mnist", 2, length, last, ~last, drawn("train"), arrays, drawn("validation"))


def with_labels(words: Any, labels: Any) -> Pair:
    """Inputs and targets (N, 101) of pixel words (N, 100) and classes (N,)."""
    pixels, classes = jnp.asarray(words).astype(jnp.int32), jnp.asarray(labels).astype(jnp.int32)
    zeros = jnp.zeros((len(pixels), 1), jnp.int32)
    return jnp.concatenate([pixels, zeros], axis=1), jnp.concatenate([jnp.zeros_like(pixels), classes[:, None]], axis=1)
