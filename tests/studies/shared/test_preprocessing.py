"""What studies on images take and refuse of a data set, before any work."""

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

ANY_NUMBER = AttentionStudySettings(dataset="tiny", energy_images=1)
SQUARE = dataclasses.replace(tiny(), images=np.zeros((20, 8, 8, 1), np.uint8))
# Training images beside twelve for testing, of sixty.
LEFT = {"attention": 48, "gradient-variance": 12, "hessian": 48}
LOADERS = {
    "attention": lambda: attention.load_examples(AttentionStudySettings(dataset="tiny").resolved(), None, ANY_NUMBER),
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


@pytest.mark.parametrize("study", LOADERS)
def test_a_set_without_test_images_gives_a_fifth_and_a_damaged_one_nothing(monkeypatch, study):
    images = np.arange(60 * 64, dtype=np.int64).reshape(60, 8, 8, 1) % 251
    labels = np.repeat(np.arange(3, dtype=np.int32), (10, 20, 30))
    data = datasets.Dataset(images.astype(np.uint8), labels, tuple("abc"), "tiny", "train", "made up")
    found = {"test": datasets.NoSplitError("Argument `split` must be one of ['train'] for tiny")}

    def load(name, split, **options):
        if split in found:
            raise found[split]
        return data

    monkeypatch.setattr(datasets, "load", load)
    examples = LOADERS[study]()
    assert np.bincount(examples.y_test).tolist() == [2, 4, 6] and "a fifth held out" in examples.source
    both = np.concatenate([examples.x_train[:, 0, 0], examples.x_test[:, 0, 0]]).ravel()
    assert len(examples.x_train) == LEFT[study] and len(set(both)) == len(both)
    found["test"] = ValueError("Folder tiny must hold whole array_record files")
    with pytest.raises(ValueError, match="whole array_record files"):
        LOADERS[study]()


def of_size(side, split):
    images = np.random.default_rng(0).integers(0, 256, (60, side, side, 1), dtype=np.uint8)
    return datasets.Dataset(images, np.arange(60, dtype=np.int32) % 3, tuple("abc"), "tiny", split, "made up")


@pytest.mark.parametrize("study", LOADERS)
def test_images_for_testing_of_another_size_than_those_for_training(monkeypatch, study):
    monkeypatch.setattr(datasets, "load", lambda name, split, **options: of_size({"train": 8, "test": 4}[split], split))
    with pytest.raises(ValueError, match="`dataset` must name images of one size, but .* 8 x 8 x 1 .* 4 x 4 x 1 for t"):
        LOADERS[study]()


def test_images_that_cannot_be_pooled(monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, split, **options: of_size(9, split))
    with pytest.raises(
        ValueError, match="`dataset` must name images whose side 2 divides, .* those of tiny have 9 x 9"
    ):
        LOADERS["hessian"]()
