"""Writing MNIST and Fashion-MNIST as TFDS array_record without TensorFlow, from idx files or TFDS's own download."""

import contextlib
import gzip
import socket
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.checks import as_path
from qjaxsim.common.extras import MissingExtraError, missing_extra
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.datasets import idx, prepared
from qjaxsim.datasets.dataset import DatasetNotFoundError

CONNECT_SECONDS = 5.0
_BUILDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def prepare(
    name: str, *, idx_dir: str | Path | None = None, data_dir: str | Path | None = None, download: bool = False
) -> Path:
    """The folder of the prepared data set, after writing it if it was not there.

    Uses the builders of tensorflow-datasets with their pinned sizes and SHA-256 sums; only the steps that would import
    TensorFlow are replaced. Takes some ten seconds.

    Args:
        name: "mnist" or "fashion_mnist".
        idx_dir: folder of the four original idx .gz files.
        data_dir: TFDS data folder to write to; default TFDS_DATA_DIR, else ~/tensorflow_datasets.
        download: let TFDS download the files when no `idx_dir` is given. Gives up at once without a network.

    Returns:
        The version folder, `<data_dir>/<name>/<version>`.

    Raises:
        ValueError: for an unknown name, files that are not the originals, or neither `idx_dir` nor `download`.
        DatasetNotFoundError: if `idx_dir` lacks a file.
        ConnectionError: if the server of the originals cannot be reached or stops answering.
        ImportError: if the tfds extra is missing, or tensorflow-datasets is not 4.9.
    """
    if name not in _BUILDERS:
        hint = (
            "it is always there" if name == "digits" else "let TFDS prepare other sets, with file_format array_record"
        )
        raise ValueError(
            f"Argument `name` must be one of {list(_BUILDERS)}, but is {name!r}{did_you_mean(name, _BUILDERS)}; {hint}."
        )
    folder = prepared.data_folder(data_dir)
    if (done := prepared.version_folder(name, folder)) is not None:
        return done
    if idx_dir is None and not download:
        raise ValueError(
            f"Argument `idx_dir` must name the folder of the idx files of {name}, but is None; or pass download=True."
        )
    originals = None if idx_dir is None else as_path("idx_dir", idx_dir).expanduser()
    if originals is not None and (missing := idx.missing_files(originals)):
        raise DatasetNotFoundError(
            f"Argument `idx_dir` must hold the four idx files of {name}, but {originals} lacks {', '.join(missing)}."
        )
    tfds, base = _upstream(name)
    if originals is None:
        require_connection(base.URL)
    _run(tfds, base, folder, originals)
    version = prepared.version_folder(name, folder)
    assert version is not None
    return version


def _run(tfds: Any, base: Any, folder: Path, originals: Path | None) -> None:
    import requests

    builder = _local_builder(base)(data_dir=str(folder), file_format="array_record")
    config = tfds.download.DownloadConfig(
        manual_dir=None if originals is None else str(originals), try_download_gcs=False
    )
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints notes where a caller may print results
            builder.download_and_prepare(download_config=config)
    except tfds.download.download_manager.NonMatchingChecksumError as error:
        raise ValueError(
            f"Files of {base.name} must be the published originals, but those in {originals or base.URL} failed the "
            f"check of size and SHA-256: {str(error).splitlines()[0]}"
        ) from error
    except (tfds.download.DownloadError, requests.exceptions.RequestException) as error:
        raise ConnectionError(
            f"Downloading {base.name} from {base.URL} failed ({error}); try again, or prepare from the four idx .gz "
            f"files (`--from DIR`)."
        ) from error


def _upstream(name: str) -> tuple[Any, Any]:
    """The tensorflow_datasets module and the upstream builder class of `name`."""
    try:
        import PIL  # noqa: F401  the writer needs it, and would notice only after the download
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import registered
        from tensorflow_datasets.image_classification import mnist
    except ImportError as error:
        raise missing_extra(f"Preparing {name} needs {error.name or error}", "tfds", error.name) from error
    base = getattr(mnist, _BUILDERS[name], None)
    # Two names used here are not public, so another release line may have moved them.
    if not tfds.__version__.startswith("4.9.") or base is None or not hasattr(registered, "skip_registration"):
        raise MissingExtraError(
            f"Preparing {name} needs tensorflow-datasets 4.9, but {tfds.__version__} is installed: {prepared.INSTALL}, "
            f"or load the idx files directly with source='idx'."
        )
    return tfds, base


def _local_builder(base: Any) -> Any:
    """The upstream builder with the two steps replaced that need TensorFlow: unzipping and encoding."""
    from PIL import Image
    from tensorflow_datasets.core import registered

    with registered.skip_registration():  # it keeps the name of the registered builder

        class Local(base):
            name = base.name

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                # `download`, not `download_and_extract`: the latter unzips through TensorFlow.
                urls = {
                    split: [urllib.parse.urljoin(self.URL, file) for file in pair] for split, pair in idx.FILES.items()
                }
                paths = dl_manager.download(urls)
                return {split: self._generate_examples(*paths[split]) for split in idx.FILES}

            def _generate_examples(self, images: Any, labels: Any) -> Iterator[tuple[int, dict[str, Any]]]:
                y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
                x = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16).reshape(len(y), 28, 28)
                for i in range(len(y)):
                    # A Pillow image is encoded by Pillow, an array by TensorFlow.
                    yield i, {"image": Image.fromarray(x[i]), "label": int(y[i])}

    return Local


def require_connection(url: str) -> None:
    """Raise unless the server (or the proxy in front of it) answers soon; TFDS would retry for minutes."""
    scheme = urllib.parse.urlsplit(url).scheme
    first_hop = urllib.request.getproxies().get(scheme, url)
    target = urllib.parse.urlsplit(first_hop if "://" in first_hop else f"http://{first_hop}")
    address = (target.hostname or "", target.port or (443 if target.scheme == "https" else 80))
    reached = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection(address, timeout=CONNECT_SECONDS):
                reached.set()
        except OSError:
            return

    # In a thread, because looking up a name has no timeout of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not reached.is_set():
        raise ConnectionError(
            f"Downloading needs {address[0]}:{address[1]}, but it did not answer; check the network, or fetch the four "
            f"idx .gz files elsewhere and prepare from their folder (`--from DIR`)."
        )
