"""Tables of kept runs and of verdicts on the pages of results, from the files in `benchmarks/results/`.

python -m docs.make.results
"""

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from docs.make.pages import DOCS

KEPT = DOCS.parent / "benchmarks" / "results"
_PLACE = re.compile(r"(<!-- verdicts: ([-\w]+)((?: \w[^ ]*)*) -->\n).*?(<!-- end of verdicts -->)", flags=re.DOTALL)
_NOT_TESTED = "not tested here"


class Run(NamedTuple):
    """A kept run.

    Attributes:
        command: what made it.
        note: what its file says of it.
        rows: its rows.
        verdicts: those that its file holds; empty where rules are to be asked.
    """

    command: str
    note: str
    rows: list[dict[str, Any]]
    verdicts: list[Mapping[str, str]]


def page_with_tables(text: str) -> str:
    """A page of results with the tables between its marks made anew.

    A mark names a study, as its package (`-` asks for no verdicts), and files, each followed by `:N` for one of a list
    of runs or by `:NAME` for one of several studies.
    """
    return _PLACE.sub(lambda found: f"{found[1]}{_tables(found[2], found[3].split())}{found[4]}", text)


def _tables(study: str, names: list[str]) -> str:
    runs = {name: _read(name) for name in names}
    kept = [_kept_row(name, run) for name, run in runs.items()]
    head = "\n| kept in `benchmarks/results/` | command | seeds | what |\n|---|---|---|---|\n"
    found = [row for run in runs.values() for row in _verdicts(study, run)]
    claims = "\n| claim | verdict | ours | tested by | source |\n|---|---|---|---|---|\n"
    return head + "".join(kept) + (claims + "".join(found) if found else "") + "\n"


def _read(name: str) -> Run:
    stem, _, which = name.partition(":")
    content = json.loads((KEPT / f"{stem}.json").read_text(encoding="utf-8"))
    if isinstance(content, list):
        content = content[int(which or 0)]
    elif which:
        content = content["studies"][which]
    # Rules are for whole grids, so a piece that was cut short is named and not judged.
    whole = [piece for piece in content.get("pieces", []) if piece["finished"] == piece["cells"]]
    rows = content.get("rows") or [row for piece in whole for row in piece["rows"]]
    return Run(content["command"], content.get("note", ""), rows, content.get("verdicts", []))


def _kept_row(name: str, run: Run) -> str:
    seeds = sorted({row["seed"] for row in run.rows if isinstance(row.get("seed"), int)})
    cells = (f"`{name.partition(':')[0]}.json`", f"`{run.command}`", ", ".join(map(str, seeds)), run.note)
    return _row(*cells)


def _verdicts(study: str, run: Run) -> list[str]:
    verdicts = run.verdicts or (_judged(study, run.rows) if run.rows and study != "-" else [])
    return [
        _row(each["claim"], f"**{each['verdict']}**", each["evidence"], each["tested_by"], each["source"])
        for each in verdicts
        if each["verdict"] != _NOT_TESTED
    ]


def _judged(study: str, rows: list[dict[str, Any]]) -> list[Mapping[str, str]]:
    """Verdicts by the rules that the study's own report applies."""
    record = import_module(f"qjaxsim.studies.{study}.study").STUDY
    return [verdict._asdict() for verdict in record.claims(record.settings(), rows)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/').replace('<', '&lt;') for cell in cells)} |\n"


def pages_of_results() -> list[Path]:
    """Pages of results, one a study."""
    return sorted(DOCS.glob("results/*.md"))


if __name__ == "__main__":
    for page in pages_of_results():
        page.write_text(page_with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
