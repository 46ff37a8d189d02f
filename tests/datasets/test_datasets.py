"""Data sets: every route gives the same arrays, choices are stratified and seeded, missing or damaged data say so."""

import gzip
import hashlib
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qjaxsim import datasets
from qjaxsim.datasets import idx, loading
from qjaxsim.datasets.dataset import Dataset, canonical_order
from tests.cases import mostly_slow
from tests.dataset_files import CLASS_COUNTS, REAL, idx_bytes, multiset, needs_real, tiny, write_idx

# --- idx files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "mnist"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_files_hold_what_was_written(tmp_path, below, split):
    images, labels = write_idx(tmp_path / below)[split]
    dataset = datasets.load("mnist", split, source="idx", data_dir=tmp_path)
    assert dataset.images.shape == (len(images), 28, 28, 1)
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int32
    assert multiset(dataset.images[..., 0], dataset.labels) == multiset(images, labels)
    assert (dataset.n_classes, dataset.pixel_max, dataset.name, dataset.split) == (10, 255, "mnist", split)
    assert dataset.source.startswith("idx files")


def test_auto_falls_back_to_idx(tmp_path):
    write_idx(tmp_path)
    auto = datasets.load("fashion_mnist", data_dir=tmp_path)
    assert auto.source.startswith("idx files")
    assert auto.class_names[8] == "Bag"


def test_order_of_the_files_does_not_matter(tmp_path):
    images, labels = write_idx(tmp_path)["train"]
    first = datasets.load("mnist", source="idx", data_dir=tmp_path)
    shuffled = np.random.default_rng(1).permutation(len(labels))
    for file, array in zip(idx.FILES["train"], (images[shuffled], labels[shuffled]), strict=True):
        (tmp_path / file).write_bytes(gzip.compress(idx_bytes(array)))
    second = datasets.load("mnist", source="idx", data_dir=tmp_path)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.source == second.source


def digest(path):
    return hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest()


@pytest.mark.parametrize("point", [False, True])
def test_idx_files_may_be_unpacked_and_written_with_a_point(tmp_path, point):
    """As torchvision leaves them, and as other sites name them."""
    arrays = write_idx(tmp_path)
    packed = datasets.load("mnist", "test", data_dir=tmp_path)
    for path in list(tmp_path.iterdir()):
        name = path.name.removesuffix(".gz")
        (tmp_path / (name.replace("-idx", ".idx") if point else name)).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    found = datasets.load("mnist", "test", data_dir=tmp_path)
    np.testing.assert_array_equal(found.images, packed.images)
    np.testing.assert_array_equal(found.labels, packed.labels)
    assert multiset(found.images[..., 0], found.labels) == multiset(*arrays["test"])
    (tmp_path / ("t10k-labels.idx1-ubyte" if point else "t10k-labels-idx1-ubyte")).unlink()
    with pytest.raises(datasets.DatasetNotFoundError, match=r"no idx files \(t10k-labels-idx1-ubyte\.gz, or with"):
        datasets.load("mnist", "test", data_dir=tmp_path)


def test_the_source_of_own_idx_files_says_which_they_are(tmp_path, monkeypatch):
    found = []
    for seed in (0, 1):
        write_idx(tmp_path, seed=seed)
        found.append(datasets.load("mnist", source="idx", data_dir=tmp_path).source)
    kept = r"idx files train-images-idx3-ubyte\.gz, train-labels-idx1-ubyte\.gz, sha256 [0-9a-f]{16}; canonical order"
    assert found[0] != found[1] and all(re.fullmatch(kept, source) for source in found)
    monkeypatch.setitem(idx.PUBLISHED, digest(tmp_path / idx.FILES["train"][1]), "mnist")
    # Other images with the published labels, as MNIST-C has them, are others.
    assert datasets.load("mnist", source="idx", data_dir=tmp_path).source == found[1]
    monkeypatch.setitem(idx.PUBLISHED, digest(tmp_path / idx.FILES["train"][0]), "mnist")
    published = datasets.load("mnist", source="idx", data_dir=tmp_path).source
    assert published == re.sub(", sha256 .{16}", "", found[1])


def test_canonical_order_is_by_content_and_looks_random():
    images = np.arange(400, dtype=np.uint16).view(np.uint8).reshape(400, 2)
    order = canonical_order(images, np.zeros(400, int))
    assert sorted(order) == list(range(400))
    # 400 positions in random order: the rank correlation has standard deviation 0.05.
    assert abs(np.corrcoef(order, np.arange(400))[0, 1]) < 0.25
    with_labels = canonical_order(np.zeros((40, 2), np.uint8), np.arange(40))
    assert list(with_labels) != list(range(40))


def damaged(kind, content):
    images = gzip.decompress(content)
    return {
        "truncated gzip": content[:-20],
        "not gzip": b"<html>moved</html>",
        "wrong magic": gzip.compress(idx_bytes(np.zeros(30, np.uint8))),
        "short": gzip.compress(images[:-1]),
        "long": gzip.compress(images + b"\0"),
        "only a header": gzip.compress(images[:6]),
        "empty": gzip.compress(b""),
        "no samples": gzip.compress(idx_bytes(np.zeros((0, 28, 28), np.uint8))),
        "count": gzip.compress(idx_bytes(np.zeros((29, 28, 28), np.uint8))),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated gzip", r"train-images.* must be a whole gzip file, but reading it failed .*fetch it again"),
        ("not gzip", r"must be a whole gzip file, but reading it failed"),
        ("wrong magic", r"magic number 0x0803, but starts with 0x0801; it is another kind of file"),
        ("short", r"must hold 23520 bytes for the shape \(30, 28, 28\) of its header, but holds 23519"),
        ("long", r"must hold 23520 bytes .* but holds 23521"),
        ("no samples", r"train-images.* must hold samples, but its header says \(0, 28, 28\); take another file"),
        ("only a header", r"must start with an idx header of 16 bytes, but holds 6; fetch it again"),
        ("empty", r"must start with an idx header of 16 bytes, but holds 0"),
        ("count", r"as many images as labels, but .* holds 29 and train-labels.* 30; fetch both again"),
    ],
)
def test_damaged_idx_files(tmp_path, kind, message):
    write_idx(tmp_path)
    path = tmp_path / idx.FILES["train"][0]
    path.write_bytes(damaged(kind, path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        datasets.load("mnist", source="idx", data_dir=tmp_path)


def test_idx_labels_out_of_range(tmp_path):
    write_idx(tmp_path)
    (tmp_path / idx.FILES["test"][1]).write_bytes(gzip.compress(idx_bytes(np.full(12, 11, np.uint8))))
    with pytest.raises(ValueError, match=r"Labels of mnist must be below 10, but .* reaches 11"):
        datasets.load("mnist", "test", source="idx", data_dir=tmp_path)


def test_idx_folder_of_another_data_set_is_recognised(tmp_path, monkeypatch):
    write_idx(tmp_path)
    monkeypatch.setitem(idx.PUBLISHED, digest(tmp_path / idx.FILES["train"][1]), "fashion_mnist")
    with pytest.raises(ValueError, match=r"must hold mnist, but train-labels.* is the file of fashion_mnist"):
        datasets.load("mnist", source="idx", data_dir=tmp_path)
    assert len(datasets.load("fashion_mnist", source="idx", data_dir=tmp_path)) == 30
    monkeypatch.setitem(idx.PUBLISHED, digest(tmp_path / idx.FILES["train"][0]), "mnist")
    with pytest.raises(ValueError, match=r"must hold fashion_mnist, but train-images.* is the file of mnist"):
        datasets.load("fashion_mnist", source="idx", data_dir=tmp_path)


# --- digits ------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_split_once():
    from sklearn.datasets import load_digits

    train, test = datasets.load("digits"), datasets.load("digits", "test")
    bunch = load_digits()
    both = multiset(train.images, train.labels) + multiset(test.images, test.labels)
    assert sorted(both) == multiset(bunch.images.astype(np.uint8)[..., None], bunch.target)
    assert (len(train), len(test)) == (1438, 359)
    share = test.class_counts() / (train.class_counts() + test.class_counts())
    assert np.all(np.abs(share - 0.2) < 0.006)  # within one example of about 180
    assert train.images.max() == train.pixel_max == 16
    assert train.class_names == tuple("0123456789")
    assert train.source.endswith("seed 0")
    np.testing.assert_array_equal(train.labels, datasets.load("digits", source="sklearn").labels)
    for part in (train, test):
        np.testing.assert_array_equal(canonical_order(part.images, part.labels), np.arange(len(part)))


# --- not there ---------------------------------------------------------------------------------------------------


def test_missing_data_say_so_at_once_and_name_the_ways_out(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("touched the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    start = time.perf_counter()
    with pytest.raises(datasets.DatasetNotFoundError) as caught:
        datasets.load("mnist", data_dir=tmp_path)
    assert time.perf_counter() - start < 1
    assert isinstance(caught.value, FileNotFoundError)
    for part in (
        "no prepared TFDS data set in",
        "no idx files (train-images-idx3-ubyte.gz",
        "`qjaxsim data prepare mnist --download`",
        "--from DIR",
        "TFDS_DATA_DIR",
        "'digits'",
    ):
        assert part in str(caught.value)


def test_unknown_names_sources_and_splits(tmp_path):
    with pytest.raises(ValueError, match=r"`name` must be one of \['digits', 'mnist', 'fashion_mnist'\].*is 'emnist'"):
        datasets.load("emnist", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"`name` must be one of .*, but is None\."):
        datasets.load(None, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"`source` must be one of .* but is 'web'"):
        datasets.load("mnist", source="web")
    with pytest.raises(ValueError, match=r"`source` must be 'auto' or one of \['sklearn'\] for digits, but is 'tfds'"):
        datasets.load("digits", source="tfds")
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'test'\] for digits, but is 'val'"):
        datasets.load("digits", "val")
    write_idx(tmp_path)
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'test'\] for mnist, but is 'val'"):
        datasets.load("mnist", "val", source="idx", data_dir=tmp_path)


# --- real data ---------------------------------------------------------------------------------------------------


@needs_real
@pytest.mark.parametrize(("name", "split"), mostly_slow(CLASS_COUNTS, keep=[1, 3]))
def test_real_data_agree_between_tfds_and_idx(name, split):
    from_tfds = datasets.load(name, split, source="tfds")
    assert from_tfds.class_counts().tolist() == CLASS_COUNTS[name, split]
    folder = Path(REAL).parent / name
    if idx.missing_files(folder):
        pytest.skip("no idx files beside TFDS_DATA_DIR")
    from_idx = datasets.load(name, split, source="idx", data_dir=folder)
    np.testing.assert_array_equal(from_tfds.images, from_idx.images)
    np.testing.assert_array_equal(from_tfds.labels, from_idx.labels)
    assert "sha256" not in from_idx.source  # as published
    assert from_tfds.class_names == from_idx.class_names


@needs_real
def test_real_mnist_is_what_tfds_itself_decodes():
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    data = tfds.data_source("mnist", split="test", data_dir=REAL, download=False)
    records = data.__getitems__(range(1000))
    ours = datasets.load("mnist", "test")
    theirs = multiset([record["image"] for record in records], [record["label"] for record in records])
    assert set(theirs) <= set(multiset(ours.images, ours.labels))


@needs_real
def test_real_fashion_folder_is_not_taken_for_mnist():
    folder = Path(REAL).parent / "fashion_mnist"
    if idx.missing_files(folder):
        pytest.skip("no idx files beside TFDS_DATA_DIR")
    with pytest.raises(ValueError, match=r"must hold mnist, but t10k-labels.* is the file of fashion_mnist"):
        datasets.load("mnist", "test", source="idx", data_dir=folder)


# --- choosing ----------------------------------------------------------------------------------------------------


def test_dataset_checks_its_arrays():
    good = tiny()
    with pytest.raises(ValueError, match=r"`images` must be uint8 of shape \(N, H, W, C\), but is float64 of shape"):
        Dataset(good.images / 255, good.labels, good.class_names, "x", "train", "s")
    with pytest.raises(ValueError, match=r"`labels` must be int32 of shape \(20,\), one per image, but is int64"):
        Dataset(good.images, good.labels.astype(np.int64), good.class_names, "x", "train", "s")
    with pytest.raises(ValueError, match=r"`labels` must lie in 0\.\.2, one value per class name, but reaches .* to 3"):
        Dataset(good.images, good.labels, ("a", "b", "c"), "x", "train", "s")
    most = int(good.images.max())
    assert Dataset(good.images, good.labels, good.class_names, "x", "train", "s", pixel_max=most).pixel_max == most
    with pytest.raises(ValueError, match=f"`pixel_max` must be the largest .* but is {most - 1}, and one is {most}"):
        Dataset(good.images, good.labels, good.class_names, "x", "train", "s", pixel_max=most - 1)


def test_select_classes_relabels_in_the_order_given():
    whole = tiny()
    part = datasets.select_classes(whole, [3, 1])
    assert part.class_names == ("d", "b")
    assert part.class_counts().tolist() == [5, 5]
    for image, label in zip(part.images, part.labels, strict=True):
        (where,) = [i for i, other in enumerate(whole.images) if np.array_equal(other, image)]
        assert whole.labels[where] == [3, 1][label]
    assert part.source == "made up; classes [3, 1]"


def test_select_classes_refuses():
    with pytest.raises(ValueError, match=r"must name at least one class and none twice, but is \[1, 1\]"):
        datasets.select_classes(tiny(), [1, 1])
    with pytest.raises(ValueError, match=r"must name at least one class and none twice, but is \[\]"):
        datasets.select_classes(tiny(), [])
    with pytest.raises(ValueError, match=r"\[7, -1\] have none here; choose from \[0, 1, 2, 3\]"):
        datasets.select_classes(tiny(), [0, 7, -1])
    for classes in ([3.7, 1], ["3"], [True, False]):
        with pytest.raises(ValueError, match="`classes` must hold integers, but is"):
            datasets.select_classes(tiny(), classes)
    without_two = datasets.select_classes(tiny(), [0, 1, 3]).take(np.arange(2), "two")
    with pytest.raises(ValueError, match=r"\[2\] have none here; choose from \[0, 1\]"):
        datasets.select_classes(without_two, [2])


@pytest.mark.parametrize("n", [1, 10, 33, 100, 1437, 1438])
def test_subset_keeps_proportions(n):
    whole = datasets.load("digits")
    part = datasets.subset(whole, n, seed=4)
    assert len(part) == n
    assert np.all(np.abs(part.class_counts() - whole.class_counts() * n / len(whole)) < 1)
    assert set(multiset(part.images, part.labels)) <= set(multiset(whole.images, whole.labels))
    assert part.source.endswith(f"stratified subset of {n}, seed 4")


def test_subset_follows_its_seed():
    whole = datasets.load("digits")
    first, again, other = (datasets.subset(whole, 100, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("n", [0, -1, 21, 5.0])
def test_subset_refuses(n):
    with pytest.raises(ValueError, match=rf"`n` must lie in 1\.\.20, the examples of tiny \(train\), but is {n}"):
        datasets.subset(tiny(), n, seed=0)


@pytest.mark.parametrize(
    ("n", "choice"), [(60, {"n_folds": 7}), (61, {"batch_size": 8}), (10, {"batch_size": 10}), (9, {"n_folds": 9})]
)
def test_stratified_batches_use_every_example_once_and_spread_classes(n, choice):
    labels = np.random.default_rng(0).choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    batches = datasets.stratified_batches(labels, **choice, rng=2)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == choice.get("n_folds", -(-n // choice.get("batch_size", n)))
    assert max(sizes) <= choice.get("batch_size", n)
    counts = np.array([np.bincount(labels[batch], minlength=4) for batch in batches])
    assert np.all(counts.max(axis=0) - counts.min(axis=0) <= 1)


def test_stratified_batches_follow_the_generator():
    labels = np.arange(40) % 2
    one = datasets.stratified_batches(labels, 8, rng=5)
    same = datasets.stratified_batches(labels, 8, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(one, same)
    rng = np.random.default_rng(5)
    first, second = (datasets.stratified_batches(labels, 8, rng=rng) for _ in range(2))
    np.testing.assert_array_equal(first, one)
    assert not np.array_equal(first, second)


def test_stratified_batches_mix_classes_within_a_batch():
    """Neither the position in a batch nor the number of the batch tells the class."""
    labels = np.arange(1000) % 2
    batches = datasets.stratified_batches(labels, 100, rng=0)
    first_halves = np.array([labels[batch[:50]].mean() for batch in batches])
    assert np.all(np.abs(first_halves - 0.5) < 0.35)


def test_stratified_batches_refuse():
    labels = np.zeros(6, int)
    with pytest.raises(ValueError, match=r"Exactly one of `batch_size` and `n_folds` .* they are None and None"):
        datasets.stratified_batches(labels, rng=0)
    with pytest.raises(ValueError, match=r"Exactly one of .* they are 2 and 3"):
        datasets.stratified_batches(labels, 2, n_folds=3, rng=0)
    with pytest.raises(ValueError, match=r"`batch_size` must lie in 1\.\.6, the number of examples, but is 7"):
        datasets.stratified_batches(labels, 7, rng=0)
    with pytest.raises(ValueError, match=r"`n_folds` must lie in 1\.\.6, the number of examples, but is 0"):
        datasets.stratified_batches(labels, n_folds=0, rng=0)
    with pytest.raises(ValueError, match=r"`labels` must have shape \(N,\), but has shape \(2, 3\)"):
        datasets.stratified_batches(labels.reshape(2, 3), 1, rng=0)


def test_importing_datasets_imports_nothing_heavy():
    code = "import sys, qjaxsim.datasets; print({'sklearn', 'tensorflow_datasets', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_digits_seed_is_the_recorded_one():
    assert f"seed {loading.DIGITS_SEED}" in datasets.load("digits").source
