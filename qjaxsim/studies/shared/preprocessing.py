"""What a trained model does to images first, kept with it, so that nobody has to know it to predict."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from qjaxsim.common.checks import require_unmasked
from qjaxsim.datasets import Dataset
from qjaxsim.models.patches import scaled_images


@dataclass(frozen=True)
class Preprocessing:
    """From images as their data set has them to what a model takes.

    Attributes:
        side: pixels along one side of an image.
        pixel_max: largest possible pixel value (255 for MNIST, 16 for digits).
        n_qubits: of the circuits that take pixels as angles up to 2 pi / n_qubits; None for grey values in [0, 1].
        pool: side of the pooling window.
        channels: of images whose models take their axis; 0 for grey ones whose models do not.
    """

    side: int
    pixel_max: float
    n_qubits: int | None = None
    pool: int = 1
    channels: int = 0

    def __call__(self, images: Any) -> np.ndarray:
        """The model's inputs, (N, side // pool, side // pool) float64, with `channels` behind where there are any.

        Args:
            images: (N, side, side), or with an axis of channels behind; pixels from 0 to `pixel_max`.

        Raises:
            TypeError: for masked arrays.
            ValueError: for other shapes, pixels out of range or not finite, or float images that are scaled already.
        """
        require_unmasked("Argument `images`", images)
        array = np.asarray(images)
        self._check(array)
        if self.n_qubits is not None:
            return scaled_images(array, self.pixel_max, self.n_qubits, self.pool)
        last = (self.channels,) if self.channels else ()
        scaled: np.ndarray = array.reshape(*array.shape[:3], *last) / float(self.pixel_max)
        return scaled

    def _check(self, images: np.ndarray) -> None:
        grey, last = self.channels < 2, max(self.channels, 1)
        shape = (self.side, self.side)
        if images.shape[1:] != (*shape, last) and not (grey and images.shape[1:] == shape):
            wanted = f"(N, {self.side}, {self.side}), with or without a last axis of 1"
            raise ValueError(
                f"Argument `images` must have shape {wanted if grey else f'(N, {self.side}, {self.side}, {last})'}, "
                f"but has {images.shape}; give images as the model's data set has them."
            )
        if images.dtype.kind not in "uif" or not np.isfinite(images).all():
            raise ValueError(f"Argument `images` must hold finite real numbers, but is {images.dtype} with others.")
        if not images.size:
            return
        least, most = float(images.min()), float(images.max())
        if least < 0 or most > self.pixel_max:
            raise ValueError(
                f"Argument `images` must hold pixels from 0 to {self.pixel_max:g}, but goes from {least:g} to "
                f"{most:g}; give them as the model's data set has them."
            )
        if images.dtype.kind == "f" and 0 < most <= 1 < self.pixel_max:
            raise ValueError(
                f"Argument `images` must hold pixels from 0 to {self.pixel_max:g}, but none is above {most:g}: they "
                f"are scaled already, and would be once more; multiply them by {self.pixel_max:g}."
            )


def preprocessing_of(data: Dataset, *, grey: bool, n_qubits: int | None = None, pool: int = 1) -> Preprocessing:
    """What models of a data set's images do to them first.

    Args:
        data: the images.
        grey: whether models take grey images without an axis of channels.
        n_qubits: as in `Preprocessing`.
        pool: as there.

    Raises:
        ValueError: for images that are not square, that the window does not fill, or that are coloured where they are
            to be grey, and for a single class.
    """
    _, height, width, channels = data.images.shape
    if height != width or (grey and channels != 1):
        raise ValueError(
            f"Argument `dataset` must name square {'grey ' * grey}images, but those of {data.name} have shape "
            f"{height} x {width} x {channels}; prepare it with others."
        )
    if height % pool:
        raise ValueError(
            f"Argument `dataset` must name images whose side {pool} divides, since each {pool} x {pool} pixels become "
            f"one, but those of {data.name} have {height} x {width}; prepare it with others."
        )
    if data.n_classes < 2:
        raise ValueError(
            f"Argument `dataset` must name images of two classes at least, but {data.name} has {data.n_classes}."
        )
    return Preprocessing(height, data.pixel_max, n_qubits, pool, 0 if grey else channels)
