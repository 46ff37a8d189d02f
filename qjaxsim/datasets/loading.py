"""One door to all data sets: by name, from whichever source is here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from qjaxsim.common.checks import require_one_of
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.datasets import idx, prepared
from qjaxsim.datasets.dataset import Dataset, DatasetNotFoundError, NoSplitError, canonical_order
from qjaxsim.datasets.sampling import stratified_choice

DIGITS_SEED = 0
DIGITS_TEST_FRACTION = 0.2
_SOURCES = ("auto", "sklearn", "tfds", "idx")


def names(data_dir: str | Path | None = None) -> tuple[str, ...]:
    """Names that `load` takes: the built-in ones, then whatever else TFDS has prepared in the data folder.

    Args:
        data_dir: TFDS data folder; default TFDS_DATA_DIR, else ~/tensorflow_datasets.

    >>> names()[:3]
    ('digits', 'mnist', 'fashion_mnist')
    """
    built_in = ("digits", *idx.CLASS_NAMES)
    found = prepared.prepared_names(prepared.data_folder(data_dir))
    return built_in + tuple(name for name in found if name not in built_in)


def load(name: str, split: str = "train", *, source: str = "auto", data_dir: str | Path | None = None) -> Dataset:
    """One split of a labelled image set.

    Never downloads and never waits for a network. Examples come in an order that depends on their content only
    (`canonical_order`), so TFDS and idx files give equal arrays. What TFDS decodes is kept in a cache folder
    (`QJAXSIM_CACHE`, else the user's), since decoding takes seconds and reading arrays back does not.

    Args:
        name: "digits" (scikit-learn's 1,797 images of 8 x 8 pixels 0..16, always there), "mnist", "fashion_mnist", or
            any image classification set that TFDS has prepared as array_record.
        split: "train" or "test", or another split that the prepared set has. Digits has no official split: a fifth,
            stratified, chosen once by a fixed seed, is the test set.
        source: "auto" takes TFDS if the set is prepared, else idx files; "tfds", "idx" and "sklearn" insist.
        data_dir: TFDS data folder (holding NAME/VERSION), or the folder of the four idx files or its parent; default
            TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Returns:
        Dataset with images uint8 (N, H, W, C) and labels int32 (N,).

    Raises:
        ValueError: for an unknown name, split or source, or damaged files.
        DatasetNotFoundError: if the data are not here, or not readable with the packages installed.

    >>> digits = load("digits")
    >>> digits.images.shape, digits.labels[:3].dtype, digits.pixel_max
    ((1438, 8, 8, 1), dtype('int32'), 16)
    """
    require_one_of("source", source, _SOURCES)
    folder = prepared.data_folder(data_dir)
    if name != "digits" and name not in idx.CLASS_NAMES and prepared.version_folder(name, folder) is None:
        raise ValueError(
            f"Argument `name` must be one of {list(names(folder))} or a set that TFDS has prepared in {folder}, "
            f"but is {name!r}{did_you_mean(name, names(folder))}."
        )
    routes = _routes(name)
    if source != "auto":
        if source not in routes:
            raise ValueError(
                f"Argument `source` must be 'auto' or one of {list(routes)} for {name}, but is {source!r}."
            )
        routes = {source: routes[source]}
    reasons = []
    for route in routes.values():
        try:
            return route(name, split, folder)
        except DatasetNotFoundError as error:
            reasons.append(str(error))
    raise DatasetNotFoundError(_not_found(name, reasons))


def _routes(name: str) -> dict[str, Callable[[str, str, Path], Dataset]]:
    """Sources that can have this data set, best first."""
    if name == "digits":
        return {"sklearn": _digits}
    if name in idx.CLASS_NAMES:
        return {"tfds": prepared.read, "idx": idx.read}
    return {"tfds": prepared.read}


def _not_found(name: str, reasons: list[str]) -> str:
    preparable = (
        f"run `qjaxsim data prepare {name} --download` or `qjaxsim data prepare {name} --from DIR` (DIR holds the "
        f"four idx .gz files), "
        if name in idx.CLASS_NAMES
        else ""
    )
    return (
        f"Data set {name!r} cannot be loaded: {'; '.join(reasons)}. Ways out: {preparable}pass `data_dir` or set "
        f"TFDS_DATA_DIR to a folder that has it, or use 'digits', which needs no files."
    )


def _digits(name: str, split: str, folder: Path) -> Dataset:
    """scikit-learn's copy of the UCI optical digits (test part), split once."""
    from sklearn.datasets import load_digits

    if split not in ("train", "test"):
        raise NoSplitError(f"Argument `split` must be one of ['train', 'test'] for {name}, but is {split!r}.")
    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int32)
    order = canonical_order(images, labels)
    images, labels = images[order], labels[order]
    n_test = round(DIGITS_TEST_FRACTION * len(labels))
    in_test = np.zeros(len(labels), bool)
    in_test[stratified_choice(labels, n_test, np.random.default_rng(DIGITS_SEED))] = True
    kept = in_test if split == "test" else ~in_test
    return Dataset(
        images=images[kept][..., np.newaxis],
        labels=labels[kept],
        class_names=tuple(str(label) for label in bunch.target_names),
        name=name,
        split=split,
        source=f"scikit-learn load_digits; canonical order; stratified 80/20 split, seed {DIGITS_SEED}",
        pixel_max=16,
    )
