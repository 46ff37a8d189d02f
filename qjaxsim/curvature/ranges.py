"""The split H = G + R of several processes: each adds up a range of the samples, and one sum over processes ends it.

A file holds what one range has come to, under the name of the range and not of who took it. Whoever goes on after a
stop, as however many processes, takes the samples that no file holds yet.
"""

import contextlib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common import files, helping, hosts
from qjaxsim.common.checkpoint import Checkpoint, NoCheckpointError, stored_identity
from qjaxsim.common.hosts import team
from qjaxsim.curvature.chunks import evenly
from qjaxsim.curvature.gauss_newton import HessianSplit, SampleSum, sample_sum
from qjaxsim.curvature.objective import Loss, Outputs
from qjaxsim.curvature.spreading import off_mesh, on_no_mesh, over_devices, spread_of, whole
from qjaxsim.running.array_types import to_jax

# Samples whose derivatives stand for the functions, at most.
_MARKED = 8


class Range(NamedTuple):
    """Samples from `begin` to before `end`."""

    begin: int
    end: int


class _Held(NamedTuple):
    """A range that is added up already, and its file."""

    range: Range
    checkpoint: Checkpoint


def by_ranges(checkpoint: Path | None) -> bool:
    """Whether a split is to go by ranges: with several processes or devices, or after such."""
    several = team.together is not None or team.devices > 1
    return several or (checkpoint is not None and any(path != checkpoint for path, _ in _paths(checkpoint)))


def split_by_ranges(
    outputs: Outputs,
    loss: Loss,
    params: Any,
    x: Any,
    y: Any,
    *,
    checkpoint: Path | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HessianSplit:
    """`split_hessian` by all processes that are together, each on as many devices as it has been told.

    Args:
        outputs: as there.
        loss: as there.
        params: as there.
        x: as there.
        y: as there.
        checkpoint: as there; files of ranges stand beside it. None to keep nothing.
        batch_size: as there.
        progress: as there, in the leading process; others are taken to be as far as this one.

    Returns:
        The split, in the leading process; equal to that of one process up to rounding.

    Raises:
        ValueError: as there, or if processes have different samples.
        qjaxsim.common.helping.HelpedError: in all other processes, when their share is done.
    """
    helping.call_helpers()
    if team.together is not None:  # the point of the leading process, to the last digit
        params = hosts.total(params if team.leads else jax.tree.map(jnp.zeros_like, params))
    job = _Job(outputs, loss, params, x, y, batch_size, checkpoint)
    held = {one.range: one for one in job.held()}
    listed = _gathered(list(held))
    owners, gaps = cover([[Range(*one) for one in own] for own in listed], job.count)
    carried = jax.tree.map(np.asarray, job.start)
    for known, file in held.items():
        if owners.get(known) == _index():
            carried = _sum(carried, job.restored(file))
    before, own = job.count - sum(end - begin for begin, end in gaps), 0
    for one in shares(gaps, len(listed), team.devices)[_index()]:

        def moved(done: int, own: int = own) -> None:
            if progress is not None:
                progress(min(before + (own + done) * len(listed), job.count), job.count)

        carried = _sum(carried, job.run(one, moved))
        own += one.end - one.begin
    if team.together is not None:
        carried = hosts.total(carried)
        helping.dismiss_helpers()
    return HessianSplit(*job.head.way.finish(jax.tree.map(to_jax, carried)))


def cover(listed: Sequence[Sequence[Range]], count: int) -> tuple[dict[Range, int], list[Range]]:
    """Ranges to use of those that processes have, with the first who has it, and what is left of `count` samples.

    >>> cover([[Range(0, 4), Range(2, 6)], [Range(0, 4), Range(8, 9)]], 10)[0]
    {Range(begin=0, end=4): 0, Range(begin=8, end=9): 1}
    >>> [tuple(gap) for gap in cover([[Range(0, 4), Range(2, 6)], [Range(8, 9)]], 10)[1]]
    [(4, 8), (9, 10)]
    """
    owners: dict[Range, int] = {}
    gaps, at = [], 0
    everywhere = {one: index for index, own in reversed(list(enumerate(listed))) for one in own}
    for one in sorted(everywhere, key=lambda one: (one.begin, -one.end)):
        if one.begin < at or one.begin == one.end:  # of ranges that overlap the first
            continue
        owners[one] = everywhere[one]
        gaps.append(Range(at, one.begin))
        at = one.end
    gaps.append(Range(at, count))
    return owners, [gap for gap in gaps if gap.begin < gap.end]


def shares(gaps: Sequence[Range], processes: int, devices: int) -> list[list[Range]]:
    """What each process takes of the samples that are left: equally many, in ranges that its devices share equally.

    >>> [[tuple(one) for one in own] for own in shares([Range(0, 10), Range(20, 23)], 2, 4)]
    [[(0, 4), (4, 6)], [(6, 10), (20, 23)]]
    """
    total = sum(end - begin for begin, end in gaps)
    found = []
    for index in range(processes):
        first, last = total * index // processes, total * (index + 1) // processes
        own, at = [], 0
        for begin, end in gaps:
            low = begin + max(first - at, 0)
            high = max(low, begin + min(last - at, end - begin))
            at += end - begin
            even = low + (high - low) // devices * devices
            own += [Range(*one) for one in ((low, even), (even, high)) if one[0] < one[1]]
        found.append(own)
    return found


class _Job:
    """One split: its samples, and its files beside a checkpoint's place."""

    def __init__(
        self, outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, batch_size: int | None, place: Path | None
    ):
        self.model, self.samples, self.place = (outputs, loss, whole(params)), (x, y), place
        self.count = len(jax.tree.leaves(y)[0])
        marked = evenly(min(_MARKED, self.count), self.count)
        some = jax.tree.map(lambda leaf: leaf[marked], self.samples)
        self.head = sample_sum(*self.model, some[0], some[1], batch_size, None, of=self.count)
        self.start = self.head.way.start
        self.mark = replace(self.head, size=self.head.count).mark()  # of the same samples, whatever a chunk is
        identity = replace(self.head, arguments={"params": params, "x": x, "y": y}).identity()
        # Sums of other chunks are as good.
        self.identity = {name: value for name, value in identity.items() if name not in ("batch_size", "rows")}
        if len({str(one) for one in _gathered(self.identity)}) > 1:
            raise ValueError(
                "All processes must take the Hessian of the same samples in the same way, but they differ; start them "
                "with the same versions, data and free memory."
            )

    def run(self, one: Range, moved: Callable[[int], None]) -> Any:
        """The sums over a range, kept in its file while they grow."""
        devices = team.devices if (one.end - one.begin) % team.devices == 0 else 1
        with on_no_mesh() if devices > 1 else contextlib.nullcontext():
            return jax.tree.map(np.asarray, self._run(self._summed(one, devices), one, moved))

    def _run(self, summed: SampleSum, one: Range, moved: Callable[[int], None]) -> Any:
        saved = None if self.place is None else self._file(_path(self.place, one))
        carried = summed.way.start
        for begin in range(0, summed.count, summed.size):
            carried = jax.block_until_ready(summed.add(carried, begin))
            done = min(begin + summed.size, summed.count) * summed.shares
            if saved is not None:
                state = partial(_state, summed, carried, done)
                saved.save(state, last=done == one.end - one.begin)
            moved(done)
        return summed.total(carried)

    def held(self) -> list[_Held]:
        """What files have; those that are damaged are put aside."""
        found: list[_Held] = []
        for path, begin in [] if self.place is None else _paths(self.place):
            try:
                saved = self._file(path) if path != self.place else self._whole(path)
                state = saved.restore({"state": self.start, "samples": 0})
            except files.DamagedError as error:
                if isinstance(error, NoCheckpointError) and path == self.place:  # a file of the user's
                    raise
                with contextlib.suppress(FileNotFoundError):  # another process was quicker
                    aside = files.put_aside(path)
                    warnings.warn(f"{path} is damaged: {error.reason}; kept as {aside.name}", stacklevel=2)
                continue
            if state is not None:
                found.append(_Held(Range(begin, begin + state["samples"]), saved))
        return found

    def restored(self, one: _Held) -> Any:
        """The sums in a file."""
        state = one.checkpoint.restore({"state": self.start, "samples": 0})
        assert state is not None
        return state["state"]

    def _file(self, path: Path) -> Checkpoint:
        return Checkpoint(path, self.identity, fingerprint=self.mark)

    def _whole(self, path: Path) -> Checkpoint:
        """The file of a process that was alone."""
        return sample_sum(*self.model, *self.samples, stored_identity(path).get("batch_size"), None).checkpoint(path)

    def _summed(self, one: Range, devices: int) -> SampleSum:
        """The sum over a range, with chunks of neighbours on some devices, so that what is done is always a range."""
        each = (one.end - one.begin) // devices
        size = min(self.head.planned.samples, each)
        chunks = [np.arange(at, min(at + size, each)) for at in range(0, each, size)]
        places = [(at[0] * devices + np.arange(len(at) * devices)).reshape(devices, -1) for at in chunks]
        order = one.begin + np.concatenate(places, axis=1).ravel()
        own = over_devices(jax.tree.map(lambda leaf: leaf[order], self.samples), devices)
        outputs, loss, params = self.model
        spread = spread_of(*own)
        params = params if spread is None else off_mesh(params)
        return sample_sum(outputs, loss, params, own[0], own[1], size, None, spread=spread, of=self.count)


def _state(summed: SampleSum, carried: Any, done: int) -> dict[str, Any]:
    return {"state": summed.total(carried), "samples": done}


def _sum(one: Any, other: Any) -> Any:
    """On the host, since sums of several devices lie on a mesh of theirs."""
    return jax.tree.map(lambda a, b: a + np.asarray(b), one, other)


def _path(place: Path, one: Range) -> Path:
    return place.with_name(f"{one.begin}-{one.end}_{place.name}")


def _paths(place: Path) -> list[tuple[Path, int]]:
    """Files that a split has left, and the sample that each begins with."""
    named = ((path, re.match(r"(\d+)-\d+_", path.name)) for path in sorted(place.parent.glob(f"*_{place.name}")))
    ranges = [(path, int(name[1])) for path, name in named if name]
    return [(place, 0)] * place.is_file() + ranges


def _gathered(value: Any) -> list[Any]:
    return hosts.gather(value) if team.together is not None else [value]


def _index() -> int:
    return team.index if team.together is not None else 0
