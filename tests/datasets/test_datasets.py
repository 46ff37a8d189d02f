"""Data sets: every route gives the same arrays, choices are stratified and seeded, missing or damaged data say so."""

import gzip
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qjaxsim import datasets
from qjaxsim.datasets import decoded, idx, loading, prepared, preparing
from qjaxsim.datasets.dataset import Dataset, canonical_order
from tests.cases import mostly_slow

REAL = os.environ.get("TFDS_DATA_DIR", "")
needs_real = pytest.mark.skipif(
    not (REAL and (Path(REAL) / "mnist").is_dir()),
    reason="set TFDS_DATA_DIR to a folder where TFDS has prepared mnist and fashion_mnist",
)
CLASS_COUNTS = {
    ("mnist", "train"): [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    ("mnist", "test"): [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ("fashion_mnist", "train"): [6000] * 10,
    ("fashion_mnist", "test"): [1000] * 10,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """One cache for the whole run, away from the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("QJAXSIM_CACHE", str(folder))
    return folder


def tiny(n=20, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 6, 5, 1), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int32) % n_classes
    return Dataset(images, labels, tuple("abcd"[:n_classes]), "tiny", "train", "made up")


# --- idx files ---------------------------------------------------------------------------------------------------


def idx_bytes(array, magic=None):
    magic = magic if magic is not None else 0x800 | array.ndim
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


def write_idx(folder, seed=0):
    """Four small files as published ones are laid out; returns the arrays by split."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    arrays = {}
    for n, (split, (images_file, labels_file)) in zip((30, 12), idx.FILES.items(), strict=True):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        (folder / images_file).write_bytes(gzip.compress(idx_bytes(images)))
        (folder / labels_file).write_bytes(gzip.compress(idx_bytes(labels)))
        arrays[split] = images, labels
    return arrays


def multiset(images, labels):
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


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
    published = hashlib.md5((tmp_path / idx.FILES["train"][1]).read_bytes()).hexdigest()
    monkeypatch.setitem(idx.PUBLISHED_LABELS, published, "fashion_mnist")
    with pytest.raises(ValueError, match=r"must hold mnist, but train-labels.* is the file of fashion_mnist"):
        datasets.load("mnist", source="idx", data_dir=tmp_path)
    assert len(datasets.load("fashion_mnist", source="idx", data_dir=tmp_path)) == 30


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


# --- the TFDS route ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tfds_tree(tmp_path_factory):
    """A data folder in which TFDS has prepared two small sets, and the arrays that went in."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    image_module = pytest.importorskip("PIL.Image", reason="needs the tfds extra")
    from tensorflow_datasets.core import registered

    rng = np.random.default_rng(3)
    colour = rng.integers(0, 256, (17, 9, 7, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 17)

    def builder_class(title, features, examples):
        with registered.skip_registration():

            class Builder(tfds.core.GeneratorBasedBuilder):
                VERSION = tfds.core.Version("1.2.0")
                name = title

                def _info(self):
                    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

                def _split_generators(self, dl_manager):
                    return {"train": self._generate_examples()}

                def _generate_examples(self):
                    yield from enumerate(examples)

        return Builder

    label = tfds.features.ClassLabel(names=["red", "green", "blue"])
    image = tfds.features.Image(shape=(9, 7, 3))
    pictures = [{"image": image_module.fromarray(x), "label": int(y)} for x, y in zip(colour, labels, strict=True)]
    varying = [{"image": image_module.fromarray(colour[0, :k]), "label": 0} for k in (3, 5)]
    sets = {
        "tiny_colours": ({"image": image, "label": label}, pictures),
        "tiny_varying": ({"image": tfds.features.Image(shape=(None, None, 3)), "label": label}, varying),
        "tiny_text": ({"text": tfds.features.Text()}, [{"text": "ja"}]),
    }
    root = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for title, (features, examples) in sets.items():
        builder_class(title, features, examples)(data_dir=str(root), file_format="array_record").download_and_prepare()
    return root, colour, labels


def test_tfds_set_holds_what_was_written(tfds_tree):
    root, colour, labels = tfds_tree
    dataset = datasets.load("tiny_colours", data_dir=root)
    order = canonical_order(colour, labels)
    np.testing.assert_array_equal(dataset.images, colour[order])
    np.testing.assert_array_equal(dataset.labels, labels[order])
    assert dataset.class_names == ("red", "green", "blue")
    assert dataset.source == "TFDS tiny_colours:1.2.0; canonical order"
    assert "tensorflow" not in sys.modules


def test_names_lists_prepared_image_sets(tfds_tree, tmp_path):
    root, *_ = tfds_tree
    assert datasets.names(root) == ("digits", "mnist", "fashion_mnist", "tiny_colours", "tiny_varying")
    assert datasets.names(tmp_path) == ("digits", "mnist", "fashion_mnist")


def test_data_folder_is_argument_then_variable_then_default(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert prepared.data_folder(None) == tmp_path
    assert prepared.data_folder("elsewhere") == Path("elsewhere")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert prepared.data_folder(None) == Path.home() / "tensorflow_datasets"


def test_newest_version_counts_as_a_number(tmp_path):
    for version in ("3.0.1", "3.0.10", "3.0.2", "incomplete.AB_4.0.0"):
        (tmp_path / "mnist" / version).mkdir(parents=True)
        (tmp_path / "mnist" / version / "dataset_info.json").write_text("{}")
    (tmp_path / "mnist" / "9.0.0").mkdir()  # what an interrupted preparation leaves
    assert prepared.version_folder("mnist", tmp_path) == tmp_path / "mnist" / "3.0.10"


def test_second_load_comes_from_the_cache(tfds_tree, own_cache, monkeypatch):
    root, *_ = tfds_tree
    first = datasets.load("tiny_colours", data_dir=root)
    assert len(list((own_cache / "datasets").glob("tiny_colours-1.2.0-train-*.npz"))) == 1

    def decode(*args):
        raise AssertionError("decoded again")

    monkeypatch.setattr(prepared, "read_split", decode)
    second = datasets.load("tiny_colours", data_dir=root)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert (second.class_names, second.source) == (first.class_names, first.source)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "bit flip", "other count"])
def test_damaged_cache_is_read_again(tfds_tree, tmp_path, monkeypatch, damage):
    root, *_ = tfds_tree
    monkeypatch.setenv("QJAXSIM_CACHE", str(tmp_path))
    first = datasets.load("tiny_colours", data_dir=root)
    (path,) = (tmp_path / "datasets").glob("*.npz")
    whole = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"not a zip")
    elif damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "bit flip":
        where = whole.index(first.images.tobytes()[:64]) + 10
        path.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
    else:
        decoded.write(path.stem, first.take(np.arange(5), "five"))
    again = datasets.load("tiny_colours", data_dir=root)
    np.testing.assert_array_equal(first.images, again.images)
    assert path.read_bytes() == whole


def test_unwritable_cache_is_no_error(tfds_tree, tmp_path, monkeypatch):
    root, colour, _ = tfds_tree
    blocker = tmp_path / "file"
    blocker.write_text("a file where the folder should be")
    monkeypatch.setenv("QJAXSIM_CACHE", str(blocker))
    assert len(datasets.load("tiny_colours", data_dir=root)) == len(colour)
    assert blocker.read_text() == "a file where the folder should be"


def test_tfds_sets_that_do_not_fit(tfds_tree):
    root, *_ = tfds_tree
    with pytest.raises(
        NotImplementedError, match=r"all have one size, but those in .*tiny_varying.* \(None, None, 3\)"
    ):
        datasets.load("tiny_varying", data_dir=root)
    with pytest.raises(ValueError, match=r"uint8 `image` and a `label`, but .*tiny_text.* has \{'text'"):
        datasets.load("tiny_text", data_dir=root)
    with pytest.raises(ValueError, match=r"`split` must be one of \['train'\] for tiny_colours, but is 'train\[:9\]'"):
        datasets.load("tiny_colours", "train[:9]", data_dir=root)


def test_other_file_formats_are_not_readable(tmp_path):
    version = tmp_path / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text('{"fileFormat": "tfrecord", "splits": []}')
    with pytest.raises(datasets.DatasetNotFoundError, match=r"prepared as tfrecord, which needs TensorFlow to read"):
        datasets.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("length", [0, 100, 65536])
def test_damaged_array_record(tfds_tree, tmp_path, length):
    root, *_ = tfds_tree
    shutil.copytree(root / "tiny_colours", tmp_path / "tiny_colours")
    (path,) = tmp_path.glob("*/*/*array_record*")
    path.write_bytes(path.read_bytes()[:length][: path.stat().st_size - 1])
    info = path.parent / "dataset_info.json"
    info.write_text(info.read_text() + " ")  # another description, another cache key
    with pytest.raises(ValueError, match=r"must hold whole array_record files, but .* prepare the data set again"):
        datasets.load("tiny_colours", data_dir=tmp_path)


@pytest.mark.parametrize("package", ["tensorflow_datasets", "PIL"])
def test_missing_packages_name_the_extra(tfds_tree, tmp_path, monkeypatch, package):
    root, *_ = tfds_tree
    monkeypatch.setenv("QJAXSIM_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        datasets.DatasetNotFoundError, match=rf'reading it needs {package}.*pip install -e "\.\[tfds\]" in a clone'
    ):
        datasets.load("tiny_colours", data_dir=root)
    with pytest.raises(ImportError, match=rf'Preparing mnist needs {package}.*pip install -e "\.\[tfds\]" in a clone'):
        write_idx(tmp_path / "idx")
        datasets.prepare("mnist", idx_dir=tmp_path / "idx", data_dir=tmp_path)


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
    with pytest.raises(ValueError, match=r"`source` must be one of .* but is 'web'"):
        datasets.load("mnist", source="web")
    with pytest.raises(ValueError, match=r"`source` must be 'auto' or one of \['sklearn'\] for digits, but is 'tfds'"):
        datasets.load("digits", source="tfds")
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'test'\] for digits, but is 'val'"):
        datasets.load("digits", "val")
    write_idx(tmp_path)
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'test'\] for mnist, but is 'val'"):
        datasets.load("mnist", "val", source="idx", data_dir=tmp_path)


# --- preparing ---------------------------------------------------------------------------------------------------


def test_prepare_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(
        ValueError, match=r"`name` must be one of \['mnist', 'fashion_mnist'\], but is 'digits'; it is al"
    ):
        datasets.prepare("digits")
    with pytest.raises(ValueError, match=r"but is 'cifar10'; let TFDS prepare other sets"):
        datasets.prepare("cifar10")
    with pytest.raises(ValueError, match=r"`idx_dir` must name the folder .* but is None; or pass download=True"):
        datasets.prepare("mnist", data_dir=tmp_path)
    with pytest.raises(
        datasets.DatasetNotFoundError, match=r"must hold the four idx files of mnist, but .* lacks train-"
    ):
        datasets.prepare("mnist", idx_dir=tmp_path, data_dir=tmp_path)


def test_prepare_without_a_network_gives_up_at_once(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    monkeypatch.setattr(preparing, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(preparing.urllib.request, "getproxies", dict)

    def hang(*args, **kwargs):
        time.sleep(2)
        raise OSError("no route")

    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.perf_counter()
    with pytest.raises(
        ConnectionError, match=r"needs storage\.googleapis\.com:443, but it did not answer; .*--from DIR"
    ):
        datasets.prepare("mnist", data_dir=tmp_path, download=True)
    assert time.perf_counter() - start < 1.5


def test_connection_check_goes_to_the_proxy_when_there_is_one(monkeypatch):
    asked = []

    class Socket:
        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

    def connect(address, timeout):
        asked.append(address)
        return Socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    for proxies in ({}, {"https": "http://proxy.test:3128"}, {"https": "proxy.test"}):
        monkeypatch.setattr(preparing.urllib.request, "getproxies", lambda proxies=proxies: proxies)
        preparing.require_connection("https://data.test/mnist/")
    assert asked == [("data.test", 443), ("proxy.test", 3128), ("proxy.test", 80)]


def test_prepare_checks_that_files_are_the_originals(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    write_idx(tmp_path / "idx")
    with pytest.raises(
        ValueError, match=r"must be the published originals, but those in .*idx failed the check of size"
    ):
        datasets.prepare("mnist", idx_dir=tmp_path / "idx", data_dir=tmp_path / "out")
    assert prepared.version_folder("mnist", tmp_path / "out") is None


def test_prepare_needs_the_known_release_line(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    monkeypatch.setattr(tfds, "__version__", "5.0.0")
    with pytest.raises(ImportError, match=r"needs tensorflow-datasets 4\.9, but 5\.0\.0 is installed"):
        datasets.prepare("mnist", data_dir=tmp_path, download=True)


def test_prepare_writes_what_load_reads(tmp_path, monkeypatch, capsys):
    """The local builder on small files, with the pinned checksums replaced by theirs."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    from tensorflow_datasets.core.download import checksums
    from tensorflow_datasets.image_classification import mnist

    arrays = write_idx(tmp_path / "idx", seed=5)
    infos = {
        mnist.MNIST.URL + file: checksums.compute_url_info(tfds.core.Path(tmp_path / "idx" / file))
        for pair in idx.FILES.values()
        for file in pair
    }
    named = {url: checksums.UrlInfo(info.size, info.checksum, url.split("/")[-1]) for url, info in infos.items()}
    monkeypatch.setattr(mnist.MNIST, "url_infos", named)

    version = datasets.prepare("mnist", idx_dir=tmp_path / "idx", data_dir=tmp_path / "out")
    assert version == tmp_path / "out" / "mnist" / "3.0.1"
    assert capsys.readouterr().out == ""
    for split, (images, labels) in arrays.items():
        dataset = datasets.load("mnist", split, source="tfds", data_dir=tmp_path / "out")
        reference = datasets.load("mnist", split, source="idx", data_dir=tmp_path / "idx")
        np.testing.assert_array_equal(dataset.images, reference.images)
        np.testing.assert_array_equal(dataset.labels, reference.labels)
        assert multiset(dataset.images, dataset.labels) == multiset(images, labels)
    assert datasets.prepare("mnist", data_dir=tmp_path / "out") == version
    assert "tensorflow" not in sys.modules


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


@pytest.mark.parametrize("n", [0, -1, 21])
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
