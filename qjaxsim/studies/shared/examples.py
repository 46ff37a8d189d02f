"""The images that a study trains and tests its models on."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qjaxsim import datasets
from qjaxsim.datasets.sampling import stratified_choice
from qjaxsim.studies.shared.preprocessing import Preprocessing

_TEST_SHARE = 0.2
_DIGEST = re.compile(r"sha256 ([0-9a-f]+)")


@dataclass(frozen=True, eq=False)
class Examples:
    """Images as the models take them, in front N of them, and labels (N,) int32, for training and testing.

    Attributes:
        x_train, y_train: for training.
        x_test, y_test: for testing.
        n_classes: of the labels.
        source: where they are from.
        prepare: from images as the data set has them to these; None where models take them as they are.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int
    source: str
    prepare: Preprocessing | None = None

    @property
    def side(self) -> int:
        """Pixels along one side."""
        return int(self.x_train.shape[1])


def training_and_test(name: str, data_dir: Path | None, data_seed: int) -> tuple[datasets.Dataset, datasets.Dataset]:
    """A data set's two splits. A set without test images gives a fifth of its images for them, chosen by the seed.

    Args:
        name: of the data set.
        data_dir: where prepared data sets are.
        data_seed: as it says.

    Raises:
        ValueError: if images for testing have another size than those for training.
    """
    train = datasets.load(name, "train", data_dir=data_dir)
    try:
        test = datasets.load(name, "test", data_dir=data_dir)
        _require_one_size(train, test)
        return train, test
    except datasets.NoSplitError:
        chosen = stratified_choice(
            train.labels, max(1, round(_TEST_SHARE * len(train))), np.random.default_rng(data_seed)
        )
    kept = np.setdiff1d(np.arange(len(train)), chosen)
    note = f"a fifth held out for testing, seed {data_seed}"
    return train.take(kept, note), train.take(chosen, note)


def source_of(train: datasets.Dataset, test: datasets.Dataset) -> str:
    """Where the images are from. Those for testing are named where files of their own say which they are."""
    own = digests(test.source)
    return train.source if own == digests(train.source) or not own else f"{train.source}; tested on {test.source}"


def digests(source: str) -> list[str]:
    """Those of an own set's contents that its source names; none for published sets."""
    return _DIGEST.findall(source)


def _require_one_size(train: datasets.Dataset, test: datasets.Dataset) -> None:
    sizes = [" x ".join(map(str, one.images.shape[1:])) for one in (train, test)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"Argument `dataset` must name images of one size, but those of {train.name} have {sizes[0]} for training "
            f"and {sizes[1]} for testing; prepare it with others."
        )
