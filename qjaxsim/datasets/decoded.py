"""Decoded arrays kept between runs. The cache only saves time: without it, or with a damaged one, results are equal."""

from pathlib import Path

import numpy as np

from qjaxsim.common import files
from qjaxsim.common.cache import cache_folder
from qjaxsim.datasets.dataset import Dataset


def read(key: str, n: int, *, name: str, split: str, source: str) -> Dataset | None:
    """The data set stored under `key`, or None if there is none, it cannot be read, or it does not hold n examples."""
    try:
        stored = files.read_npz(_path(key), "images", "labels", "class_names")
        dataset = Dataset(
            images=stored["images"],
            labels=stored["labels"],
            class_names=tuple(str(class_name) for class_name in stored["class_names"]),
            name=name,
            split=split,
            source=source,
        )
    except (OSError, ValueError):
        return None
    return dataset if len(dataset) == n else None


def write(key: str, dataset: Dataset) -> None:
    """Store the data set under `key`; a folder that cannot be written is not an error."""
    arrays = {"images": dataset.images, "labels": dataset.labels, "class_names": np.array(dataset.class_names)}
    try:
        files.write_npz(_path(key), arrays)
    except OSError:
        return


def _path(key: str) -> Path:
    return cache_folder() / "datasets" / f"{key}.npz"
