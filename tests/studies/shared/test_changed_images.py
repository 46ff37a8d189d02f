"""A run on a person's own images, read again when they have changed."""

import dataclasses
import gzip
import hashlib
import re
import warnings

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim import datasets
from qjaxsim.command.app import run
from qjaxsim.datasets import idx
from qjaxsim.studies.attention import examples as attention
from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.gradient_variance import examples as gradient_variance
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.hessian import examples as hessian
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.studies.qrnn import digits as qrnn
from qjaxsim.studies.qrnn.encoding import Encoding
from tests.cases import mostly_slow
from tests.dataset_files import idx_bytes, write_idx

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


# How studies on images read mnist's idx files in a folder.
READERS = {
    "attention": lambda folder: attention.load_examples(AttentionStudySettings(dataset="mnist").resolved(), folder,
                                                        AttentionStudySettings(dataset="mnist", energy_images=1)),
    "gradient-variance": lambda folder: gradient_variance.load_images(
        GradientSettings(dataset="mnist", images=12, test_images=12).resolved(), folder),
    "hessian": lambda folder: hessian.load_examples(HessianSettings(dataset="mnist").resolved(), None, folder),
    "qrnn": lambda folder: qrnn.load_digit_words(Encoding((0, 1)), folder),
}  # fmt: skip


def write_twenty_of_each(folder, kind=0):
    """Own idx files of two digits; of another `kind` the labels for testing alone are interchanged."""
    write_idx(folder)
    for (images_file, labels_file), n in zip(idx.FILES.values(), (40, 20), strict=True):
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 2
        (folder / images_file).write_bytes(gzip.compress(idx_bytes(images)))
        (folder / labels_file).write_bytes(gzip.compress(idx_bytes(1 - labels if kind and n == 20 else labels)))


@pytest.mark.parametrize("study", READERS)
def test_the_source_says_which_own_images_are_for_testing(monkeypatch, tmp_path, study):
    monkeypatch.setattr(qrnn, "VALIDATION_PER_DIGIT", 5)
    found = []
    for kind in (0, 1, 0):
        write_twenty_of_each(tmp_path, kind)
        found.append(READERS[study](tmp_path).source)
    of_training, of_testing = zip(*(re.findall("sha256 ([0-9a-f]{16})", source) for source in found), strict=True)
    assert len(set(of_training)) == 1 and of_testing[0] == of_testing[2] != of_testing[1]
    for file in (file for files in idx.FILES.values() for file in files):
        published = hashlib.md5(gzip.decompress((tmp_path / file).read_bytes())).hexdigest()
        monkeypatch.setitem(idx.PUBLISHED, published, "mnist")
    assert "sha256" not in READERS[study](tmp_path).source


def test_no_run_goes_on_with_other_images_for_testing(tmp_path, capsys):
    write_twenty_of_each(tmp_path / "files")
    out, command = tmp_path / "out", ["study", "gradient-variance", "--dataset", "mnist", "--epochs", "1"]
    command += [*COMMANDS["gradient-variance"], "--data-dir", str(tmp_path / "files"), "--out", str(out)]
    assert run(command) == 0
    write_twenty_of_each(tmp_path / "files", kind=1)
    assert run([*command, "--resume"]) == 2
    told = re.search(
        r"holds a sweep with `images_source` = (.*), but this one has (.*); resume", capsys.readouterr().err
    )
    digests = [re.search("t10k-labels.*sha256 ([0-9a-f]{16})", text)[1] for text in told.groups()]
    with pytest.warns(UserWarning, match=rf"are others now \(sha256 {digests[1]}\) than .*\(sha256 {digests[0]}\)"):
        qj.load_run(out).cell(data_dir=tmp_path / "files")
    # A record of earlier versions names those for training alone.
    config = (out / "config.json").read_text()
    (out / "config.json").write_text(re.sub('; tested on [^"]*', "", config))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qj.load_run(out).cell(data_dir=tmp_path / "files")


@pytest.mark.parametrize(("study", "others"), mostly_slow([("gradient-variance", "size"), ("gradient-variance",
                         "classes"), ("attention", "classes")], keep=1))  # fmt: skip
def test_images_that_a_trained_model_does_not_fit_are_refused(monkeypatch, tmp_path, study, others):
    mine = own_images("aa11")
    found = [mine]
    monkeypatch.setattr(datasets, "load", lambda name, split, **options: dataclasses.replace(found[0], split=split))
    out = tmp_path / "out"
    assert run(["study", study, "--dataset", "mine", *COMMANDS[study], "--epochs", "1", "--out", str(out)]) == 0
    sized = dataclasses.replace(mine, images=np.zeros((60, 12, 12, 1), np.uint8))
    found[0] = sized if others == "size" else dataclasses.replace(mine, class_names=tuple("abcdefg"))
    with pytest.raises(
        ValueError, match=r"`data_dir` must lead to images of the size and classes that .* numbers, and"
    ):
        qj.load_run(out).cell()
