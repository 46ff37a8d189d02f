"""The idx route: the four files in which MNIST and Fashion-MNIST were published, packed or not, read with NumPy."""

import gzip
import hashlib
import zlib
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
# what was published is recognised by the MD5 of the unpacked files.
PUBLISHED = {
    "a25bea736e30d166cdddb491f175f624": "mnist",
    "27ae3e4e09519cfbb04c329615203637": "mnist",
    "9018921c3c673c538a1fc5bad174d6f9": "fashion_mnist",
    "15d484375f8d13e6eb1aabb0c3f46965": "fashion_mnist",
    "6bbc9ace898e44ae57da46a324031adb": "mnist",
    "2646ac647ad5339dbf082846283269ea": "mnist",
    "f4a8712d7a061bf5bd6d2ca38dc4d50a": "fashion_mnist",
    "8181f5470baa50b63fa0f6fddb340f0a": "fashion_mnist",
}
_IMAGES_MAGIC, _LABELS_MAGIC = 0x803, 0x801


def find_folder(name: str, folder: Path) -> Path | None:
    """The folder that holds the four files of data set `name`: `folder`/`name` or `folder` itself; None if neither."""
    for candidate in (folder / name, folder):
        if all(_written(candidate, file) for pair in FILES.values() for file in pair):
            return candidate
    return None


def missing_files(folder: Path) -> list[str]:
    """Names of those of the four files that are not in `folder` as they were published, packed."""
    return [file for pair in FILES.values() for file in pair if not (folder / file).is_file()]


def _written(folder: Path, file: str) -> Path | None:
    """Where the file is: packed, or else unpacked, its name with a hyphen or, as on some sites, a point."""
    names = [name.removesuffix(end) for end in ("", ".gz") for name in (file, file.replace("-idx", ".idx"))]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read(name: str, split: str, folder: Path) -> Dataset:
    """One split from a folder of idx files, packed by gzip or not, in canonical order.

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
        missing = [file for pair in FILES.values() for file in pair if not _written(folder, file)]
        raise DatasetNotFoundError(
            f"no idx files ({', '.join(missing)}, or without .gz) in {folder} or {folder / name}"
        )
    images_path, labels_path = (_written(found, file) or found / file for file in FILES[split])
    of_images, of_labels = _unpacked(images_path), _unpacked(labels_path)
    with_labels = _is_published(name, labels_path, of_labels)
    published = _is_published(name, images_path, of_images) and with_labels
    images, labels = _array(images_path, of_images, _IMAGES_MAGIC), _array(labels_path, of_labels, _LABELS_MAGIC)
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


def _is_published(name: str, path: Path, content: bytes) -> bool:
    """Whether the content of a file is one of those that were published.

    Raises:
        ValueError: if it is that of another data set.
    """
    # MD5 as a fingerprint of published files, not for security.
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    origin = PUBLISHED.get(digest, name)
    if origin != name:
        raise ValueError(
            f"Folder {path.parent} must hold {name}, but {path.name} is the file of {origin} "
            f"(both use the same file names); pass the folder of {name}."
        )
    return digest in PUBLISHED


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
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
