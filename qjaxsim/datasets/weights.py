"""One weight matrix from a file: .npy, an array of .npz, a tensor of safetensors (Hugging Face style), without pickle.

Layers are written in two ways: torch's Linear keeps (out, in), Flax's Dense and GPT-2's Conv1D keep (in, out). Which
one a file has is asked for or inferred, said, and never guessed (`qjaxsim.datasets.weights_orientation`).
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from qjaxsim.common.checks import as_integer, as_path, require_one_of, shown
from qjaxsim.common.extras import require
from qjaxsim.common.files import UNREADABLE, why_unreadable
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.datasets.weights_orientation import ORIENTATIONS, orientation_of, require_stack

INDEX_ENDING = ".safetensors.index.json"
_LISTED = 12
# How a file begins that Git LFS has not fetched yet.
_POINTER = b"version https://git-lfs"
# How safetensors calls the types that NumPy lacks, and ml_dtypes, which comes with JAX, has.
_FP8 = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}


@dataclass(frozen=True, eq=False)
class LoadedMatrix:
    """A weight as (out, in).

    Attributes:
        matrix: shape (out, in), float32, or float64 if the file has doubles.
        name: the array's name in the file, with its place in a stack; the file's name for .npy.
        orientation: "out-in" or "in-out", as the file has it.
        reason: where the orientation is known from.
    """

    matrix: np.ndarray
    name: str
    orientation: str
    reason: str


@dataclass(frozen=True)
class _Arrays:
    """Shapes of a file's arrays, and how to read one."""

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]


def load_matrix(
    path: str | Path, *, key: str | None = None, index: int | None = None, orientation: str = "infer"
) -> LoadedMatrix:
    """One matrix of a file.

    Args:
        path: .npy, .npz, .safetensors, or a .safetensors.index.json beside the files that it names.
        key: name of the array; may be left out where there is only one of two or three axes.
        index: which layer of a stack (layers, ..., ...); needed for arrays with three axes.
        orientation: "out-in", "in-out", or "infer": from the length of a bias of the same layer if the matrix is not
            square, else from a name that stands for one way alone ("kernel" of Flax is (in, out), "weight" of torch
            (out, in)). GPT-2's names stand for both, and take shapes to decide.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read, has no such array, the array is no matrix of finite real floats, or its
            orientation cannot be inferred. Each names the way out.
        qjaxsim.common.extras.MissingExtraError: for safetensors without the package.
    """
    require_one_of("orientation", orientation, ORIENTATIONS)
    path = as_path("path", path)
    if not path.is_file():
        there = "that is a folder" if path.is_dir() else "there is none"
        raise FileNotFoundError(f"Argument `path` must be a file of weights, but {there} at {path}.")
    with ExitStack() as opened:
        arrays = _open(path, opened)
        name = _chosen(arrays.shapes, key, path)
        require_stack(name, arrays.shapes)
        matrix = _floats(_layer(arrays.read(name), index, name), name)
        found, reason = orientation_of(name, arrays.shapes, orientation, path.name)
    full = name if index is None else f"{name}[{index}]"
    return LoadedMatrix(matrix if found == "out-in" else matrix.T.copy(), full, found, reason)


def load_arrays(path: Path, names: Iterable[str], prefix: str = "") -> dict[str, np.ndarray]:
    """Several arrays of a file of weights, as finite floats, as the file has them: name -> array.

    Args:
        path: as `load_matrix` takes it.
        names: of the arrays.
        prefix: that all names in the file may have before these.

    Raises:
        ValueError: naming an array that is missing, or holds something else.
    """
    with ExitStack() as opened:
        arrays = _open(path, opened)
        found = {}
        for name in names:
            there = next((one for one in (name, prefix + name) if one in arrays.shapes), None)
            if there is None:
                close = did_you_mean(name, arrays.shapes)
                raise ValueError(f"File {path.name} must hold the array {name}, but does not{close}.")
            found[name] = _floats(arrays.read(there), there)
    return found


def files_of(path: Path) -> list[Path]:
    """The file of weights, and behind an index those that it names, in the order of their names.

    Raises:
        FileNotFoundError: if one of these is not there.
        ValueError: if an index cannot be read.
    """
    if not path.name.endswith(INDEX_ENDING):
        return [path]
    shards = [path.parent / shard for shard in sorted(set(_weight_map(path).values()))]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise FileNotFoundError(f"Argument `path` names the file {missing[0]}, which is not beside {path.name}.")
    return [path, *shards]


# --- files -----------------------------------------------------------------------------------------------------------


def _open(path: Path, opened: ExitStack) -> _Arrays:
    if path.name.endswith(INDEX_ENDING):
        return _sharded(path, opened)
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
    if path.suffix not in readers:
        raise ValueError(
            f"Argument `path` must end in {', '.join(readers)} or {INDEX_ENDING}, but is {path.name}; files "
            f"of torch (.bin, .pt) hold pickled objects, and those of others (.onnx, .h5, .gguf) are not read: save "
            f"the matrix by numpy.save, or all as safetensors."
        )
    return readers[path.suffix](path, opened)


def _npy(path: Path, opened: ExitStack) -> _Arrays:
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except (*UNREADABLE, OSError) as error:
        raise _unreadable(path, why_unreadable(error)) from error
    return _Arrays({path.name: array.shape}, lambda _: array)


def _npz(path: Path, opened: ExitStack) -> _Arrays:
    try:
        stored = np.load(opened.enter_context(path.open("rb")), allow_pickle=False)
    except (*UNREADABLE, OSError) as error:
        raise _unreadable(path, why_unreadable(error)) from error
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise _unreadable(path, "it is a single array; name it .npy")
    opened.enter_context(stored)

    def read(name: str) -> np.ndarray:
        try:
            array: np.ndarray = stored[name]
        except (*UNREADABLE, OSError) as error:
            raise _unreadable(path, f"{name}: {why_unreadable(error)}") from error
        return array

    shapes = {}
    assert stored.zip is not None
    members = [member for member in stored.zip.namelist() if member.endswith(".npy")]
    if not members:
        raise _unreadable(path, "it is an archive without arrays of NumPy's; save a file of torch as safetensors")
    for member in members:
        # Headers alone: a file of weights may be large.
        try:
            with stored.zip.open(member) as opened_member:
                shapes[member.removesuffix(".npy")] = _header_shape(opened_member)
        except (*UNREADABLE, OSError) as error:
            raise _unreadable(path, f"{member}: {error}") from error
    return _Arrays(shapes, read)


def _header_shape(member: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(member)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return tuple(reader(member)[0])


def _safetensors(path: Path, opened: ExitStack) -> _Arrays:
    require("safetensors", "Reading safetensors needs the package safetensors", "weights")
    from safetensors import SafetensorError, safe_open

    try:
        stored = opened.enter_context(safe_open(path, framework="np"))
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    names = list(stored.keys())
    shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in names}

    def read(name: str) -> np.ndarray:
        kind = stored.get_slice(name).get_dtype()
        if kind in _FP8:
            return _fp8(path, name, shapes, _FP8[kind])
        try:
            array: np.ndarray = stored.get_tensor(name)
        except (AttributeError, TypeError, SafetensorError) as error:
            raise ValueError(
                f"Array {name} must hold floats of 8 bits or more, but holds {kind}, which NumPy has not; convert it "
                f"to float32 first (quantised weights need their scales)."
            ) from error
        return array

    return _Arrays(shapes, read)


def _fp8(path: Path, name: str, shapes: Mapping[str, tuple[int, ...]], dtype: Any) -> np.ndarray:
    """An array of 8-bit floats from its bytes, unless it is only half of the numbers: their scales are the other."""
    scales = [other for other in shapes if other.startswith((f"{name}_scale", f"{name.removesuffix('weight')}scale"))]
    if scales:
        raise ValueError(
            f"Array {name} must hold the weights themselves, but holds {dtype.__name__} to be multiplied by "
            f"{scales[0]}; multiply and save it as float32 first."
        )
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start, end = json.loads(file.read(length))[name]["data_offsets"]
        file.seek(8 + length + start)
        return np.frombuffer(file.read(end - start), dtype).reshape(shapes[name])


def _weight_map(path: Path) -> dict[str, str]:
    """Of an index: array -> file that holds it."""
    try:
        where = dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, f"no weight_map ({error})") from error
    if strange := [file for file in where.values() if not isinstance(file, str)]:
        raise _unreadable(path, f"its weight_map must name files, but has {shown(strange[0])}")
    return where


def _sharded(path: Path, opened: ExitStack) -> _Arrays:
    where = _weight_map(path)
    shapes: dict[str, tuple[int, ...]] = {}
    readers: dict[str, Callable[[str], np.ndarray]] = {}
    for shard in files_of(path)[1:]:
        part = _safetensors(shard, opened)
        # Of arrays that several files hold, the one that the index says.
        own = [name for name, file in where.items() if path.parent / file == shard]
        if missing := [name for name in own if name not in part.shapes]:
            raise _unreadable(path, f"it says that {shard.name} holds {missing[0]}, which is not there")
        shapes |= {name: part.shapes[name] for name in own}
        readers |= dict.fromkeys(own, part.read)
    return _Arrays(shapes, lambda name: readers[name](name))


def _unreadable(path: Path, reason: Any) -> ValueError:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            reason = "it is a pointer of Git LFS, without the numbers; fetch them by `git lfs pull`"
    return ValueError(
        f"Argument `path` must be a readable file of arrays without pickle, but {path.name} is not: {reason}."
    )


# --- arrays ----------------------------------------------------------------------------------------------------------


def _chosen(shapes: Mapping[str, tuple[int, ...]], key: str | None, path: Path) -> str:
    if key is None:
        candidates = [name for name, shape in shapes.items() if len(shape) in (2, 3)]
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            raise ValueError(
                f"Argument `path` must hold a matrix, or a stack of them, but {path.name} has none "
                f"({_listed(shapes, shapes)})."
            )
        raise ValueError(
            f"Argument `key` must name one of the arrays of {path.name} ({_listed(shapes, candidates or shapes)}), but "
            f"is not given."
        )
    if key not in shapes:
        similar = [name for name in shapes if key in name]
        raise ValueError(
            f"Argument `key` must name one of the arrays of {path.name} ({_listed(shapes, similar or shapes)}), but is "
            f"{key!r}{did_you_mean(key, shapes)}."
        )
    return key


def _listed(shapes: Mapping[str, tuple[int, ...]], names: Any) -> str:
    listed = [f"{name} {'x'.join(map(str, shapes[name])) or 'one number'}" for name in list(names)[:_LISTED]]
    more = len(list(names)) - len(listed)
    return (", ".join(listed) or "there are none") + (f" and {more} more" if more else "")


def _layer(array: np.ndarray, index: int | None, name: str) -> np.ndarray:
    """The matrix, out of a stack if it is one."""
    if array.ndim == 2:
        if index is not None:
            raise ValueError(f"Argument `index` chooses a layer of a stack, but {name} is one matrix, {array.shape}.")
        return array
    if array.ndim != 3:
        raise ValueError(
            f"Argument `key` must name a matrix or a stack of matrices, but {name} has shape {array.shape}; reshape it "
            f"first."
        )
    place = as_integer(index)
    if place is None or not 0 <= place < len(array):
        raise ValueError(
            f"Argument `index` must choose one of the {len(array)} layers stacked in {name} (0..{len(array) - 1}), but "
            f"is {shown(index)}."
        )
    layer: np.ndarray = array[place]
    return layer


def _floats(matrix: np.ndarray, name: str) -> np.ndarray:
    from jax import numpy as jnp

    if matrix.dtype.kind == "V" and matrix.dtype.names is None and not jnp.issubdtype(matrix.dtype, jnp.floating):
        raise ValueError(
            f"Array {name} must hold floats, but holds raw {matrix.dtype.itemsize}-byte records (NumPy's files lose "
            f"the types of bfloat16 and fp8); save it as float32 or as safetensors."
        )
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        raise ValueError(
            f"Array {name} must hold real floats, but holds {matrix.dtype}; convert it first (quantised weights need "
            f"their scales)."
        )
    if 0 in matrix.shape:
        raise ValueError(f"Array {name} must not be empty, but has shape {matrix.shape}.")
    wide: np.ndarray = matrix.astype(np.float64 if matrix.dtype.itemsize >= 8 else np.float32)
    if not np.isfinite(wide).all():
        raise ValueError(
            f"Array {name} must hold finite numbers, but {np.count_nonzero(~np.isfinite(wide))} of {wide.size} are NaN "
            f"or infinite."
        )
    if float(np.abs(wide).max()) > float(jnp.finfo(wide.dtype).max) ** 0.5 / math.sqrt(wide.size):
        raise ValueError(f"Array {name} must have a norm whose square {wide.dtype} can hold, but has not; rescale it.")
    return wide
