"""Problems from files: dimod's own formats, arrays, and text of several kinds."""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dimod
import numpy as np
from dimod.serialization.fileview import read_header
from scipy import sparse

from qjaxsim.common.checks import as_path
from qjaxsim.common.files import why_unreadable
from qjaxsim.common.words import counted
from qjaxsim_dimod import text_files
from qjaxsim_dimod.numbers import real_number
from qjaxsim_dimod.problems import unconverted, way_out
from qjaxsim_dimod.qubo import BINARY, Qubo
from qjaxsim_dimod.text_files import agreed

FORMATS = (
    ".bqm (dimod's binary), .json (dimod's serializable), .npz or .npy (arrays), .coo, .txt, .qubo (coordinates or "
    "qbsolv), .rud, .gset, .mc (Max-Cut), .bqp (OR-Library), .lp, .mtx (Matrix Market)"
)
# What parsers raise where a file stops in the middle.
_CUT_OFF = (json.JSONDecodeError, zipfile.BadZipFile, zlib.error, EOFError)


def read_problem(
    path: str | Path,
    vartype: str | None = None,
    *,
    format: str | None = None,
    maximise: bool = False,
    number: int | None = None,
) -> Qubo:
    """The problem in a file; its ending tells the format, or its first lines where the ending leaves it open.

    - `.bqm`: what `BinaryQuadraticModel.to_file` writes.
    - `.json`: `to_serializable` of a BinaryQuadraticModel.
    - `.npz`: arrays "matrix" (n, n), or "linear" (n,) and "quadratic" (n, n); "offset" and "vartype" if any; no
      others. Or a sparse matrix of `scipy.sparse.save_npz`. `.npy`: the matrix alone. Read as `Qubo.from_matrix` does.
    - `.mtx`: a Matrix Market matrix, read likewise: a symmetric one counts every pair twice.
    - `.coo`, `.txt`, `.qubo`: lines "i j bias" with i = j for linear terms (dimod's COO, exponents allowed); lines
      "# vartype=SPIN" and "# offset=1.5" say so, other lines starting with # are remarks. Lines for one pair add up.
    - `.qubo` that begins with "p qubo": D-Wave's qbsolv.
    - `.rud`, `.gset`, `.mc`, or "n m" as first line: a graph for Max-Cut (Gset, Biq Mac). The energy over spins is
      minus the weight of the cut.
    - `.bqp`, or a number alone as first line: OR-Library. The energy is minus its objective, which is maximised.
    - `.lp`: an objective over binary variables without constraints and bounds.

    Args:
        path: the file.
        vartype: "BINARY" or "SPIN" for files that do not say; default "BINARY".
        format: "bqm", "json", "npz", "npy", "coo", "qbsolv", "gset", "mc", "bqp", "lp" or "mtx", whatever the ending.
        maximise: the file's objective is to be maximised, so that energies are minus it (qbsolv's switch -m).
        number: which problem of an OR-Library file with several, from 1.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for a folder, an unknown ending, damaged content, a `vartype` that the file contradicts, a switch
            that does not go with the format, or what `Qubo` refuses.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "problem.npy", [[-1.0, 3.0], [0.0, -1.0]])
    ...     qubo = read_problem(Path(folder) / "problem.npy")
    >>> qubo.energies([[1, 0], [1, 1]])
    array([-1.,  1.])
    """
    path = as_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"File {path} does not exist.")
    if path.is_dir():
        raise ValueError(f"File {path} is a folder; name the file in it that holds the problem.")
    if format is not None and format not in _READERS:
        raise ValueError(f"Argument `format` must be one of {', '.join(_READERS)}, but is {format!r}.")
    content = path.read_bytes()
    for magic, model in _OTHER_MODELS.items():
        if content.startswith(magic):
            raise ValueError(
                f"File {path} holds a dimod.{model.__name__}, read by its `from_file`; {way_out(model())}."
            )
    kind = format or _kind(path, content)
    if number is not None and kind != "bqp":
        raise ValueError(f"Argument `number` must be left out for {path}, which is {kind}, not OR-Library's bqp.")
    if maximise and kind in ("gset", "mc", "bqp"):
        raise ValueError(f"Argument `maximise` must be False for {path}: {kind} is for maximisation, and read as such.")
    if maximise and kind == "lp":
        raise ValueError(f"Argument `maximise` must be False for {path}: an LP file says itself what it is for.")
    try:
        problem = _READERS[kind](content, vartype) if number is None else text_files.or_library(
            _text(content), vartype, number
        )  # fmt: skip
    except MemoryError as error:
        raise ValueError(f"File {path} is of a size that does not fit in memory, or damaged.") from error
    except Exception as error:  # of this package, and whatever parsers say of damaged bytes
        text = " ".join(why_unreadable(error).split())
        if isinstance(error, _CUT_OFF):
            text = f"the file ends early or is damaged ({text})."
        raise ValueError(f"File {path} cannot be read as {kind}: {text}") from error
    if not maximise:
        return problem
    return Qubo(-problem.linear, -problem.pairs, -problem.offset, problem.labels, problem.vartype)


def _kind(path: Path, content: bytes) -> str:
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    guessed = text_files.kind_of(content.decode("utf-8", "replace").removeprefix("\ufeff"))
    # Gset's and Biq Mac's files have no ending, or what looks like one: "G1", "pm1s_80.0".
    if suffix in _OPEN or (guessed in ("gset", "bqp", "qbsolv") and (not suffix or suffix[1:].isdigit())):
        return guessed
    raise ValueError(f"File {path} must end in one of {FORMATS}; or name its format (`format`).")


def _text(content: bytes) -> str:
    if content.startswith(b"\x1f\x8b"):
        raise ValueError("it is packed by gzip; unpack it first.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is no text in UTF-8; save it as that, which editors of Windows may not.") from error


def _read_bqm(content: bytes, vartype: str | None) -> Qubo:
    if not content.startswith(b"DIMODBQM"):
        raise ValueError("the file does not begin as dimod's binary format does.")
    try:
        _require_indices(content)
        bqm = dimod.BinaryQuadraticModel.from_file(io.BytesIO(content))
    except Exception as error:
        raise ValueError(f"the file ends early or is damaged ({type(error).__name__}).") from error
    agreed(bqm.vartype.name, vartype)
    return Qubo.from_bqm(bqm)


def _require_indices(content: bytes) -> None:
    """Refuse what dimod's reader would take for addresses: indices beyond the file's variables."""
    file = io.BytesIO(content)
    header = read_header(file, b"DIMODBQM").data
    n, pairs = header["shape"]
    bias, index, place = (np.dtype(header[name]) for name in ("dtype", "itype", "ntype"))
    sound = bias.kind == "f" and index.kind == place.kind == "i" and 0 <= n <= len(content) >= pairs >= 0
    if not sound:
        raise ValueError("sizes")
    file.seek(bias.itemsize, io.SEEK_CUR)
    linear = np.dtype([("start", place), ("bias", bias)])
    neighbours = np.dtype([("variable", index), ("bias", bias)])
    starts = np.frombuffer(file.read(n * linear.itemsize), linear)["start"].astype(int)
    variables = np.frombuffer(file.read(2 * pairs * neighbours.itemsize), neighbours)["variable"].astype(int)
    edges = np.append(starts, 2 * pairs)
    if len(starts) != n or len(variables) != 2 * pairs or edges[0] != 0 or (np.diff(edges) < 0).any():
        raise ValueError("neighbourhoods")
    rows = np.repeat(np.arange(n), np.diff(edges))
    if not ((variables >= 0) & (variables < n) & (variables != rows)).all():
        raise ValueError("indices")


def _read_json(content: bytes, vartype: str | None) -> Qubo:
    stored = json.loads(_text(content))
    if not isinstance(stored, dict) or stored.get("type") != "BinaryQuadraticModel":
        raise ValueError("the file must hold to_serializable() of a BinaryQuadraticModel.")
    stored["variable_labels"] = [_label(label) for label in stored.get("variable_labels", ())]
    try:
        bqm = dimod.BinaryQuadraticModel.from_serializable(stored)
    except KeyError as error:
        raise ValueError(
            f"the file lacks {error}, which to_serializable() of a BinaryQuadraticModel writes."
        ) from error
    agreed(bqm.vartype.name, vartype)
    return Qubo.from_bqm(bqm)


def _label(stored: Any) -> Any:
    """A variable's label as it was: JSON has lists in place of tuples, and dimod mends the outermost alone."""
    return tuple(map(_label, stored)) if isinstance(stored, list) else stored


def _read_arrays(content: bytes, vartype: str | None) -> Qubo:
    stored: Any = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(stored, np.ndarray):
        return Qubo.from_matrix(stored, vartype=vartype or BINARY)
    with stored:
        if {"format", "shape", "data"} <= set(stored.files):
            return Qubo.from_matrix(sparse.load_npz(io.BytesIO(content)), vartype=vartype or BINARY)
        arrays = {name: stored[name] for name in stored.files}
    names = [name for name in ("matrix", "quadratic") if name in arrays]
    if len(names) != 1:
        raise ValueError(f"the file must hold either `matrix` or `quadratic`, but holds {sorted(arrays)}.")
    if unknown := sorted(arrays.keys() - {*names, "linear", "offset", "vartype"}):
        raise ValueError(
            f"the file may hold `linear`, `offset` and `vartype` beside `{names[0]}`, but holds {unknown}; leave that "
            "out, or call it as it is meant."
        )
    kind = agreed(str(arrays["vartype"]) if "vartype" in arrays else None, vartype)
    offset = real_number("offset", arrays.get("offset", 0.0))
    return Qubo.from_matrix(arrays[names[0]], linear=arrays.get("linear"), offset=offset, vartype=kind)


def _read_lp(content: bytes, vartype: str | None) -> Qubo:
    agreed(BINARY, vartype)
    # dimod's parser leaves out the whole objective where these words are spelt otherwise.
    text = re.sub(r"\b(min|max)imise\b", r"\1imize", _text(content), count=1, flags=re.IGNORECASE)
    text_files.require_signs(text)
    model = _lp_model(text)
    if real := [v for v in model.variables if model.vartype(v) is dimod.REAL]:
        raise ValueError(
            f"its variable {real[0]!r} is real, for which there are no bits; name it in the section Binary, or in "
            "General, whose integers dimod.cqm_to_bqm(dimod.lp.load(file)) makes bits."
        )
    if said := unconverted(model):
        raise ValueError(f"{said}.")
    if model.constraints:
        raise ValueError(
            f"it has {counted(len(model.constraints), 'constraint')}; make each a penalty with "
            "dimod.cqm_to_bqm(dimod.lp.load(file)) and give that."
        )
    if other := [v for v in model.variables if model.vartype(v) is not dimod.BINARY]:
        raise ValueError(
            f"all variables must be binary, but {other[0]!r} is {model.vartype(other[0]).name}; make it bits with "
            "dimod.cqm_to_bqm(dimod.lp.load(file)) and give that."
        )
    for v, low, high in _lp_bounds(text):
        if low > 0 or high < 1:
            raise ValueError(
                f"its bounds must leave a binary variable both values, but those of {v!r} are {low:g} and {high:g}; "
                "put the value of a fixed one into the objective instead."
            )
    objective = model.objective
    return Qubo.from_bqm(
        dimod.BinaryQuadraticModel(
            {**dict.fromkeys(model.variables, 0.0), **objective.linear},
            dict(objective.quadratic),
            objective.offset,
            BINARY,
        )
    )


def _lp_model(text: str) -> Any:
    try:
        return dimod.lp.loads(text)
    except ValueError as error:
        if "illegal file format" not in str(error):
            raise
        raise ValueError(
            "dimod's parser of LP files refuses it (quadratic terms stand in `[ ... ] / 2` or `+ [ ... ] / 2`, their "
            "signs within)."
        ) from error


def _lp_bounds(text: str) -> list[tuple[Any, float, float]]:
    """Variables with what a section of bounds says of them, which dimod keeps for integers alone."""
    if not re.search(r"\bbounds?\b", text, re.IGNORECASE):
        return []
    model = dimod.lp.loads(re.sub(r"\b(binary|binaries|bin)\b", "General", text, flags=re.IGNORECASE))
    return [(v, model.lower_bound(v), model.upper_bound(v)) for v in model.variables]


def _of_text(parse: Callable[[str, str | None], Qubo]) -> Callable[[bytes, str | None], Qubo]:
    return lambda content, vartype: parse(_text(content), vartype)


_READERS: dict[str, Callable[[bytes, str | None], Qubo]] = {
    "bqm": _read_bqm,
    "json": _read_json,
    "npz": _read_arrays,
    "npy": _read_arrays,
    "coo": _of_text(text_files.coordinates),
    "qbsolv": _of_text(text_files.qbsolv),
    "gset": _of_text(text_files.max_cut),
    "mc": _of_text(text_files.max_cut),
    "bqp": _of_text(text_files.or_library),
    "lp": _read_lp,
    "mtx": _of_text(text_files.matrix_market),
}
_SUFFIXES = {
    ".bqm": "bqm", ".json": "json", ".npz": "npz", ".npy": "npy", ".coo": "coo", ".rud": "gset", ".gset": "gset",
    ".mc": "mc", ".bqp": "bqp", ".lp": "lp", ".mtx": "mtx",
}  # fmt: skip
# How dimod's files of other models begin.
_OTHER_MODELS = {
    b"DIMODCQM": dimod.ConstrainedQuadraticModel,
    b"DIMODDQM": dimod.DiscreteQuadraticModel,
    b"DIMODQM": dimod.QuadraticModel,
}
# Endings that several formats have.
_OPEN = (".txt", ".qubo")
