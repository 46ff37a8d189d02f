"""The images of the study `attention`."""

from pathlib import Path

import numpy as np

from qjaxsim import datasets
from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.shared.examples import Examples, source_of, training_and_test
from qjaxsim.studies.shared.preprocessing import preprocessing_of
from qjaxsim.studies.shared.setting import require_at_most


def load_examples(
    settings: AttentionStudySettings, data_dir: Path | None, given: AttentionStudySettings | None = None
) -> Examples:
    """Images in [0, 1] with labels.

    Args:
        settings: resolved.
        data_dir: where prepared data sets are.
        given: the same before defaults were filled in; it must not ask for more than there are.
    """
    train, test = training_and_test(settings.dataset, data_dir, settings.data_seed)
    prepare = preprocessing_of(train, grey=False)
    asked = given or settings
    require_at_most("images", asked.images, len(train), f"training images of {settings.dataset}")
    require_at_most("test_images", asked.test_images, len(test), f"test images of {settings.dataset}")
    if settings.images is not None and settings.images < len(train):
        train = datasets.subset(train, settings.images, seed=settings.data_seed)
    if settings.test_images is not None and settings.test_images < len(test):
        test = datasets.subset(test, settings.test_images, seed=settings.data_seed)
    if asked.energy_images != AttentionStudySettings.energy_images:
        require_at_most("energy_images", asked.energy_images, len(test), "test images")
    x_train, x_test = (prepare(one.images).astype(np.float32) for one in (train, test))
    return Examples(x_train, train.labels, x_test, test.labels, train.n_classes, source_of(train, test), prepare)
