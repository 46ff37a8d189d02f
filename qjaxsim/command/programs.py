"""Compiled programs kept on disk between commands, so that a second run of a study does not compile again.

JAX keeps them (its persistent compilation cache); here is decided where, and for whom. A program that is read back is
the one that was written: results are equal bit for bit. The cache only saves time: without it, or with a damaged one,
everything runs as before.
"""

import functools
import hashlib
import os
import platform
import stat
import sys
from pathlib import Path

from qjaxsim.common.cache import cache_folder

OFF = "off"
VARIABLE = "QJAXSIM_PROGRAMS"
MOST_BYTES = 2**30
# What JAX says of a file that is cut short; it then compiles.
UNREADABLE = "Error reading persistent compilation cache entry"
UNWRITABLE = "Error writing persistent compilation cache entry"
_SUFFIX = "-cache"
_JAX = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}


def keep_programs(place: str | None = None) -> Path | None:
    """The folder that JAX will keep compiled programs in; None where none are kept.

    Has an effect before JAX is imported only, and nothing is done after that.

    Args:
        place: a folder, or "off"; default the variable `QJAXSIM_PROGRAMS`, else JAX's own `JAX_COMPILATION_CACHE_DIR`,
            else `programs` in the user's cache folder.

    Raises:
        ValueError: if `place` is no folder that this user alone writes to: whoever writes there decides what runs.
    """
    if "jax" in sys.modules:
        return None
    chosen = place or os.environ.get(VARIABLE)
    if chosen == OFF:
        forget_programs()
        return None
    if chosen is None and "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    folder = (Path(chosen) if chosen else cache_folder() / "programs") / _machine()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _untrusted(folder)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason and chosen:
        what = "Option --programs" if place else f"Variable {VARIABLE}"
        raise ValueError(f"{what} must name a folder of your own, or off, but is {chosen!r}: {reason}.")
    if reason:
        return None
    os.environ.update({"JAX_COMPILATION_CACHE_DIR": str(folder)}, **{k: os.environ.get(k, v) for k, v in _JAX.items()})
    return folder


def forget_programs() -> None:
    """Neither read nor keep programs in this process and those that it starts, as a measurement of compiling needs.

    Like `keep_programs` only before JAX is imported: a process that runs it already is not the command's own.
    """
    if "jax" not in sys.modules:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def tidy(folder: Path, *, damaged: bool) -> None:
    """Remove what was used longest ago beyond `MOST_BYTES`, or everything where a file turned out damaged."""
    try:
        with os.scandir(folder) as entries:
            kept = [(entry.path, entry.stat()) for entry in entries if entry.name.endswith(_SUFFIX)]
    except OSError:
        return
    kept.sort(key=lambda one: max(one[1].st_atime, one[1].st_mtime), reverse=True)
    total = 0
    for path, found in kept:
        total += found.st_size
        if damaged or total > MOST_BYTES:
            Path(path).unlink(missing_ok=True)


def _untrusted(folder: Path) -> str:
    """Why programs from a folder must not be run; empty if they may."""
    if not hasattr(os, "getuid"):
        return ""
    found = folder.stat()
    if found.st_uid != os.getuid():
        return f"{folder} belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {folder}"
    if not os.access(folder, os.W_OK):
        return f"{folder} is write-protected"
    return ""


@functools.cache
def _machine() -> str:
    """Name of a folder for processors like this one: a program for another may use instructions that this one lacks."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kind = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        kind = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(kind.encode()).hexdigest()[:12]}"
