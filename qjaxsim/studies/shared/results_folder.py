"""A results folder: claimed by one process at a time, recognised by its configuration, taken up again only by it."""

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from qjaxsim.common import files, interrupts

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

CONFIG = "config.json"
_LOCK = ".lock"
_ABSENT = object()
_ENTRIES = {"study": str, "settings": dict, "cells": dict, "environments": list}


class UnreadableError(Exception):
    """The record of a folder is missing or damaged; the message says how."""


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """The folder for this process alone, created when missing. The lock ends with the process, however that ends.

    Args:
        out: the folder.

    Raises:
        ValueError: if it cannot be written, or another process has claimed it.
    """
    try:
        new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        lock = _lock(out)
    except FileExistsError as error:
        raise unusable(out, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from error
    except OSError as error:
        raise unusable(out, error) from error
    try:
        with interrupts.cleaned_up((out / _LOCK).unlink):
            yield
    finally:
        # Its name goes before the lock does, so that nobody can lock a file that is about to lose its name.
        with suppress(OSError):
            (out / _LOCK).unlink()
        os.close(lock)
        if new:
            with suppress(OSError):
                out.rmdir()  # empty, when the study was refused before it wrote anything


def entries(out: Path) -> list[str]:
    """Names in the folder, without locks and what killed writers left; none if there is no folder.

    Raises:
        ValueError: if it is no folder, or cannot be read.
    """
    try:
        names = [path.name for path in out.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(out, error) from error
    return [name for name in names if name != _LOCK and not name.endswith(files.TEMPORARY_SUFFIX)]


def open_study(
    out: Path,
    configuration: Mapping[str, Any],
    environment: Mapping[str, Any],
    resume: bool,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Make sure that a study may write into a claimed folder, and record it there.

    Args:
        out: the folder.
        configuration: what two runs must share to be one study.
        environment: versions and device, recorded beside those of earlier runs.
        resume: whether to go on with what the folder holds.
        notes: recorded with the rest, but not compared; those of the first run stay.

    Raises:
        ValueError: if the folder holds results, of a cell that is not finished too, and `resume` is false, or holds
            another study, or cannot be written.
    """
    there = entries(out)
    if there and not resume and not _without_results(out):
        raise holds_results(out)
    recorded = {**(notes or {}), **configuration, "environments": [dict(environment)]}
    if there and resume:
        earlier = _earlier(out)
        _compare(earlier, configuration, out)
        more = [one for one in recorded["environments"] if one not in earlier["environments"]]
        recorded |= {**earlier, "environments": [*earlier["environments"], *more]}
    try:
        # Also the test that the folder can be written, before hours of work.
        files.write_json(out / CONFIG, recorded)
        files.remove_temporaries(out)
    except OSError as error:
        raise unusable(out, error) from error


def _without_results(out: Path) -> bool:
    """Whether the folder holds the record of a study alone, as one that failed at once leaves it."""
    try:
        read_config(out)
    except UnreadableError:
        return False
    return not any(path.name not in (CONFIG, _LOCK) and not path.is_dir() for path in out.rglob("*"))


def in_use(out: Path) -> bool:
    """Whether a process has claimed the folder now; not known, and false, where a file system has no locks."""
    if fcntl is None:
        return False
    try:
        lock = os.open(out / _LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False


def holds_results(out: Path, marker: str = CONFIG) -> ValueError:
    """The error of a new run into a folder that is in use; only one with a `marker` file can be gone on with."""
    if (out / marker).is_file():
        return ValueError(
            f"Folder {out} already holds results; pass --resume to go on with it or choose another --out."
        )
    return ValueError(f"Folder {out} holds other things, and no file {marker} to go on with; choose another --out.")


def unusable(out: Path, error: OSError) -> ValueError:
    """The error of a folder that cannot be read or written."""
    reason = error.reason if isinstance(error, files.NotWrittenError) else error.strerror or str(error)
    return ValueError(
        f"Results folder {out} must be a folder that can be written, but: {reason}; choose another --out."
    )


def _lock(out: Path) -> int:
    """A locked file in the folder, as descriptor."""
    path = out / _LOCK
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(lock, path):
                os.ftruncate(lock, 0)
                os.write(lock, str(os.getpid()).encode())
                return lock
        except BlockingIOError as error:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            raise ValueError(
                f"Folder {out} is in use by another process{f' ({holder})' * bool(holder)}; wait until that ends or "
                f"choose another --out."
            ) from error
        except OSError:
            # A file system without locks, as some shared ones are: as it would be without this function.
            return lock
        # The process that had the lock has just deleted it.
        os.close(lock)


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def read_config(out: Path) -> dict[str, Any]:
    """What a study recorded in its folder, of the kinds that it should be of.

    Raises:
        UnreadableError: with the reason.
    """
    try:
        config = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnreadableError("there is none") from error
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is damaged ({error})") from error
    if not isinstance(config, dict) or not config.keys() >= _ENTRIES.keys():
        raise UnreadableError("it lacks entries")
    if wrong := [name for name, kind in _ENTRIES.items() if not isinstance(config[name], kind)]:
        raise UnreadableError(f"its entry {wrong[0]!r} is damaged")
    return config


def newer_version(environment: Mapping[str, Any]) -> str:
    """What to say of a folder that a newer version wrote last, by the environment it recorded; empty for others."""
    wrote, here = str(environment.get("qjaxsim", "")), metadata.version("qjaxsim")
    if _numbers(wrote) <= _numbers(here):
        return ""
    return f"qjaxsim {wrote} wrote it, which is newer than this, {here}; install that one"


def _numbers(version: str) -> tuple[int, ...]:
    """The release in numbers, to be compared.

    >>> _numbers("0.10.2.dev1") > _numbers("0.9"), _numbers("")
    (True, ())
    """
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _earlier(out: Path) -> dict[str, Any]:
    try:
        config = read_config(out)
    except UnreadableError as error:
        raise ValueError(
            f"Folder {out} must hold the {CONFIG} of a study to be resumed, but {error}; choose another --out."
        ) from error
    last = config["environments"][-1] if config["environments"] else {}
    if isinstance(last, dict) and (newer := newer_version(last)):
        raise ValueError(
            f"Folder {out} must be of this version or an earlier one to be resumed, but {newer}, or choose another "
            "--out."
        )
    return config


def _compare(earlier: dict[str, Any], now: Mapping[str, Any], out: Path) -> None:
    difference = _first_difference({key: earlier[key] for key in now}, dict(now), "")
    if difference is not None:
        place, old, new = difference
        # In backticks, the command line calls a setting as the option that was typed.
        place = re.sub(r"^settings\.(\w+)$", r"`\1`", place)
        if hashed := re.search(r"(\w+)_sha256`?$", place):
            raise ValueError(
                f"Folder {out} holds a sweep with other content of {hashed[1]} ({place} differs); resume with the same "
                "or choose another --out."
            )
        raise ValueError(
            f"Folder {out} holds a sweep with {place} = {_shortened(old, new)}, but this one has "
            f"{_shortened(new, old)}; resume with the same settings or choose another --out."
        )


def _first_difference(old: Any, new: Any, place: str) -> tuple[str, Any, Any] | None:
    """Name and both values of the first setting that differs, depth first."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            found = _first_difference(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{place}.{key}" if place else key)
            if found is not None:
                return found
        return None
    # As text, because 1, 1.0 and true are equal in Python, but not as settings.
    return None if _shown(old) == _shown(new) else (place, old, new)


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _shortened(value: Any, other: Any, limit: int = 80) -> str:
    """A value as text; of a long one the part where it begins to differ from the other."""
    text = _shown(value)
    if len(text) <= limit:
        return text
    common = len(os.path.commonprefix([text, _shown(other)]))
    start = 0 if common < limit // 2 else common - limit // 2
    part = "..." * (start > 0) + text[start:]
    return part if len(part) <= limit else part[: limit - 3] + "..."
