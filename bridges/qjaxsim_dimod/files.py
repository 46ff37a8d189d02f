"""Problems from files: dimod's own formats, arrays, and coordinate text."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import dimod
import numpy as np

from qjaxsim_dimod.qubo import BINARY, Qubo

FORMATS = ".bqm (dimod's binary), .json (dimod's serializable), .npz or .npy (arrays), .coo, .txt or .qubo (text)"
_HEADER = re.compile(r"#.*?vartype\s*[:=]\s*(\w+)", re.IGNORECASE)


def read_problem(path: str | Path, vartype: str | None = None) -> Qubo:
    """The problem in a file; its ending tells the format.

    - `.bqm`: what `BinaryQuadraticModel.to_file` writes.
    - `.json`: `to_serializable` of a BinaryQuadraticModel.
    - `.npz`: arrays "matrix" (n, n), or "linear" (n,) and "quadratic" (n, n); "offset" and "vartype" if any. `.npy`:
      the matrix alone. Read as `Qubo.from_matrix` does.
    - `.coo`, `.txt`, `.qubo`: lines "i j bias" with i = j for linear terms (dimod's COO, exponents allowed); a line
      "# vartype=SPIN" says so, other lines starting with # are remarks.

    Args:
        path: the file.
        vartype: "BINARY" or "SPIN" for files that do not say; default "BINARY".

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for an unknown ending, damaged content, or what `Qubo` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"File {path} does not exist.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"File {path} must end in one of {FORMATS}.")
    try:
        return reader(path, vartype)
    except (OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"File {path} cannot be read as {path.suffix} ({type(error).__name__}: {error}).") from error
    except ValueError as error:  # of this module, json, NumPy and dimod
        raise ValueError(f"File {path}: {error}") from error


def _read_bqm(path: Path, vartype: str | None) -> Qubo:
    with path.open("rb") as file:
        return Qubo.from_bqm(dimod.BinaryQuadraticModel.from_file(file))


def _read_json(path: Path, vartype: str | None) -> Qubo:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("type") != "BinaryQuadraticModel":
        raise ValueError("the file must hold to_serializable() of a BinaryQuadraticModel.")
    return Qubo.from_bqm(dimod.BinaryQuadraticModel.from_serializable(content))


def _read_arrays(path: Path, vartype: str | None) -> Qubo:
    with path.open("rb") as file:
        stored: Any = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return Qubo.from_matrix(stored, vartype=vartype or BINARY)
        with stored:
            arrays = {name: stored[name] for name in stored.files}
    names = [name for name in ("matrix", "quadratic") if name in arrays]
    if len(names) != 1:
        raise ValueError(f"the file must hold either `matrix` or `quadratic`, but holds {sorted(arrays)}.")
    kind = str(arrays["vartype"]) if "vartype" in arrays else vartype or BINARY
    offset = float(arrays.get("offset", 0.0))
    return Qubo.from_matrix(arrays[names[0]], linear=arrays.get("linear"), offset=offset, vartype=kind)


def _read_coordinates(path: Path, vartype: str | None) -> Qubo:
    kind, entries = vartype, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if found := _HEADER.match(text):
            kind = found.group(1).upper()
        if not text or text.startswith("#"):
            continue
        parts = text.split()
        try:
            i, j, bias = int(parts[0]), int(parts[1]), float(parts[2])
        except (ValueError, IndexError):
            i = -1
        if len(parts) != 3 or i < 0 or j < 0:
            raise ValueError(f'line {number} must be "i j bias" with whole numbers i and j, but is {text[:60]!r}.')
        entries.append((i, j, bias))
    if not entries:
        raise ValueError("A problem must have at least one variable, but this one is empty.")
    labels = sorted({index for i, j, _ in entries for index in (i, j)})
    place = {label: position for position, label in enumerate(labels)}
    linear, quadratic = np.zeros(len(labels)), np.zeros((len(labels), len(labels)))
    for i, j, bias in entries:
        if i == j:
            linear[place[i]] += bias
        else:
            quadratic[place[min(i, j)], place[max(i, j)]] += bias
    return Qubo(linear, quadratic, 0.0, tuple(labels), kind or BINARY)


_READERS = {
    ".bqm": _read_bqm,
    ".json": _read_json,
    ".npz": _read_arrays,
    ".npy": _read_arrays,
    ".coo": _read_coordinates,
    ".txt": _read_coordinates,
    ".qubo": _read_coordinates,
}
