"""Unfinished work kept in a file, so that a computation of hours that is killed goes on where it was.

One `.npz` without pickle, written atomically: the arrays of the state and what the computation is, in JSON. An entry of
the state that is one array is kept under its name, the leaves of another pytree as `name/0`, `name/1`, ...
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checks import as_path

# Time between two saves, in durations of the last one: saving then takes at most a tenth of the time of computing.
SAVES_APART = 10
REFUSAL = (
    "Argument `checkpoint` must name a file of the same computation, but {path} was made with other {others}; delete "
    "it or use another path."
)
_DIGEST = "sha256:"
_IDENTITY = "identity"
# What comes before the name of the first entry in an archive, and its beginning.
_HEADER, _ARCHIVE = 30, b"PK"


class Difference(NamedTuple):
    """A value of an identity that was another before; None where there was or is none."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        """The name, with its two values where these say something."""
        if any(str(value).startswith(_DIGEST) for value in (self.before, self.now)):
            return self.name
        return f"{self.name} ({self.before}, now {self.now})"


class OtherComputationError(ValueError):
    """A checkpoint of another computation.

    Attributes:
        differences: what differs.
    """

    def __init__(self, refusal: str, path: Path, differences: list[Difference]):
        """An error in the words of `refusal`."""
        super().__init__(refusal.format(path=path, others=", ".join(map(str, differences))))
        self.differences = differences


class OtherFormError(files.DamagedError):
    """A checkpoint of this computation whose arrays have other shapes or dtypes, or are more or fewer."""


class NoCheckpointError(files.DamagedError):
    """A file or folder that is no checkpoint at all, but something else of the user's."""

    def __init__(self, path: Path):
        """An error that advises nothing that could harm it."""
        self.path, self.reason = path, "it is no checkpoint"
        ValueError.__init__(
            self, f"Argument `checkpoint` must name a checkpoint or a new file, but {path} is none; use another path."
        )


class Fingerprint(NamedTuple):
    """A real array that stands for functions, which have no digest: equal up to rounding in the same computation.

    Attributes:
        key: its name in the file.
        functions: what it stands for, in an error message.
        array: the numbers.
    """

    key: str
    functions: str
    array: jax.Array

    def differs(self, before: np.ndarray) -> bool:
        """Whether numbers are not these up to rounding, which differs from machine to machine."""
        now = np.asarray(self.array, np.float64)
        if before.shape != now.shape:
            return True
        allowed = float(jnp.finfo(self.array.dtype).eps) ** 0.5 * np.abs(now).max(initial=0, where=np.isfinite(now))
        return not np.allclose(before, now, rtol=0, atol=allowed, equal_nan=True)


class Checkpoint:
    """The file of one computation; it holds the last state that was saved.

    >>> import tempfile
    >>> saved = Checkpoint(Path(tempfile.mkdtemp()) / "sums.npz", {"samples": 100})
    >>> saved.restore({"sums": jnp.zeros(2), "done": 0}) is None
    True
    >>> saved.save({"sums": jnp.ones(2), "done": 40})
    >>> saved.restore({"sums": jnp.zeros(2), "done": 0})["done"]
    40
    """

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        fingerprint: Fingerprint | None = None,
        refusal: str = REFUSAL,
        clock: Callable[[], float] = time.monotonic,
    ):
        """A computation that may have begun before.

        Args:
            path: the file; it need not exist.
            identity: what the computation must be, in what `files.to_json` takes, by names that an error message can
                use; see `digest` for arrays.
            fingerprint: stands for functions in the identity.
            refusal: the message about another computation, with {path} and {others}.
            clock: seconds.
        """
        self.path = as_path("checkpoint", path)
        self._fingerprint, self._refusal, self._clock = fingerprint, refusal, clock
        self._identity: dict[str, Any] = json.loads(json.dumps(files.to_json(identity)))
        self._saved, self._took = -np.inf, 0.0

    def restore(self, like: Mapping[str, Any], *, growing: Collection[str] = ()) -> dict[str, Any] | None:
        """The state in the file, None if there is none; what killed writers left is removed.

        Args:
            like: a state of the same form: by name, pytrees of JAX or NumPy arrays, numbers or strings. Each leaf
                comes back as what it is here.
            growing: names of entries whose arrays may have any length.

        Raises:
            qjaxsim.common.files.DamagedError: if the file is damaged, `NoCheckpointError` if it is none of ours,
                `OtherFormError` if it is one but unlike `like`.
            OtherComputationError: if it is of another computation, naming what differs.
        """
        files.remove_temporaries(self.path.parent, self.path.name)
        if not self.path.exists():
            return None
        if found := self._differences():
            raise OtherComputationError(self._refusal, self.path, found)
        stored, state = files.names_in_npz(self.path), {}
        for name, tree in like.items():
            there = {key for key in stored if key == name or key.startswith(f"{name}/")}
            leaves = _by_key(name, tree)
            if there != set(leaves):
                raise OtherFormError(self.path, f"it has {len(there)} arrays of its {name}, not {len(leaves)}")
            restored = [self._leaf(key, leaf, name in growing) for key, leaf in leaves.items()]
            state[name] = jax.tree.unflatten(jax.tree.structure(tree), restored)
        return state

    def save(self, state: Mapping[str, Any] | Callable[[], Mapping[str, Any]], *, last: bool = False) -> None:
        """Write a state, unless it is not the last and too little time has passed since the save before.

        Args:
            state: by name, pytrees of arrays, numbers or strings; or a function that makes it where it is written.
            last: whether nothing is left to compute.

        Raises:
            OSError: if the file cannot be written; an older one is then untouched.
        """
        if not callable(state):
            jax.block_until_ready(state)
        begin = self._clock()
        if not last and begin - self._saved < SAVES_APART * self._took:
            return
        state = state() if callable(state) else state
        leaves = {key: leaf for name, tree in state.items() for key, leaf in _by_key(name, tree).items()}
        arrays = {key: np.asarray(numbers_of(leaf)) for key, leaf in leaves.items()}
        if self._fingerprint is not None:
            arrays[self._fingerprint.key] = np.asarray(self._fingerprint.array, np.float64)
        # In front, so that what is left of a damaged file still tells that it is one of ours.
        files.write_npz(self.path, {_IDENTITY: np.array(json.dumps(self._identity)), **arrays})
        self._saved = self._clock()
        self._took = self._saved - begin

    def forget(self) -> None:
        """Remove the file, if it is there: its work is done."""
        self.path.unlink(missing_ok=True)

    def _differences(self) -> list[Difference]:
        found = differences(stored_identity(self.path), self._identity)
        mark = self._fingerprint
        if not found and mark is not None and mark.differs(before := _read(self.path, mark.key)):
            return [Difference(mark.functions, digest(before), digest(mark.array))]
        return found

    def _leaf(self, key: str, like: Any, grows: bool) -> Any:
        stored = _read(self.path, key)
        if type(like) in (bool, int, float, str):
            value = stored.item() if stored.ndim == 0 else stored
            if type(value) is not type(like):
                raise OtherFormError(self.path, f"{key} is no {type(like).__name__}")
            return value
        if numbers_of(like) is not like:
            data = self._leaf(key, numbers_of(like), grows)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(like))
        if stored.dtype.kind == "V" and stored.dtype.itemsize == like.dtype.itemsize:
            stored = stored.view(like.dtype)  # some dtypes of JAX come back from .npz as raw bytes
        if stored.ndim != like.ndim or stored.shape[grows:] != like.shape[grows:]:
            raise OtherFormError(self.path, f"an array has shape {stored.shape}, not {like.shape}")
        if stored.dtype != like.dtype:
            raise OtherFormError(self.path, f"an array has dtype {stored.dtype}, not {like.dtype}")
        # A copy, since memory of NumPy cannot be donated.
        return jnp.array(stored) if isinstance(like, jax.Array) else stored


def stored_identity(path: str | Path) -> dict[str, Any]:
    """What the computation in a file is; empty if there is no such file.

    Raises:
        qjaxsim.common.files.DamagedError: if the file is damaged, `NoCheckpointError` if it is none of ours.
    """
    path = as_path("checkpoint", path)
    if not path.exists():
        return {}
    try:
        return dict(json.loads(str(_read(path, _IDENTITY))))
    except (TypeError, ValueError) as error:  # a damaged file among them
        if isinstance(error, files.DamagedError) and _begins_as_one(path):
            raise
        raise NoCheckpointError(path) from error


def _begins_as_one(path: Path) -> bool:
    """Whether a file that cannot be read may have been a checkpoint: it begins as they do, or has lost all content."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        begin = file.read(_HEADER + len(_IDENTITY))
    return not begin.strip(b"\0") or (begin.startswith(_ARCHIVE) and begin[_HEADER:] == _IDENTITY.encode())


def digest(tree: Any) -> str:
    """Text that changes with the names, shapes, dtypes and numbers of a pytree of arrays; messages leave it out."""
    summed = hashlib.sha256()
    for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(numbers_of(leaf))
        summed.update(f"{jax.tree_util.keystr(place)} {array.shape} {array.dtype};".encode())
        summed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return _DIGEST + summed.hexdigest()


def numbers_of(leaf: Any) -> Any:
    """What a file holds of a leaf: of random keys their data, of others themselves."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def _by_key(name: str, tree: Any) -> dict[str, Any]:
    """The leaves of an entry of a state, by their names in the file."""
    leaves = jax.tree.leaves(tree)
    if len(leaves) == 1 and leaves[0] is tree:
        return {name: tree}
    return {f"{name}/{i}": leaf for i, leaf in enumerate(leaves)}


def _read(path: Path, key: str) -> np.ndarray:
    """One array of the file: all at once may be twice what memory holds."""
    return files.read_npz(path, key)[key]


def differences(before: Any, now: Any, place: str = "") -> list[Difference]:
    """Where two JSON values differ, the names of nested ones joined by dots."""
    if isinstance(before, dict) and isinstance(now, dict):
        dot = f"{place}." if place else ""
        return [
            difference
            for name in [*before, *(name for name in now if name not in before)]
            for difference in differences(before.get(name), now.get(name), f"{dot}{name}")
        ]
    return [] if before == now else [Difference(place, before, now)]
