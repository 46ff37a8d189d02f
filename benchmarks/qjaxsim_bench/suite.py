"""Running the suite: cells in processes of their own, finished ones kept on disk, results collected."""

import datetime
import itertools
import json
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from qjaxsim.common.files import put_aside, write_json, write_text
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.studies.shared.results_folder import entries, holds_results, unusable
from qjaxsim_bench import own
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.groups import Cell, Group, Settings, given_to_make
from qjaxsim_bench.peers import load
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.peers.environments import Environments, describe
from qjaxsim_bench.problem import Problem
from qjaxsim_bench.problems import problem_of
from qjaxsim_bench.tasks import Task

SETTINGS = "settings.json"


def check_names(kind: str, chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The chosen names, or one clear error."""
    unknown = [name for name in chosen if name not in known]
    if unknown:
        close = did_you_mean(unknown[0], known)
        raise ValueError(
            f"Argument `{kind}` names {', '.join(map(repr, unknown))}{close}, but only these exist: {', '.join(known)}."
        )
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(f"Argument `{kind}` must name at least one and none twice, but is {','.join(chosen)!r}.")
    return tuple(chosen)


def cells(settings: Settings, folder: Path) -> list[Cell]:
    """All cells in order, ours before its peers'; of a user's circuit from its file in the results folder."""
    out = []
    for name in settings.problems:
        if name in METRICS:
            out += [Cell(name, size, "double", OURS) for size in METRICS[name].sizes(settings.quick)]
            continue
        problem = problem_of(name)
        sizes = problem.quick if settings.quick else problem.full
        for size in sizes if settings.circuit is None else (settings.circuit,):
            task = problem.make(given_to_make(name, size, folder))
            for dtype in _dtypes(problem, task, settings):
                out += _group(problem, size, dtype, task, settings)
    return out


def _dtypes(problem: Problem, task: Task, settings: Settings) -> tuple[str, ...]:
    both = len(problem.dtypes) > 1
    return ("double",) if settings.quick and both and task.n_qubits < 16 else problem.dtypes


def _group(problem: Problem, size: str, dtype: str, task: Task, settings: Settings) -> list[Cell]:
    peers = [name for name in settings.peers if load(name).supports(task, dtype)]
    if settings.targets:
        targets = [target for target in problem.targets if (target.size, target.dtype) == (size, dtype)]
        if not targets:
            return []
        if all(target.peers for target in targets):
            peers = [name for name in peers if any(name in target.peers for target in targets)]
    return [Cell(problem.name, size, dtype, name) for name in (OURS, *peers)]


def begin(folder: Path, settings: Settings, resume: bool, circuit: own.OwnCircuit | None = None) -> None:
    """Make a claimed folder ready for a run.

    Args:
        folder: of results.
        settings: of the run.
        resume: whether it holds a run to go on with.
        circuit: the user's, which is written there.

    Raises:
        ValueError: if it holds another run, or cannot be written.
    """
    path = folder / SETTINGS
    now = json.loads(json.dumps(asdict(settings)))
    if not resume and entries(folder):
        raise holds_results(folder, SETTINGS)
    if resume:
        before = _recorded(path)
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise ValueError(f"Cannot resume {folder}: {', '.join(changed)} differ from its run; use the same options.")
        if circuit is not None and circuit.text != _content(folder / own.FILE):
            raise ValueError(
                f"Cannot resume {folder}: the circuit, its parameters or the observable differ from its run; use the "
                f"same."
            )
    try:
        if circuit is not None:
            write_text(folder / own.FILE, circuit.text)
        write_json(path, now)
    except OSError as error:
        raise unusable(folder, error) from error


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _recorded(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"Folder {path.parent} must hold the {path.name} of a run to be resumed, but it cannot be read; choose "
            f"another --out."
        ) from error


def run(
    settings: Settings, folder: Path, report: Callable[[Cell], None], environments: Environments | None = None
) -> dict[str, Any]:
    """Run all cells that have no result yet and collect everything.

    Args:
        settings: what to run.
        folder: where results go; cells found there are not run again.
        report: called before each cell.
        environments: of simulators that have one of their own.

    Returns:
        The record that `bench.json` holds.
    """
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / "references").mkdir(exist_ok=True)
    places = environments or Environments({})
    rows = []
    for _, group in itertools.groupby(cells(settings, folder), lambda cell: (cell.problem, cell.size, cell.dtype)):
        with Group(settings, folder, places) as open_group:
            for cell in group:
                report(cell)
                path = folder / "cells" / f"{cell.name}.json"
                found = _finished(path)
                if found is None:
                    found = json.loads(json.dumps(open_group.run(cell)))
                    write_json(path, found)
                rows.append({**asdict(cell), **found})
    shutil.rmtree(folder / "references")
    peers = {name: describe(name, places) for name in (OURS, *settings.peers)}
    return {"settings": asdict(settings), "machine": machine(), "peers": peers, "cells": rows}


def _finished(path: Path) -> dict[str, Any] | None:
    """The result of a cell, None if it has to run: it has not, or its file is damaged."""
    if path.is_dir():
        put_aside(path)
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None
    return found if "status" in found else None


def machine() -> dict[str, Any]:
    """Date, processor, number of cores, versions, settings of threads."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("qjaxsim", "jax", "jaxlib", "numpy")},
        "threads": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "XLA_FLAGS") if name in os.environ},
    }
