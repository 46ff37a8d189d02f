"""Tables of kept runs and of verdicts on the pages of results, from the files in `benchmarks/results/`.

python -m docs.make.results
"""

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer

from docs.make.pages import DOCS
from qjaxsim.command.app import app
from qjaxsim.command.messages import called
from qjaxsim.studies.shared.command import chosen_from

KEPT = DOCS.parent / "benchmarks" / "results"
_PLACE = re.compile(r"(<!-- verdicts: ([-\w]+)((?: \w[^ ]*)*) -->\n).*?(<!-- end of verdicts -->)", flags=re.DOTALL)
_NOT_TESTED = "not tested here"
_CLAIMS = ("run", "claim", "verdict", "ours", "tested by", "source")


class Run(NamedTuple):
    """A kept run.

    Attributes:
        command: what made it.
        note: what its file says of it.
        rows: its rows.
        verdicts: those that its file holds; empty where rules are to be asked.
        settings: those that its file holds.
        environment: versions and device, where its file has them.
        in_pieces: whether its file is one of published runs, whose note says how long the whole took.
    """

    command: str
    note: str
    rows: list[dict[str, Any]]
    verdicts: list[Mapping[str, str]]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    in_pieces: bool


def page_with_tables(text: str) -> str:
    """A page of results with the tables between its marks made anew.

    A mark names a study, as its package (`-` asks for no verdicts), and files, each followed by `:N` for one of a list
    of runs or by `:NAME` for one of several studies.
    """
    return _PLACE.sub(lambda found: f"{found[1]}{_tables(found[2], found[3].split())}{found[4]}", text)


def _tables(study: str, names: list[str]) -> str:
    runs = {name: _read(name) for name in names}
    found = [(str(at), *row) for at, run in enumerate(runs.values(), 1) for row in _verdicts(study, run)]
    claims = {name: list(cells) for name, cells in zip(_CLAIMS, zip(*found, strict=True), strict=False)}
    if len(runs) == 1:
        claims.pop("run", None)
    judged = f'\n<div class="verdicts" markdown>\n{_table(claims)}\n</div>\n' if claims else ""
    return f'\n<div class="kept" markdown>\n{_table_of_kept(runs)}\n</div>\n{judged}\n'


def _read(name: str) -> Run:
    stem, _, which = name.partition(":")
    content = json.loads((KEPT / f"{stem}.json").read_text(encoding="utf-8"))
    whole = content if isinstance(content, dict) else {}
    if isinstance(content, list):
        content = content[int(which or 0)]
    elif which:
        content = content["studies"][which]
    environment = content.get("environment") or whole.get("versions", {})
    settings = content.get("settings", {})
    note = content.get("note") or whole.get("machine", "")
    rows = content.get("rows", [])
    in_pieces = "pieces" in content
    if in_pieces:
        rows = [row for piece in _judged_pieces(content["pieces"]) for row in piece["rows"]]
        if any(piece["name"] for piece in content["pieces"]):
            settings = {"seeds": []}  # but for those of the rows
    return Run(content["command"], note, rows, content.get("verdicts", []), settings, environment, in_pieces)


def _judged_pieces(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces that rules may speak of: whole ones, of configurations that have as many seeds as any other."""
    whole = [piece for piece in pieces if piece["finished"] == piece["cells"]]
    seeds: dict[str, set[Any]] = {}
    for piece in whole:
        seeds.setdefault(_configuration(piece), set()).update(row.get("seed") for row in piece["rows"])
    most = max(map(len, seeds.values()), default=0)
    return [piece for piece in whole if len(seeds[_configuration(piece)]) == most]


def _configuration(piece: dict[str, Any]) -> str:
    """The name of a piece without its seed."""
    seeds = {str(row.get("seed")) for row in piece["rows"]}
    return "-".join(part for part in piece["name"].split("-") if part not in seeds)


def _table_of_kept(runs: Mapping[str, Run]) -> str:
    """A row for each run; columns of which nothing is known are left out."""
    columns = {
        "kept in `benchmarks/results/`": [f"`{name.partition(':')[0]}.json`" for name in runs],
        # With their words, since on a phone a row is a card without headings.
        "run": [f"run {at}" for at in range(1, len(runs) + 1)] if len(runs) > 1 else [""],
        "command": [f"`{run.command}`" for run in runs.values()],
        "seeds": [_said(_seeds(run)) for run in runs.values()],
        "time on two cores": [_time(run) for run in runs.values()],
        "what": [_what(run) for run in runs.values()],
    }
    return _table({name: cells for name, cells in columns.items() if any(cells)})


def _what(run: Run) -> str:
    """The file's note, and that a command was run by the key where it names several, of which it takes one."""
    several = re.search(r" --key [^ ]+,", run.command)
    return f"{run.note} One run for each `--key`." if several else run.note


def _table(columns: Mapping[str, list[str]]) -> str:
    rows = [_row(*cells) for cells in zip(*columns.values(), strict=True)]
    return "\n" + _row(*columns) + "|---" * len(columns) + "|\n" + "".join(rows)


def _seeds(run: Run) -> list[int]:
    """Seeds of the rows and of the file or the command; where neither names any, the study's own."""
    words = run.command.split()
    given = run.settings.get("seeds")
    if given is None:
        named = "--seeds" in words
        own = getattr(_record(words[2]).settings(), "seeds", ())
        given = words[words.index("--seeds") + 1].split(",") if named else own
    rows = [row["seed"] for row in run.rows if isinstance(row.get("seed"), int)]
    return sorted({*map(int, given), *rows})


def _said(seeds: list[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""


def _time(run: Run) -> str:
    """What the rows took together, where they say so, know of the whole, and no accelerator helped."""
    if run.in_pieces or run.environment.get("backend", "cpu") != "cpu" or "seconds say nothing" in run.note:
        return ""
    seconds = sum(row.get(name) or 0 for row in run.rows for name in ("seconds", "seconds_train", "seconds_hessian"))
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s" if seconds else ""


def versions_of_kept(text: str) -> list[str]:
    """What the kept runs of a page of results were made with; files are named where not all say the same."""
    files: dict[str, list[str]] = {}
    for name in (name for found in _PLACE.finditer(text) for name in found[3].split()):
        made = _read(name).environment
        versions = f"qjaxsim {made['qjaxsim']}, JAX {made['jax']}, Python {made['python']}" if made else ""
        files.setdefault(versions, []).append(f"`{name.partition(':')[0]}.json`")
    named = {
        versions: f" ({', '.join(dict.fromkeys(each))})" if len(files) > 1 else "" for versions, each in files.items()
    }
    return [versions + where for versions, where in named.items() if versions]


def _verdicts(study: str, run: Run) -> list[tuple[str, ...]]:
    verdicts = run.verdicts or (_judged(study, run) if run.rows and study != "-" else [])
    return [
        (each["claim"], f"**{each['verdict']}**", each["evidence"], each["tested_by"], each["source"])
        for each in verdicts
        if each["verdict"] != _NOT_TESTED
    ]


def _judged(study: str, run: Run) -> list[Mapping[str, str]]:
    """Verdicts by the rules that the study's own report applies."""
    record = _record(study)
    return [verdict._asdict() for verdict in record.claims(_typed(record.settings, run.command), run.rows)]


def _typed(settings: type, command: str) -> Any:
    """The settings of `qjaxsim study NAME ...`."""
    _, *words = command.split()
    path, program = called(typer.main.get_command(app), words)
    given = program.make_context(path, words[len(path.split()) :]).params
    return settings(**chosen_from(settings, given))


def _record(study: str) -> Any:
    return import_module(f"qjaxsim.studies.{study.replace('-', '_')}.study").STUDY


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/').replace('<', '&lt;') for cell in cells)} |\n"


def pages_of_results() -> list[Path]:
    """Pages of results, one a study."""
    return sorted(DOCS.glob("results/*.md"))


if __name__ == "__main__":
    for page in pages_of_results():
        page.write_text(page_with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
