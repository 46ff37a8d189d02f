"""What a results folder says of the study that wrote it, read back with checks."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qjaxsim.studies.shared import results_folder, sweep


class NoResultsError(ValueError):
    """A folder cannot be read as results of a study; `reason` says why in a few words."""

    def __init__(self, folder: Path, reason: str):
        super().__init__(f"Argument `folder` must be a results folder of a study, but {folder} holds none ({reason}).")
        self.reason = reason


@dataclass(frozen=True)
class Recorded:
    """The record of one run.

    Attributes:
        study: its name.
        settings: every setting with its value, and what else decided the results; lists as tuples.
        cells: key -> what distinguishes the cell.
        changed: settings that were given and are not their defaults; None where a version before did not record them.
        began: when it was first started; of such a version, when it was last.
        versions: versions and device of its last start.
    """

    study: str
    settings: dict[str, Any]
    cells: dict[str, dict[str, Any]]
    changed: dict[str, Any] | None
    began: datetime.datetime
    versions: dict[str, Any]


def read_recorded(folder: Path) -> Recorded:
    """The record of a results folder.

    Raises:
        NoResultsError: if there is none, it is damaged, or a newer version wrote it.
    """
    try:
        config = results_folder.read_config(folder)
    except results_folder.UnreadableError as error:
        raise NoResultsError(folder, f"{sweep.CONFIG}: {error}") from error
    versions = config["environments"][-1] if config["environments"] else {}
    cells, changed = config["cells"], config.get("changed")
    if not all(sweep.is_key(key) and isinstance(cell, dict) for key, cell in cells.items()):
        raise NoResultsError(folder, f"the cells in its {sweep.CONFIG} are damaged")
    if not isinstance(versions, dict) or not isinstance(changed, dict | None):
        raise NoResultsError(folder, f"its {sweep.CONFIG} is damaged")
    if newer := results_folder.newer_version(versions):
        raise NoResultsError(folder, newer)
    return Recorded(
        config["study"],
        _with_tuples(config["settings"]),
        cells,
        None if changed is None else _with_tuples(changed),
        _began(config, folder),
        versions,
    )


def now() -> str:
    """The time, as it is recorded."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _began(config: dict[str, Any], folder: Path) -> datetime.datetime:
    """In local time."""
    try:
        return datetime.datetime.fromisoformat(config["began"]).astimezone()
    except (KeyError, TypeError, ValueError, OverflowError):
        return datetime.datetime.fromtimestamp((folder / sweep.CONFIG).stat().st_mtime).astimezone()


def _with_tuples(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
