"""Sums over samples kept in a file, so that a computation of hours that is killed goes on where it was.

One `.npz` without pickle: leaves of the state, samples done, and what the computation is. It is written atomically.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common import files
from qjaxsim.common.pytrees import numbered

State = TypeVar("State")
Identity = dict[str, int | str]

# Time between two saves, in durations of the last one: saving then takes at most a tenth of the time of computing.
SAVES_APART = 10
_DIGEST = "sha256:"


class Accumulation:
    """The file of one accumulation over samples."""

    def __init__(self, path: str | Path, identity: Identity, slopes: jax.Array):
        """An accumulation that may have begun before.

        Args:
            path: the file; it need not exist.
            identity: what the computation must be, by names that an error message can use.
            slopes: real array that stands for the functions in it, which have no digest: equal up to rounding.
        """
        self.path, self.identity, self.slopes = Path(path), identity, np.asarray(slopes, np.float64)
        self._rounding = float(jnp.finfo(slopes.dtype).eps) ** 0.5
        self._saved, self._took = -np.inf, 0.0

    def restore(self, like: State) -> tuple[State, int]:
        """State and number of samples in the file; `like` and 0 if there is none.

        Args:
            like: a state of no samples, a pytree of arrays of the right shapes and dtypes.

        Raises:
            qjaxsim.common.files.DamagedError: if the file is damaged.
            ValueError: if it is of another computation, naming what differs.
        """
        files.remove_temporaries(self.path.parent, self.path.name)
        if not self.path.exists():
            return like, 0
        self._require_same()
        leaves, structure = jax.tree.flatten(like)
        found = [self._leaf(i, leaf) for i, leaf in enumerate(leaves)]
        return jax.tree.unflatten(structure, found), int(_read(self.path, "samples"))

    def save(self, state: Any, samples: int, *, last: bool) -> None:
        """Write a state, unless it is not the last and too little time has passed since the save before.

        Args:
            state: pytree of arrays.
            samples: how many have been added.
            last: whether all have.

        Raises:
            OSError: if the file cannot be written; an older one is then untouched.
        """
        jax.block_until_ready(state)
        begin = time.monotonic()
        if not last and begin - self._saved < SAVES_APART * self._took:
            return
        arrays = numbered("state", state)
        arrays |= {"samples": np.array(samples), "slopes": self.slopes, "identity": np.array(json.dumps(self.identity))}
        files.write_npz(self.path, arrays)
        self._saved = time.monotonic()
        self._took = self._saved - begin

    def _leaf(self, number: int, like: jax.Array) -> jax.Array:
        # Some dtypes of JAX come back from .npz as raw bytes.
        stored = _read(self.path, f"state/{number}").view(like.dtype)
        if stored.shape != like.shape:
            raise files.DamagedError(self.path, f"an array has shape {stored.shape}, not {like.shape}")
        return jnp.array(stored)  # a copy, since memory of NumPy cannot be donated

    def _require_same(self) -> None:
        before = _identity(self.path)
        names = list(before) + [name for name in self.identity if name not in before]
        pairs = [(name, before.get(name), self.identity.get(name)) for name in names]
        other = [_difference(*pair) for pair in pairs if pair[1] != pair[2]]
        if not other and not self._close(_read(self.path, "slopes")):
            other = ["outputs or loss"]
        if other:
            raise ValueError(
                f"Argument `checkpoint` must name a file of the same computation, but {self.path} was made with other "
                f"{', '.join(other)}; delete it or use another path."
            )

    def _close(self, before: np.ndarray) -> bool:
        """Whether slopes are these up to rounding, which differs from machine to machine."""
        if before.shape != self.slopes.shape:
            return False
        largest = np.abs(self.slopes).max(initial=0, where=np.isfinite(self.slopes))
        return bool(np.allclose(before, self.slopes, rtol=0, atol=self._rounding * largest, equal_nan=True))


def samples_at_once(path: str | Path) -> int | None:
    """Samples in a chunk of the accumulation in a file, None if there is no such file.

    Raises:
        qjaxsim.common.files.DamagedError: if the file is damaged.
    """
    found = _identity(Path(path)).get("batch_size") if Path(path).exists() else None
    return None if found is None else int(found)


def digest(tree: Any) -> str:
    """Text that changes with the names, shapes, dtypes and numbers of a pytree of arrays."""
    found = hashlib.sha256()
    for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(place)} {array.shape} {array.dtype};".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return _DIGEST + found.hexdigest()


def _identity(path: Path) -> Identity:
    text = str(_read(path, "identity"))
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise files.DamagedError(path, "it does not say of which computation it is") from error


def _read(path: Path, name: str) -> np.ndarray:
    """One array of the file."""
    return files.read_npz(path, name)[name]


def _difference(name: str, before: Any, now: Any) -> str:
    """A name, with its two values where these say something."""
    return name if str(now).startswith(_DIGEST) else f"{name} ({before}, now {now})"
