"""Handwritten digits as 10 x 10 bits, and as two scans of them: along rows and along columns at once."""

import numpy as np

from qjaxsim.studies.qrnn.encoding import SIDE


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


def both_images(words: np.ndarray) -> np.ndarray:
    """(..., 2, 10, 10) booleans: the image that the high bits of (..., 100) words draw, and that of the low ones."""
    square = np.asarray(words).reshape(*np.shape(words)[:-1], SIDE, SIDE)
    return np.stack([square // 2 == 1, np.swapaxes(square % 2 == 1, -1, -2)], axis=-3)


def deskewed(images: np.ndarray) -> np.ndarray:
    """(N, 28, 28) float images whose slant is taken out: rows shifted so that ink's x and y no longer correlate.

    The slant is the ratio of the second moments <xy> / <yy> around the centre of mass; row y moves by minus the slant
    times its distance from the centre, with linear interpolation.

    Args:
        images: (N, 28, 28) or (N, 28, 28, 1) grey values, ink high. An image without ink stays as it is.
    """
    grey = images.reshape(len(images), 28, 28).astype(np.float64)
    place = np.arange(28.0)
    total = grey.sum(axis=(1, 2))
    mass = np.where(total > 0, total, 1.0)
    x = (grey.sum(axis=1) @ place / mass)[:, None] - place
    y = (grey.sum(axis=2) @ place / mass)[:, None] - place
    yy = np.einsum("nrc,nr->n", grey, y**2)
    slant = np.einsum("nrc,nr,nc->n", grey, y, x) / np.where(yy > 0, yy, 1.0)
    source = place[None, None, :] - (slant[:, None] * y)[:, :, None]
    low = np.floor(source).astype(np.int64)
    part = source - low

    def taken(columns: np.ndarray) -> np.ndarray:
        inside = (columns >= 0) & (columns < 28)
        return np.where(inside, np.take_along_axis(grey, np.clip(columns, 0, 27), axis=2), 0.0)

    return (1 - part) * taken(low) + part * taken(low + 1)
