"""Products of an operator that a file keeps as they are found, so that a run of them that was killed goes on.

Called again with the same key, Lanczos, power iteration, quadrature and random probes ask for the same products in the
same order. So products are all that is kept, whoever asks for them: those found before are read, the rest computed.

The file grows at its end: a line of JSON, which says what it is, and records of a length, a key (the digest of the
vectors), the digest of the images, and the images. A killed process leaves at most a torn last record, which is cut
off.
"""

import functools
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checkpoint import (
    REFUSAL,
    Difference,
    Fingerprint,
    NoCheckpointError,
    OtherComputationError,
    differences,
    digest,
)
from qjaxsim.common.checks import as_path, is_traced
from qjaxsim.curvature.operators import LinearOperator, require_operator
from qjaxsim.running.array_types import to_jax

_KIND = "products of operators"
# Before the images: their length, the key, their digest.
_HEAD = struct.Struct("<Q32s32s")
_LONGEST = 4096  # bytes of the first line, at most


def kept_products(operator: LinearOperator, checkpoint: str | Path, *, of: Any = None) -> LinearOperator:
    """The same operator, whose products a file keeps: a run of hours that is killed goes on when it is called again.

    For whatever takes an operator, such as `top_eigenpairs` and `spectral_density`: called again with the same key it
    reads the products that the file has and goes on with the next. Products of blocks and of minus the operator are
    kept as well. The file stays; remove it when done.

    Args:
        operator: of dimension P. One whose matrix is known is returned as it is.
        checkpoint: the file, made at the first product.
        of: pytree of arrays that the operator was made of, such as (params, x, y): a file of others is refused.

    Returns:
        LinearOperator. The first product found in the file is computed once more and compared, up to rounding, since
        functions cannot be.

    Raises:
        TypeError: if `operator` is none, or where JAX traces a product.
        ValueError: if the file is of another computation, as soon as that is seen, or is not of this kind.
        OSError: if the file cannot be read or written.

    Cost: a digest and P numbers on disk a product, of `of` a digest.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> from qjaxsim.curvature import hessian_operator, top_eigenpairs
    >>> path = Path(tempfile.mkdtemp()) / "products.bin"
    >>> w = jnp.linspace(0.0, 1.0, 60)
    >>> operator = kept_products(hessian_operator(lambda w: jnp.cosh(w).sum(), w), path, of=w)
    >>> round(float(top_eigenpairs(operator, 1, key=jax.random.key(0), copies=False).values[0]), 4)  # cosh(1)
    1.5431
    """
    require_operator(operator)
    if operator.matrix is not None:
        return operator
    return ProductLog(checkpoint, {} if of is None else {"of": digest(of)}).of(operator)


class _Place(NamedTuple):
    """Where images lie in the file, and whether this process has put them there."""

    start: int
    length: int
    check: bytes
    own: bool


class ProductLog:
    """The file of the products of some operators."""

    def __init__(self, path: str | Path, identity: Mapping[str, Any]):
        """The products found before, if there are any.

        Args:
            path: the file; it need not exist.
            identity: what the operators are made of, in what `files.to_json` takes, by names that a message can use.

        Raises:
            NoCheckpointError: if the file is no such one.
            OtherComputationError: if it is of another computation.
            qjaxsim.common.files.NotWrittenError: if nothing can be written there.
        """
        self.path = as_path("checkpoint", path)
        self._identity = {"kind": _KIND, **files.to_json(identity)}
        self._places: dict[bytes, _Place] = {}
        self._compared: set[str] = set()
        if self.path.exists():
            self._read()
        files.check_writable(self.path)

    def of(self, operator: LinearOperator, name: str = "product") -> LinearOperator:
        """An operator whose products are kept here, by a name of its own in this file."""
        rows = functools.partial(self._images, operator, name)
        return LinearOperator(operator.size, operator.dtype, rows)

    def _images(self, operator: LinearOperator, name: str, vectors: jax.Array) -> jax.Array:
        """Images of rows: those kept, or computed and kept from now on."""
        if is_traced(vectors):
            raise TypeError(
                "Argument `v` must be known where products are kept, but it is traced by JAX (in jit, grad or vmap); "
                "call this function outside."
            )
        given = np.asarray(vectors)
        key = hashlib.sha256(f"{name} {given.shape} {given.dtype};".encode() + given.tobytes()).digest()
        place = self._places.get(key)
        kept = None if place is None else self._kept(place, given)
        if place is not None and kept is not None and (place.own or name in self._compared):
            return to_jax(kept)
        images = jax.block_until_ready(operator.rows(vectors))
        if kept is None:
            self._append(key, np.asarray(images))
            return images
        if Fingerprint("product", name, images).differs(kept):
            self._refuse([Difference(name, digest(kept), digest(images))])
        self._compared.add(name)
        return to_jax(kept)  # what followed from it, to the last digit

    # --- the file ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Find the records, and cut off one that was not written to its end."""
        if not self.path.is_file():
            raise NoCheckpointError(self.path)
        with self.path.open("rb") as file:
            line = file.readline(_LONGEST)
            self._require_own(line)
            end, size = len(line), self.path.stat().st_size
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                length, key, check = _HEAD.unpack(head)
                start = end + _HEAD.size
                if not 0 < length <= size - start:
                    break
                self._places[key] = _Place(start, length, check, own=False)
                end = start + length
                file.seek(end)
        if end < size:
            os.truncate(self.path, end)

    def _require_own(self, line: bytes) -> None:
        try:
            stored = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or stored.get("kind") != _KIND:
            raise NoCheckpointError(self.path)
        if found := differences(stored, self._identity):
            self._refuse(found)

    def _refuse(self, found: list[Difference]) -> None:
        raise OtherComputationError(REFUSAL, self.path, found)

    def _kept(self, place: _Place, like: np.ndarray) -> np.ndarray | None:
        """Images of the shape of their vectors; None where the file was changed."""
        with self.path.open("rb") as file:
            file.seek(place.start)
            content = file.read(place.length)
        if len(content) != like.nbytes or hashlib.sha256(content).digest() != place.check:
            return None
        return np.frombuffer(content, like.dtype).reshape(like.shape)

    def _append(self, key: bytes, images: np.ndarray) -> None:
        content = images.tobytes()
        check = hashlib.sha256(content).digest()
        if not self._places and not self.path.exists():
            files.write_text(self.path, json.dumps(self._identity) + "\n")
        try:
            # As one piece: a process beside this one appends its own.
            with self.path.open("r+b") as file:
                file.seek(0, os.SEEK_END)
                start = file.tell() + _HEAD.size
                file.write(_HEAD.pack(len(content), key, check) + content)
        except OSError as error:
            raise files.NotWrittenError(self.path, error.strerror or str(error)) from error
        self._places[key] = _Place(start, len(content), check, own=True)
