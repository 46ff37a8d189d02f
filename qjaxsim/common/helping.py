"""Work of one of several processes that the others help with, and folders that they bring each other.

A process that does not see the disk of another gets what that one has in a folder as bytes.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qjaxsim.common import files
from qjaxsim.common.hosts import gather, team, tell, told, total

# Kinds of files that, beside unfinished work, only their own process goes on with, or nobody.
_OWN = (".tmp", ".lock")


class HelpedError(Exception):
    """The share of a process that only helps is done; the leader goes on alone."""


@contextmanager
def together(folder: Path) -> Iterator[bool]:
    """The leading process at work in a folder, and the others ready to help with its sums.

    Args:
        folder: of the work; with what the leading process has there by the time it calls.

    Yields:
        Whether this process was called, `call_helpers`.
    """
    name, team.together = f"qjaxsim/helpers/{folder.name}", folder
    try:
        called = not team.leads and told(name) == "come"
        if called:
            bring([folder], [0])
        yield called
    finally:
        if team.leads and team.together is not None:
            tell(name, "done")
        team.together = None


def call_helpers() -> None:
    """Let the others come to where this process is; nothing for those."""
    if team.leads and team.together is not None:
        tell(f"qjaxsim/helpers/{team.together.name}", "come")
        bring([team.together], [0])


def dismiss_helpers() -> None:
    """The sums are there: the leading process goes on alone.

    Raises:
        HelpedError: in all others.
    """
    team.together = None
    if not team.leads:
        raise HelpedError


def bring(folders: Sequence[Path], owners: Sequence[int | None]) -> None:
    """Let all have what a process has in a folder; on a common disk they have it already. All must ask.

    Args:
        folders: the same on all processes, each below a results folder of their own or a common one.
        owners: process whose folder it is; None to leave it.
    """
    listings = gather([_listing(folder) for folder in folders])
    for place, (folder, owner) in enumerate(zip(folders, owners, strict=True)):
        if owner is None:
            continue
        wanted = listings[owner][place].items()
        if all(wanted <= listing[place].items() for listing in listings):
            continue
        content = _packed(folder, listings[owner][place]) if team.index == owner else b""
        (size,) = {found for found in gather(len(content)) if found}
        received = total(_bytes(content, size))
        if not wanted <= listings[team.index][place].items():
            _unpack(bytes(received), folder)


def _bytes(content: bytes, size: int) -> Any:
    import numpy as np

    return np.frombuffer(content or bytes(size), np.uint8)


def _listing(folder: Path) -> dict[str, int]:
    """Sizes of files in a folder and below."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    brought = (path for path in found if path.suffix not in _OWN and not path.stem.endswith(files.SO_FAR))
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in brought}


def _packed(folder: Path, names: Sequence[str] | dict[str, int]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in sorted(names, key=lambda name: "/" not in name):  # what says that all is there comes last
            archive.add(folder / name, name)
    return packed.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            packed = archive.extractfile(tarfile.data_filter(member, str(folder)))  # refuses names outside
            if packed is not None:
                files.write_bytes(folder / member.name, packed.read())
