"""Small data sets and their files for tests, and what the real ones hold."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from qjaxsim.datasets import idx
from qjaxsim.datasets.dataset import Dataset

REAL = os.environ.get("TFDS_DATA_DIR", "")
needs_real = pytest.mark.skipif(
    not (REAL and (Path(REAL) / "mnist").is_dir()),
    reason="set TFDS_DATA_DIR to a folder where TFDS has prepared mnist and fashion_mnist",
)
CLASS_COUNTS = {
    ("mnist", "train"): [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    ("mnist", "test"): [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ("fashion_mnist", "train"): [6000] * 10,
    ("fashion_mnist", "test"): [1000] * 10,
}


def tiny(n=20, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 6, 5, 1), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int32) % n_classes
    return Dataset(images, labels, tuple("abcd"[:n_classes]), "tiny", "train", "made up")


def idx_bytes(array, magic=None):
    magic = magic if magic is not None else 0x800 | array.ndim
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


def write_idx(folder, seed=0):
    """Four small files as published ones are laid out; returns the arrays by split."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    arrays = {}
    for n, (split, (images_file, labels_file)) in zip((30, 12), idx.FILES.items(), strict=True):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        (folder / images_file).write_bytes(gzip.compress(idx_bytes(images)))
        (folder / labels_file).write_bytes(gzip.compress(idx_bytes(labels)))
        arrays[split] = images, labels
    return arrays


def multiset(images, labels):
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
