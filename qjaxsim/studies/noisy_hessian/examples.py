"""The images of the study `noisy-hessian`: the first classes of a set, as their four leading principal components."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from qjaxsim import datasets
from qjaxsim.studies.noisy_hessian.settings import QUBITS, NoisyHessianSettings
from qjaxsim.studies.shared.setting import require_at_most


class Features(NamedTuple):
    """Training images as angles.

    Attributes:
        x: (N, 4) float64, radians; each column within +-pi/2.
        y: (N,) int32 labels.
        source: where they are from.
    """

    x: np.ndarray
    y: np.ndarray
    source: str


def load_features(settings: NoisyHessianSettings, data_dir: Path | None) -> Features:
    """The images that the study trains on.

    Raises:
        ValueError: for fewer classes or images in the set than asked for.
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    data = datasets.load(settings.dataset, "train", data_dir=data_dir)
    require_at_most("classes", settings.classes, data.n_classes, f"classes of {settings.dataset}")
    data = datasets.select_classes(data, range(settings.classes))
    require_at_most("images", settings.images, len(data), f"training images of {settings.dataset} in these classes")
    chosen = datasets.subset(data, settings.images, seed=settings.data_seed)
    pixels = chosen.images.reshape(len(chosen), -1) / float(chosen.pixel_max)
    return Features(principal_angles(pixels), chosen.labels, chosen.source)


def principal_angles(pixels: np.ndarray) -> np.ndarray:
    """The leading principal components (N, 4) of rows (N, pixels), each scaled so that its largest size is pi/2.

    Those along which the rows do not differ are zero.
    """
    centred = pixels - pixels.mean(axis=0)
    _, sizes, components = np.linalg.svd(centred, full_matrices=False)
    components = components[:QUBITS]
    # Singular vectors have a sign by chance.
    components *= np.sign(components[np.arange(QUBITS), np.abs(components).argmax(axis=1)])[:, None]
    found = centred @ components.T
    # Rounding would be scaled up to angles like any others.
    known = sizes[:QUBITS] > 1e-12 * sizes[0]
    return np.where(known, found / np.where(known, np.abs(found).max(axis=0), 1), 0) * (np.pi / 2)
