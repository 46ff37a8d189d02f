"""The idx route: the four gzip files in which MNIST and Fashion-MNIST were published, read with NumPy alone."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qjaxsim.datasets.dataset import Dataset, DatasetNotFoundError, NoSplitError, canonical_order

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
# Both data sets use the same file names, and sets made of them the same labels, as MNIST-C with its corrupted images:
# what was published is recognised by the MD5 of the label files and of the unpacked image files.
PUBLISHED_LABELS = {
    "d53e105ee54ea40749a09fcbcd1e9432": "mnist",
    "ec29112dd5afa0611ce80d1b7f02629c": "mnist",
    "25c81989df183df01b3e8a0aad5dffbe": "fashion_mnist",
    "bb300cfdad3c16e7a12a480ee83cd310": "fashion_mnist",
}
PUBLISHED_IMAGES = {
    "6bbc9ace898e44ae57da46a324031adb": "mnist",
    "2646ac647ad5339dbf082846283269ea": "mnist",
    "f4a8712d7a061bf5bd6d2ca38dc4d50a": "fashion_mnist",
    "8181f5470baa50b63fa0f6fddb340f0a": "fashion_mnist",
}
_IMAGES_MAGIC, _LABELS_MAGIC = 0x803, 0x801


def find_folder(name: str, folder: Path) -> Path | None:
    """The folder that holds the four files of data set `name`: `folder`/`name` or `folder` itself; None if neither."""
    for candidate in (folder / name, folder):
        if not missing_files(candidate):
            return candidate
    return None


def missing_files(folder: Path) -> list[str]:
    """Names of those of the four files that are not in `folder`."""
    return [file for pair in FILES.values() for file in pair if not (folder / file).is_file()]


def read(name: str, split: str, folder: Path) -> Dataset:
    """One split from a folder of idx files, in canonical order.

    Args:
        name: a key of CLASS_NAMES.
        split: "train" or "test".
        folder: holds the four files, directly or in a folder called `name`.

    Raises:
        DatasetNotFoundError: if a file is missing.
        NoSplitError: for an unknown split.
        ValueError: for files that are truncated, empty, of the wrong kind, of another data
            set, or do not agree with each other.
    """
    if split not in FILES:
        raise NoSplitError(f"Argument `split` must be one of {list(FILES)} for {name}, but is {split!r}.")
    found = find_folder(name, folder)
    if found is None:
        raise DatasetNotFoundError(f"no idx files ({', '.join(missing_files(folder))}) in {folder} or {folder / name}")
    images_path, labels_path = (found / file for file in FILES[split])
    with_labels = _is_published(name, labels_path, labels_path.read_bytes(), PUBLISHED_LABELS)
    content = _unpacked(images_path)
    published = _is_published(name, images_path, content, PUBLISHED_IMAGES) and with_labels
    images = _array(images_path, content, _IMAGES_MAGIC)
    labels = _array(labels_path, _unpacked(labels_path), _LABELS_MAGIC)
    if len(images) != len(labels):
        raise ValueError(
            f"Files of one split must hold as many images as labels, but {images_path} holds {len(images)} and "
            f"{labels_path.name} {len(labels)}; fetch both again."
        )
    if labels.max() >= len(CLASS_NAMES[name]):
        raise ValueError(
            f"Labels of {name} must be below {len(CLASS_NAMES[name])}, but {labels_path} reaches {labels.max()}; "
            f"it belongs to another data set."
        )
    order = canonical_order(images, labels)
    images, labels = images[order], labels[order]
    # What is published is known; of own files in its form only the contents say which they are.
    which = "" if published else f", sha256 {_digest(images, labels)}"
    return Dataset(
        images=images[..., np.newaxis],
        labels=labels.astype(np.int32),
        class_names=CLASS_NAMES[name],
        name=name,
        split=split,
        source=f"idx files {images_path.name}, {labels_path.name}{which}; canonical order",
    )


def _is_published(name: str, path: Path, content: bytes, known: Mapping[str, str]) -> bool:
    """Whether the content of a file is one of those that were published, digest -> data set.

    Raises:
        ValueError: if it is that of another data set.
    """
    # MD5 as a fingerprint of published files, not for security.
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    origin = known.get(digest, name)
    if origin != name:
        raise ValueError(
            f"Folder {path.parent} must hold {name}, but {path.name} is the file of {origin} "
            f"(both use the same file names); pass the folder of {name}."
        )
    return digest in known


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"File {path} must be a whole gzip file, but reading it failed ({error}); fetch it again."
        ) from error


def _array(path: Path, content: bytes, magic: int) -> np.ndarray:
    """Bytes of an idx file as uint8 in the shape that its header declares (images 3 axes, labels 1)."""
    header_bytes = 4 * (1 + (magic & 0xFF))  # the last byte of the magic number counts the axes
    if len(content) < header_bytes:
        raise ValueError(
            f"File {path} must start with an idx header of {header_bytes} bytes, but holds {len(content)}; fetch it "
            f"again."
        )
    header = np.frombuffer(content[:header_bytes], ">u4")
    if header[0] != magic:
        raise ValueError(
            f"File {path} must start with the idx magic number {magic:#06x}, but starts with {int(header[0]):#06x}; "
            f"it is another kind of file."
        )
    shape = tuple(int(size) for size in header[1:])
    if not all(shape):
        raise ValueError(f"File {path} must hold samples, but its header says {shape}; take another file.")
    expected, held = int(np.prod(shape, dtype=np.int64)), len(content) - header_bytes
    if held != expected:
        raise ValueError(
            f"File {path} must hold {expected} bytes for the shape {shape} of its header, but holds {held}; "
            f"fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)
