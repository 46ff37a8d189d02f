"""The images that a study trains and tests its models on."""

from dataclasses import dataclass

import numpy as np

from qjaxsim.studies.shared.preprocessing import Preprocessing


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
