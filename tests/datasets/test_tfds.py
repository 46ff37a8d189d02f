"""Data sets of TFDS: what was prepared is read without TensorFlow, kept, checked and prepared anew."""

import re
import shutil
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qjaxsim import datasets
from qjaxsim.datasets import decoded, idx, prepared, preparing
from qjaxsim.datasets.dataset import canonical_order
from tests.dataset_files import multiset, write_idx

# --- the TFDS route ----------------------------------------------------------------------------------------------


def prepare_own(root, title, features, examples):
    """What TFDS makes of a person's own set, given features by name and examples with them."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

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

    tfds.disable_progress_bar()
    Builder(data_dir=str(root), file_format="array_record").download_and_prepare()


@pytest.fixture(scope="module")
def tfds_tree(tmp_path_factory):
    """A data folder in which TFDS has prepared some small sets, and the arrays that went in."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    image_module = pytest.importorskip("PIL.Image", reason="needs the tfds extra")
    rng = np.random.default_rng(3)
    colour = rng.integers(0, 256, (17, 9, 7, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, 17)
    label = tfds.features.ClassLabel(names=["red", "green", "blue"])
    image = tfds.features.Image(shape=(9, 7, 3))
    pictures = [{"image": image_module.fromarray(x), "label": int(y)} for x, y in zip(colour, labels, strict=True)]
    numbers = [{"image": x, "label": 0} for x in colour]
    varying = [{"image": image_module.fromarray(colour[0, :k]), "label": 0} for k in (3, 5)]
    sets = {
        "tiny_colours": ({"image": image, "label": label}, pictures),
        "tiny_varying": ({"image": tfds.features.Image(shape=(None, None, 3)), "label": label}, varying),
        "tiny_numbers": ({"image": tfds.features.Tensor(shape=(9, 7, 3), dtype=np.uint8), "label": label}, numbers),
        "tiny_values": ({"image": image, "label": tfds.features.Scalar(np.int64)}, pictures),
        "tiny_text": ({"text": tfds.features.Text()}, [{"text": "ja"}]),
    }
    root = tmp_path_factory.mktemp("tfds")
    for title, (features, examples) in sets.items():
        prepare_own(root, title, features, examples)
    return root, colour, labels


def test_tfds_set_holds_what_was_written(tfds_tree):
    root, colour, labels = tfds_tree
    dataset = datasets.load("tiny_colours", data_dir=root)
    order = canonical_order(colour, labels)
    np.testing.assert_array_equal(dataset.images, colour[order])
    np.testing.assert_array_equal(dataset.labels, labels[order])
    assert dataset.class_names == ("red", "green", "blue")
    assert re.fullmatch(r"TFDS tiny_colours:1\.2\.0, sha256 [0-9a-f]{16}; canonical order", dataset.source)
    assert "tensorflow" not in sys.modules


def test_names_lists_prepared_image_sets(tfds_tree, tmp_path):
    root, *_ = tfds_tree
    assert datasets.names(root) == (
        *("digits", "mnist", "fashion_mnist", "tiny_colours", "tiny_numbers"),
        *("tiny_values", "tiny_varying"),
    )
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


@pytest.mark.parametrize("mended", ["labels", "names"])
def test_set_prepared_again_under_its_version_is_decoded_again(tmp_path, mended):
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the tfds extra")
    image_module = pytest.importorskip("PIL.Image", reason="needs the tfds extra")
    images = np.random.default_rng(5).integers(0, 256, (12, 4, 4, 1), dtype=np.uint8)
    labels, names = np.arange(12) % 3, ("low", "mid", "top")
    sources = set()
    for now in (labels, (labels + 1) % 3) if mended == "labels" else (labels, labels):
        label = tfds.features.ClassLabel(names=names)
        examples = [
            {"image": image_module.fromarray(x[..., 0]), "label": int(y)} for x, y in zip(images, now, strict=True)
        ]
        shutil.rmtree(tmp_path / "own", ignore_errors=True)
        prepare_own(tmp_path, "own", {"image": tfds.features.Image(shape=(4, 4, 1)), "label": label}, examples)
        found = datasets.load("own", data_dir=tmp_path)
        assert multiset(found.images, found.labels) == multiset(images, now)
        assert found.class_names == names
        sources.add(found.source)
        names = names if mended == "labels" else names[::-1]
    assert len(sources) == 2  # which a study records, and does not go on with others


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
    with pytest.raises(ValueError, match=r"`image` as TFDS's feature Image, but .*tiny_numbers.* has it as Tensor; "):
        datasets.load("tiny_numbers", data_dir=root)
    with pytest.raises(ValueError, match=r"`label` as TFDS's feature ClassLabel, but .*tiny_values.* as Scalar; "):
        datasets.load("tiny_values", data_dir=root)
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_info.json", b""),
        ("dataset_info.json", b'{"fileFormat": "array_record", "spl'),
        ("dataset_info.json", b"[]"),
        ("dataset_info.json", b'{"fileFormat": "array_record"}'),
        ("dataset_info.json", b'{"fileFormat": "array_record", "splits": [{"name": "train", "shardLengths": ["x"]}]}'),
        ("dataset_info.json", b"\xff\xfe"),
        ("features.json", b""),
        ("features.json", b"[]"),
        ("features.json", b'{"pythonClassName": "tensorflow_datasets.core'),
        ("features.json", None),
    ],
)
def test_damaged_descriptions_are_told_with_the_way_out(tfds_tree, tmp_path, monkeypatch, name, content):
    monkeypatch.setenv("QJAXSIM_CACHE", str(tmp_path / "cache"))
    root, *_ = tfds_tree
    shutil.copytree(root / "tiny_colours", tmp_path / "tiny_colours")
    (path,) = tmp_path.glob(f"*/*/{name}")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    said = f"1.2.0 must hold a whole {name}, but it cannot be read .*; delete the folder and prepare the data set again"
    with pytest.raises(ValueError, match=said):
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
