"""What studies on images refuse of a data set, before any work."""

import dataclasses

import numpy as np
import pytest

from qjaxsim import datasets
from qjaxsim.studies.attention import examples as attention
from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.gradient_variance import examples as gradient_variance
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.hessian import examples as hessian
from qjaxsim.studies.hessian.settings import HessianSettings
from tests.dataset_files import tiny

SQUARE = dataclasses.replace(tiny(), images=np.zeros((20, 8, 8, 1), np.uint8))
LOADERS = {
    "attention": lambda: attention.load_examples(AttentionStudySettings(dataset="tiny").resolved(), None),
    "gradient-variance": lambda: gradient_variance.load_images(
        GradientSettings(dataset="tiny", images=12, test_images=12).resolved(), None
    ),
    "hessian": lambda: hessian.load_examples(HessianSettings(dataset="tiny").resolved(), None, None),
}


@pytest.mark.parametrize("study", LOADERS)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tiny(), r"`dataset` must name square (grey )?images, but those of tiny have shape 6 x 5 x 1; prepare it with"),
        (
            dataclasses.replace(SQUARE, labels=np.zeros(20, np.int32), class_names=("a",)),
            "`dataset` must name images of two classes at least, but tiny has 1",
        ),
    ],
)
def test_data_sets_that_no_model_takes(monkeypatch, study, data, message):
    monkeypatch.setattr(datasets, "load", lambda *args, **options: data)
    with pytest.raises(ValueError, match=message):
        LOADERS[study]()


@pytest.mark.parametrize("study", ["gradient-variance", "hessian"])
def test_colours_that_models_of_grey_images_do_not_take(monkeypatch, study):
    coloured = dataclasses.replace(SQUARE, images=np.zeros((20, 8, 8, 3), np.uint8))
    monkeypatch.setattr(datasets, "load", lambda *args, **options: coloured)
    with pytest.raises(ValueError, match="`dataset` must name square grey images, but .* 8 x 8 x 3"):
        LOADERS[study]()
