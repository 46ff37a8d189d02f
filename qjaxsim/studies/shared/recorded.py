"""What a results folder says of the study that wrote it, for those who want its trained models."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qjaxsim.studies.shared import sweep


def recorded_settings(out: str | Path, study: str) -> dict[str, Any]:
    """The settings that a study recorded in its folder, lists as tuples.

    Args:
        out: results folder.
        study: name of the study that must have written it.

    Raises:
        ValueError: if the folder holds no study, or another one.
    """
    try:
        config = json.loads((Path(out) / sweep.CONFIG).read_text(encoding="utf-8"))
        found, settings = config["study"], dict(config["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise ValueError(
            f"Argument `run` must be a results folder of a study, but {out} holds none ({sweep.CONFIG}: {reason})."
        ) from error
    if found != study:
        raise ValueError(f"Argument `run` must be a results folder of the study {study!r}, but {out} holds {found!r}.")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def choose_finished(out: str | Path, keys: Sequence[str], key: str | None) -> str:
    """A finished cell: `key` itself, or the first of `keys` for None.

    Args:
        out: results folder.
        keys: cells that may be chosen.
        key: the one asked for.

    Raises:
        ValueError: if that is not among them or not finished, naming those that are.
    """
    finished = [name for name in keys if sweep.finished(out, name)]
    if key is None and finished:
        return finished[0]
    if key not in finished:
        raise ValueError(
            f"Argument `cell` must be a finished cell of {out} with a trained model "
            f"({', '.join(finished) or 'there is none yet'}), but is {key!r}."
        )
    return key
