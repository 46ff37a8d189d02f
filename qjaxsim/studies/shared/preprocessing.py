"""What a trained model does to images first, kept with it, so that nobody has to know it to predict."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from qjaxsim.models.patches import scaled_images


@dataclass(frozen=True)
class Preprocessing:
    """From images as their data set has them to what a model takes.

    Attributes:
        side: pixels along one side of an image.
        pixel_max: largest possible pixel value (255 for MNIST, 16 for digits).
        n_qubits: of the circuits that take pixels as angles up to 2 pi / n_qubits; None for grey values in [0, 1].
        pool: side of the pooling window.
    """

    side: int
    pixel_max: float
    n_qubits: int | None = None
    pool: int = 1

    def __call__(self, images: Any) -> np.ndarray:
        """The model's inputs, (N, side // pool, side // pool) float64.

        Args:
            images: (N, side, side) or (N, side, side, 1), pixels from 0 to `pixel_max`.

        Raises:
            ValueError: for other shapes, pixels out of range or not finite, or float images that are scaled already.
        """
        array = np.asarray(images)
        self._check(array)
        if self.n_qubits is not None:
            return scaled_images(array, self.pixel_max, self.n_qubits, self.pool)
        grey = array[..., 0] if array.ndim == 4 else array
        scaled: np.ndarray = grey / float(self.pixel_max)
        return scaled

    def _check(self, images: np.ndarray) -> None:
        shape = (self.side, self.side)
        if images.ndim not in (3, 4) or images.shape[1:3] != shape or (images.ndim == 4 and images.shape[3] != 1):
            raise ValueError(
                f"Argument `images` must have shape (N, {self.side}, {self.side}), with or without a last axis of 1, "
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
