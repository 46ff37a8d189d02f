"""The command `qjaxsim compare`: runs of one study side by side."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from qjaxsim.studies.shared.options import check_output, command_line, keep, own_folder


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Results folders of one study; others are compared with A.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where page and figure go. [default: runs/compare/TIME]")
    ] = None,
) -> None:
    """Set two or more runs of a study side by side: settings that differ, results with differences and ratios.

    Prints the headline column; all numbers, a figure and links to the runs' own reports are in compare.html.
    """
    from qjaxsim.report.tables import print_table
    from qjaxsim.studies.shared.run import load_run
    from qjaxsim.studies.shared.side_by_side import side_by_side, write_page

    with own_folder("compare") if out is None else nullcontext(out) as folder:
        check_output(folder, "folder")
        found = side_by_side([load_run(run) for run in runs])
        page = write_page(found, folder, command_line())
    keep(
        runs=found.overview, settings=found.settings, versions=found.versions, keys=found.keys,
        headline=found.headline, results=found.results, page=page,
    )  # fmt: skip
    print_table(found.overview, keys=("run",), title="Runs")
    for rows, title in ((found.settings, "Settings that differ"), (found.versions, "Versions that differ")):
        if rows:
            print_table(rows, title=title, keys=tuple(rows[0])[:1])
        else:
            print(f"{title}: none\n")
    if found.headline is not None:
        print_table(found.short, title=f"Column {found.headline}", keys=found.keys)
    print(f"all numbers, figure and links in {page}")
