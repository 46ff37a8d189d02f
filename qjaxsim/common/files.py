"""Result files that are either whole or absent: written beside their place, flushed to disk, then renamed.

A process killed at any moment leaves the old file or the new one, never half of one. Links are written through; pipes,
devices and the like are never replaced. Arrays go to `.npy` and `.npz` without pickle, everything else to JSON that any
program can read (no NaN, no Infinity).
"""

import contextlib
import dataclasses
import errno
import glob
import hashlib
import io
import itertools
import json
import math
import os
import re
import secrets
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from qjaxsim.common import interrupts
from qjaxsim.common.checks import as_path

TEMPORARY_SUFFIX = ".tmp"
# How the stems of files end that hold unfinished work beside results.
SO_FAR = "_so_far"
# What NumPy, and the readers of archives and headers below it, raise of bytes that are no arrays.
UNREADABLE = (
    EOFError, TypeError, ValueError, AttributeError, SyntaxError, RuntimeError, tokenize.TokenError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_PROBE = 4096  # bytes, more than a file system keeps beside the name of a file
_TEMPORARY = re.compile(rf"\..+\.\d+-[0-9a-f]+{re.escape(TEMPORARY_SUFFIX)}")


class NotWrittenError(OSError):
    """A file that could not be written; an older one is untouched.

    Attributes:
        path: the file.
        reason: why.
    """

    def __init__(self, path: str | Path, reason: str):
        """An error that names the file and the reason."""
        super().__init__(f"{path} cannot be written: {reason}")
        self.path, self.reason = Path(path), reason


class DamagedError(ValueError):
    """A file that does not hold what it was written with.

    Attributes:
        path: the file, or the folder none of whose files can be read.
    """

    def __init__(self, path: str | Path, reason: str, way_out: str | None = None):
        """An error that names a file and the way out, which for unfinished work is to go on without it."""
        self.path, self.reason = Path(path), reason
        away = "move it away" if self.path.is_dir() else "delete it"
        super().__init__(f"{path} cannot be read ({reason}); {way_out or f'{away} to start this part again'}.")


def write_bytes(path: str | Path, content: bytes) -> Path:
    """The path, now holding exactly `content`.

    Args:
        path: file to create or replace; its folder is created when missing.
        content: the bytes.

    Raises:
        NotWrittenError: if the folder cannot be written, or `path` is a folder, pipe or device; an older file at `path`
            is then untouched.
    """
    return _replace(path, lambda file: file.write(content))


def write_text(path: str | Path, text: str) -> Path:
    """The path, now holding `text` in UTF-8. Errors as in `write_bytes`.

    Bytes of file names that are no UTF-8, lone surrogates in Python, become escapes, which JSON and Python read back.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any, *, nan_as_null: bool = False) -> Path:
    """The path, now holding `value` as indented JSON; keys keep their order.

    Args:
        path: file to create or replace.
        value: dicts with string keys, lists, tuples, strings, numbers, booleans, None, NumPy scalars and arrays
            (written as lists), paths (as strings) and dataclass instances (as dicts).
        nan_as_null: write NaN and infinities as null instead of refusing them.

    Raises:
        ValueError: if a number is NaN or infinite and `nan_as_null` is false; the message names its place.
        TypeError: if something has no JSON form; the message names its place.
    """
    return write_text(path, json.dumps(to_json(value, nan_as_null=nan_as_null), indent=2, allow_nan=False) + "\n")


def write_npy(path: str | Path, array: np.ndarray) -> Path:
    """The path, now holding one array in `.npy` form.

    Raises:
        ValueError: if the array holds Python objects (they would need pickle).
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return write_bytes(path, buffer.getvalue())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """The path, now holding named arrays, uncompressed.

    Args:
        path: file to create or replace.
        arrays: name -> array.

    Raises:
        ValueError: if an array holds Python objects (they would need pickle), or is called "file" or "allow_pickle".
    """
    for name, array in arrays.items():
        if name in ("file", "allow_pickle"):
            raise ValueError(f"Names of arrays must not be arguments of numpy.savez, but one is {name!r}; rename it.")
        # Checked here because np.savez takes `allow_pickle` only since NumPy 2.1.
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"Arrays must hold plain numbers or strings, but `{name}` holds Python objects.")
    named: Any = dict(arrays)
    # Straight to the file: arrays may fill half of the memory.
    return _replace(path, lambda file: np.savez(file, **named))


def read_npz(path: str | Path, *names: str) -> dict[str, np.ndarray]:
    """Named arrays of a file that `write_npz` wrote.

    Args:
        path: the file.
        names: the arrays to read; default all.

    Raises:
        OSError: if the file cannot be opened or read.
        DamagedError: if it is cut short, was changed, is of another kind, a folder among them, or lacks one of the
            names.
    """
    with _npz(path) as stored:
        missing = [name for name in names if name not in stored.files]
        if missing:
            raise DamagedError(path, f"it has no {missing[0]!r}")
        return {name: stored[name] for name in names or stored.files}


def names_in_npz(path: str | Path) -> list[str]:
    """Names of the arrays in a file that `write_npz` wrote. Errors as in `read_npz`."""
    with _npz(path) as stored:
        return list(stored.files)


@contextlib.contextmanager
def _npz(path: str | Path) -> Iterator[Any]:
    """The file, opened. Errors as in `read_npz`."""
    path = as_path("path", path)
    try:
        # Opened here because np.load forgets to close a damaged file that it opened itself.
        with _opened(path) as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except DamagedError:
        raise
    except (*UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of a place before the file's beginning
            raise
        # NumPy's own words would advise to load it unsafely.
        raise DamagedError(path, "its arrays cannot be read") from error


def read_npy(path: str | Path) -> np.ndarray:
    """The array of a file that `write_npy` wrote. Errors as in `read_npz`."""
    path = as_path("path", path)
    try:
        with _opened(path) as file:
            array = np.load(file, allow_pickle=False)
    except DamagedError:
        raise
    except UNREADABLE as error:
        raise DamagedError(path, "its array cannot be read") from error
    if not isinstance(array, np.ndarray):
        raise DamagedError(path, "it does not hold one array")
    return array


def why_unreadable(error: BaseException) -> str:
    """What NumPy says of a file that it cannot read, in other words where it would advise to load it unsafely.

    It takes whatever is no file of arrays for a pickle.
    """
    text = str(error) or type(error).__name__
    if "pickle" not in text:
        return text
    return (
        "it holds Python objects; save numbers or text" if "Object arrays" in text else "it holds no arrays of NumPy's"
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except IsADirectoryError as error:
        raise DamagedError(path, "it is a folder") from error


def check_writable(path: str | Path) -> None:
    """Nothing, if a file can be written at `path`: the name is free or a regular file's, and its folder takes files.

    Folders that do not exist yet are not created.

    Raises:
        NotWrittenError: if not, with the reason.
    """
    target = _target(Path(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise NotWrittenError(path, "it is write-protected")
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    try:
        temporary = _temporary(folder / target.name)
        with interrupts.cleaned_up(lambda: temporary.unlink(missing_ok=True)):
            try:
                temporary.write_bytes(bytes(_PROBE))
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NotWrittenError(path, f"folder {folder}: {error.strerror or error}") from error


def remove_temporaries(folder: str | Path, name: str | None = None) -> None:
    """Delete what writers killed before their rename left in `folder` (not in folders below it).

    Args:
        folder: where to look.
        name: the file that they were to write. Default: any.
    """
    beginning = "" if name is None else f"{glob.escape(name)}."
    for leftover in Path(folder).glob(f".{beginning}*{TEMPORARY_SUFFIX}"):
        if _TEMPORARY.fullmatch(leftover.name):  # others are not ours
            leftover.unlink(missing_ok=True)


def put_aside(path: Path) -> Path:
    """The new name of a damaged file or folder, beside the old one, which is free then."""
    names = (path.with_name(f"{path.name}.damaged{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    os.replace(path, aside)
    return aside


def to_json(value: Any, *, nan_as_null: bool = False, place: str = "value") -> Any:
    """The value in plain JSON types. Arguments and errors as in `write_json`; `place` names the value in errors.

    >>> to_json({"loss": np.float32(0.5), "shape": (2, 3)})
    {'loss': 0.5, 'shape': [2, 3]}
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, Path):
        value = str(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}

    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _finite(value, nan_as_null, place)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"Keys in JSON must be strings, but {place} has the key {key!r}.")
        return {key: to_json(item, nan_as_null=nan_as_null, place=f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item, nan_as_null=nan_as_null, place=f"{place}[{i}]") for i, item in enumerate(value)]
    raise TypeError(
        f"JSON holds numbers, strings, lists and dicts, but {place} is a {type(value).__name__}; convert it first."
    )


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for `json.loads(text, object_pairs_hook=named_once)`: Python drops all but the last of a name.

    Raises:
        ValueError: for a name that comes twice.

    >>> json.loads('{"a": 1, "b": 2}', object_pairs_hook=named_once)
    {'a': 1, 'b': 2}
    """
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"it has {twice[0]!r} twice")
    return dict(pairs)


def config_hash(config: Any) -> str:
    """Sixteen hexadecimal digits that change with the configuration, not with the order of its keys.

    Args:
        config: anything `write_json` takes.

    Raises:
        ValueError, TypeError: as in `write_json`.

    >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(to_json(config, place="config"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]


def _finite(number: float, nan_as_null: bool, place: str) -> float | None:
    if math.isfinite(number):
        return number
    if nan_as_null:
        return None
    raise ValueError(
        f"Numbers in JSON must be finite, but {place} is {number}; repair it or write it as null with nan_as_null=True."
    )


def _replace(path: str | Path, write: Callable[[BinaryIO], Any]) -> Path:
    """The path, now holding what `write` writes. Errors as in `write_bytes`."""
    path = as_path("path", path)
    target = _target(path)
    # Same folder, hence same file system: only then is the rename atomic.
    temporary = _temporary(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with interrupts.cleaned_up(lambda: temporary.unlink(missing_ok=True)):
            try:
                with interrupts.FILES:
                    file = temporary.open("xb")
                with file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                with interrupts.FILES:
                    os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise NotWrittenError(path, error.strerror or str(error)) from error
    _sync_folder(target.parent)
    return path


def _target(path: Path) -> Path:
    """What a link leads to, if a file can stand there."""
    target = Path(os.path.realpath(path))
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise NotWrittenError(path, error.strerror or str(error)) from error
    if stat.S_ISDIR(mode):
        raise NotWrittenError(path, "it is a folder")
    if not stat.S_ISREG(mode):
        raise NotWrittenError(path, "it is no regular file but a pipe, a device or the like")
    return target


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
