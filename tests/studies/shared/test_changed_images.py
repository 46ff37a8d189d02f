"""A run on a person's own images, read again when they have changed."""

import dataclasses
import warnings

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim import datasets
from qjaxsim.command.app import run
from tests.cases import mostly_slow

COMMANDS = {
    "gradient-variance": ["--qubits", "2", "--layers", "1", "--batches", "8", "--centre", "2,1,8", "--seeds", "1",
                          "--images", "16", "--test-images", "8"],
    "hessian": ["--qubits", "4", "--patch-size", "4", "--patches", "1", "--layers", "1", "--batch-size", "8",
                "--seeds", "1", "--landscape", "none"],
    "attention": ["--attention", "softmax", "--seeds", "1", "--batch-size", "8", "--energy-images", "4", "--dim", "8"],
}  # fmt: skip


def own_images(digest, seed=0):
    """A set of three classes as TFDS has prepared it; its source says which it is."""
    images = np.random.default_rng(seed).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    source = f"TFDS mine:1.0.0, sha256 {digest}; canonical order"
    return datasets.Dataset(images, np.arange(60, dtype=np.int32) % 3, tuple("abc"), "mine", "train", source)


@pytest.mark.parametrize("study", mostly_slow(list(COMMANDS), keep=1))
def test_images_that_changed_since_the_run_are_told(monkeypatch, tmp_path, study):
    found = [own_images("aa11")]
    monkeypatch.setattr(datasets, "load", lambda name, split, **options: dataclasses.replace(found[0], split=split))
    out = tmp_path / "out"
    assert run(["study", study, "--dataset", "mine", *COMMANDS[study], "--epochs", "1", "--out", str(out)]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = qj.load_run(out).cell()
    found[0] = own_images("bb22", seed=1)
    with pytest.warns(UserWarning, match=r"Images of mine are others now \(sha256 bb22\) than .*sha256 aa11") as caught:
        now = qj.load_run(out).cell()
    assert caught[0].filename == __file__
    assert not np.array_equal(before.train[0], now.train[0])
    images = found[0].images[:5]
    np.testing.assert_array_equal(before.predict(images), now.predict(images))
