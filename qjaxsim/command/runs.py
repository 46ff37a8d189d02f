"""The command `qjaxsim runs`: which results folders there are."""

from pathlib import Path
from typing import Annotated, Any

import typer

from qjaxsim.studies.shared.options import keep, print_wrapped

_SHOWN = ("study", "began", "state", "headline", "path", "changed")
_SORTED = ("began", "study", "headline", "state", "path")
# Folders without results that are named.
_NAMED = 5


def runs(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="[DIR...]", help="[default: runs]")] = None,
    study: Annotated[str | None, typer.Option(help="Only runs of this study.")] = None,
    sort: Annotated[
        str, typer.Option(help="By began or headline, largest first, or by study, state or path.")
    ] = "began",
) -> None:
    """List the results folders in DIR and below: study, time, settings given, headline number, state.

    The headline is the study's most telling column in the first table of its page, least to largest.
    `qjaxsim.load_run(PATH)` opens a run in Python, `qjaxsim compare PATH PATH` sets runs side by side.
    """
    from qjaxsim.common.checks import require_one_of
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.shared.catalogue import study_names
    from qjaxsim.studies.shared.listing import list_runs

    require_one_of("sort", sort, _SORTED)
    if study is not None:
        require_one_of("study", study, study_names())
    found = list_runs(folders or [path for path in [Path("runs")] if path.is_dir()])
    rows = sorted((row for row in found.rows if study in (None, row["study"])), key=lambda row: _place(row, sort))
    keep(runs=[{**row, "headline": row["headline"] and row["headline"]._asdict()} for row in rows], others=found.others)
    if rows:
        print_table([_in_words(row) for row in rows], _SHOWN, keys=("path",))
    else:
        print(f"No runs{f' of {study}' if study else ''} in {', '.join(map(str, folders or ())) or 'runs'} or below.")
    for other in found.others[:_NAMED]:
        print_wrapped(f"passed over {other['path']}: {other['reason']}")
    if len(found.others) > _NAMED:
        print(f"passed over {len(found.others) - _NAMED} more; --json names them")


def _place(row: dict[str, Any], sort: str) -> Any:
    """What rows are sorted by; those that are equal in it stay the newest first."""
    if sort == "began":
        return ()  # as they come
    if sort != "headline":
        return row[sort]
    # Numbers of different columns are not compared, and runs without one come last.
    return (row["headline"].column, -row["headline"].largest) if row["headline"] else ("~",)


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    from qjaxsim.studies.shared.beside import changed_in_words

    return {
        **row,
        "began": row["began"][:16].replace("T", " "),
        "headline": None if row["headline"] is None else str(row["headline"]),
        "changed": changed_in_words(row["changed"]),
    }
