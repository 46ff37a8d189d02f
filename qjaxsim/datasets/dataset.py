"""What every route returns: the arrays, their meaning, and one order that does not depend on the route."""

import dataclasses
import hashlib

import numpy as np


class DatasetNotFoundError(FileNotFoundError):
    """The data set is known, but its files are not here (or cannot be read here); the message names the ways out."""


class NoSplitError(ValueError):
    """The data set is here, but has no such split; the message names those that it has."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images of one split.

    Attributes:
        images: uint8, shape (N, H, W, C), values 0..pixel_max.
        labels: int32, shape (N,), values 0..n_classes - 1.
        class_names: one name per class.
        name: the data set ("mnist").
        split: the part of it ("train").
        source: where the arrays came from and what was done to them, for the record of a run.
        pixel_max: the largest value a pixel can have, 255 as a rule and 16 for digits; divide by it to scale to [0, 1].

    Raises:
        ValueError: if shapes, dtypes or label values do not fit together.

    >>> images, labels = np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, 1], np.int32)
    >>> dark = Dataset(images, labels, ("a", "b"), "dark", "train", "made here")
    >>> dark.images.shape, dark.class_names[dark.labels[0]]
    ((3, 2, 2, 1), 'a')
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    split: str
    source: str
    pixel_max: int = 255

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(
                f"Argument `images` must be uint8 of shape (N, H, W, C), "
                f"but is {self.images.dtype} of shape {self.images.shape}."
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int32:
            raise ValueError(
                f"Argument `labels` must be int32 of shape {self.images.shape[:1]}, one per image, "
                f"but is {self.labels.dtype} of shape {self.labels.shape}."
            )
        if len(self) and (self.labels.min() < 0 or self.labels.max() >= self.n_classes):
            raise ValueError(
                f"Argument `labels` must lie in 0..{self.n_classes - 1}, one value per class name, "
                f"but reaches from {self.labels.min()} to {self.labels.max()}."
            )
        if self.images.max(initial=0) > self.pixel_max:
            raise ValueError(
                f"Argument `pixel_max` must be the largest value a pixel can have, but is {self.pixel_max}, and one is "
                f"{self.images.max()}."
            )

    def __len__(self) -> int:
        """Number of examples N."""
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Number of classes, whether or not each has an example."""
        return len(self.class_names)

    def class_counts(self) -> np.ndarray:
        """Examples per class, integers of shape (n_classes,)."""
        return np.bincount(self.labels, minlength=self.n_classes)

    def take(self, indices: np.ndarray, note: str) -> "Dataset":
        """The examples at `indices` (integers, shape (M,)), with `note` appended to the source."""
        return dataclasses.replace(
            self, images=self.images[indices], labels=self.labels[indices], source=f"{self.source}; {note}"
        )


def canonical_order(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The permutation that puts examples in the order of a hash of their content.

    Files of different origin hold the same examples in different orders. The hash order is the same for all of them,
    so a seed chooses the same examples whatever the route, and it is as good as random: no trace of writer or date.

    Args:
        images: uint8, shape (N, ...).
        labels: integers, shape (N,).

    Returns:
        Integers, shape (N,). Equal examples keep their relative order, which nothing can tell.
    """
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    digests = [
        hashlib.blake2b(row.tobytes() + int(label).to_bytes(4, "little"), digest_size=16).digest()
        for row, label in zip(pixels, labels, strict=True)
    ]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
