"""A run on disk: what is needed to go on after being killed, and what a reader wants to see meanwhile.

    checkpoints/epoch_0007.npz   parameters, optimiser state, history, identity of the run; the last two are kept
    trajectory/epoch_0007.npy    flat parameters after 7 epochs, written once; 0 is the start
    metrics.csv                  one row per epoch so far

Every file is written atomically, and a checkpoint after the trajectory files that it needs.
"""

import csv
import dataclasses
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim.common import files
from qjaxsim.common.checkpoint import Checkpoint, OtherComputationError, OtherFormError

_KEPT = 2
Row = dict[str, Any]


class CheckpointError(RuntimeError):
    """Checkpoints are there, but none can be read or none belongs to this run."""


class DamagedCheckpointsError(files.DamagedError, CheckpointError):
    """Checkpoints are there, but none can be read; `path` is their folder."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state of a run after some epoch.

    Attributes:
        params: the parameters, a pytree of arrays.
        optimizer: the optimiser's state, another.
        history: rows of epochs 0..e.
        trajectory: flat parameters of epochs 0..e.
    """

    params: Any
    optimizer: Any
    history: list[Row]
    trajectory: list[np.ndarray]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history) - 1


def save(folder: Path, snapshot: Snapshot, identity: dict[str, Any]) -> None:
    """Write the snapshot; returns when it is on disk."""
    for epoch, point in enumerate(snapshot.trajectory):
        path = _point_path(folder, epoch)
        if not path.exists():
            files.write_npy(path, point)
    Checkpoint(folder / "checkpoints" / f"epoch_{snapshot.epoch:04d}.npz", identity).save(_kept(snapshot), last=True)
    write_metrics(folder, snapshot.history)
    for old in _checkpoint_paths(folder)[_KEPT:]:
        _take_away(old)


def begin(folder: Path, snapshot: Snapshot, identity: dict[str, Any]) -> None:
    """Write the snapshot of a start, after removing what a run killed before its first checkpoint left."""
    _forget_after(folder, -1)
    save(folder, snapshot, identity)


def write_metrics(folder: Path, history: list[Row]) -> None:
    """Write metrics.csv; missing values (the rate before the first epoch) are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    files.write_text(folder / "metrics.csv", text.getvalue())


def exists(folder: Path) -> bool:
    """Whether the folder holds a checkpoint, readable or not."""
    return bool(_checkpoint_paths(folder))


def restore(folder: Path, identity: dict[str, Any], like: Snapshot) -> Snapshot | None:
    """The newest readable snapshot, or None if there is no checkpoint at all.

    Args:
        folder: the run's folder.
        identity: what the run must be.
        like: a snapshot with leaves of the right shapes and dtypes, JAX or NumPy arrays as they shall come back.

    Warns:
        UserWarning: naming each damaged checkpoint that was passed over.

    Raises:
        CheckpointError: if the checkpoint is of another run (naming the differences), or none can be read.
    """
    paths = _checkpoint_paths(folder)
    for part in ("checkpoints", "trajectory", "."):
        files.remove_temporaries(folder / part)
    problems = []
    for path in paths:
        try:
            snapshot = _read(Checkpoint(path, identity), folder, like)
        except OtherFormError:
            # The identity covers the parameters; the optimiser's state may change its form with another optax.
            problems.append(f"{path.name}: its parameters or the optimiser's state have another form")
            continue
        except files.DamagedError as error:
            problems.append(f"{path.name}: {error.reason}")
            continue
        except OtherComputationError as error:
            changes = "; ".join(f"{name} was {before!r}, is {now!r}" for name, before, now in error.differences)
            raise CheckpointError(
                f"Argument `folder` must hold this run, but {path} was made with other settings ({changes}); use them "
                f"again, or another folder."
            ) from None
        for problem in problems:
            warnings.warn(f"Passed over a damaged checkpoint ({problem}); going on from {path.name}.", stacklevel=4)
        _forget_after(folder, snapshot.epoch)
        write_metrics(folder, snapshot.history)
        return snapshot
    if problems:
        raise DamagedCheckpointsError(paths[0].parent, "; ".join(problems))
    return None


def _kept(snapshot: Snapshot) -> dict[str, Any]:
    history = json.dumps(files.to_json(snapshot.history), allow_nan=False)
    # In lists, so that a single array has a number too.
    return {"params": [snapshot.params], "optimizer": [snapshot.optimizer], "history": history}


def _read(saved: Checkpoint, folder: Path, like: Snapshot) -> Snapshot:
    kept = saved.restore(_kept(like)) or {}
    try:
        history = json.loads(kept["history"])
        trajectory = [_point(folder, epoch, like.params) for epoch in range(len(history))]
    except FileNotFoundError as error:
        raise files.DamagedError(saved.path, f"{Path(error.filename).name} of its trajectory is missing") from error
    except files.DamagedError as error:
        reason = f"{error.path.name} of its trajectory is damaged: {error.reason}"
        raise files.DamagedError(saved.path, reason) from error
    except (KeyError, TypeError, ValueError) as error:
        raise files.DamagedError(saved.path, "its history cannot be read") from error
    return Snapshot(kept["params"][0], kept["optimizer"][0], history, trajectory)


def _point(folder: Path, epoch: int, params: Any) -> np.ndarray:
    """The flat parameters after an epoch, of the size and dtype of `params`."""
    leaves, point = jax.tree.leaves(params), read_point(folder, epoch)
    size, dtype = sum(leaf.size for leaf in leaves), np.result_type(*(leaf.dtype for leaf in leaves))
    if point.shape != (size,) or point.dtype != dtype:
        found = f"it holds {point.dtype}{list(point.shape)}, not {dtype}[{size}]"
        raise files.DamagedError(_point_path(folder, epoch), found)
    return point


def read_point(folder: Path, epoch: int) -> np.ndarray:
    """The flat parameters at the end of an epoch, in `ravel_pytree` order; epoch 0 is the start.

    Raises:
        FileNotFoundError: if training in `folder` has not come so far.
        qjaxsim.common.files.DamagedError: if the file is damaged.
    """
    return files.read_npy(_point_path(folder, epoch))


def _forget_after(folder: Path, epoch: int) -> None:
    """Remove what a killed or damaged later epoch left, so that it is written anew."""
    for path in (*(folder / "trajectory").glob("epoch_*.npy"), *_checkpoint_paths(folder)):
        if _epoch_of(path) > epoch:
            _take_away(path)


def _take_away(path: Path) -> None:
    """Remove a file of ours; a folder in its place is not ours, and put aside."""
    if path.is_dir() and not path.is_symlink():
        files.put_aside(path)
    else:
        path.unlink(missing_ok=True)


def _checkpoint_paths(folder: Path) -> list[Path]:
    """Newest first; a file of another name, such as a copy, is the user's."""
    ours = (path for path in (folder / "checkpoints").glob("epoch_*.npz") if _epoch_of(path) >= 0)
    return sorted(ours, key=_epoch_of, reverse=True)


def _point_path(folder: Path, epoch: int) -> Path:
    return folder / "trajectory" / f"epoch_{epoch:04d}.npy"


def _epoch_of(path: Path) -> int:
    match = re.fullmatch(r"epoch_(\d+)", path.stem)
    return int(match.group(1)) if match else -1
