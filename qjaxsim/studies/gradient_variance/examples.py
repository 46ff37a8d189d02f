"""The images of the study `gradient-variance`."""

from pathlib import Path

from qjaxsim import datasets
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.shared.examples import Examples, source_of, training_and_test
from qjaxsim.studies.shared.preprocessing import preprocessing_of
from qjaxsim.studies.shared.setting import require_at_most


def load_images(settings: GradientSettings, data_dir: Path | None) -> Examples:
    """Training and test images in [0, 1] with labels; `settings` must be resolved."""
    train, test = training_and_test(settings.dataset, data_dir, settings.data_seed)
    for name, split in (("images", train), ("test_images", test)):
        require_at_most(name, getattr(settings, name), len(split), f"{split.split} images of {settings.dataset}")
    if settings.images is not None:
        train = datasets.subset(train, settings.images, seed=settings.data_seed)
    if settings.test_images is not None:
        test = datasets.subset(test, settings.test_images, seed=settings.data_seed)
    prepare = preprocessing_of(train, grey=True)
    x_train, x_test = prepare(train.images), prepare(test.images)
    return Examples(x_train, train.labels, x_test, test.labels, train.n_classes, source_of(train, test), prepare)
