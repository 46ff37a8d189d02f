"""Running the suite: cells in processes of their own, finished ones kept on disk, results collected."""

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from qjaxsim.common import interrupts
from qjaxsim.common.files import write_json
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.studies.shared.results_folder import entries, unusable
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.peers import MODULES, load
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.problems import PROBLEMS, Problem

SETTINGS = "settings.json"


@dataclass(frozen=True)
class Settings:
    """What a run covers.

    Attributes:
        problems: names, in order.
        peers: names of the simulators beside ours.
        quick: small sizes, ending within five minutes.
        seconds: time spent on repeated calls of a cell.
        timeout: seconds after which a cell is stopped.
    """

    problems: tuple[str, ...]
    peers: tuple[str, ...]
    quick: bool
    seconds: float
    timeout: float


@dataclass(frozen=True)
class Cell:
    """One computation by one simulator."""

    problem: str
    size: str
    dtype: str
    peer: str

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.problem}-{self.size}-{self.dtype}-{self.peer}"


def default_peers() -> tuple[str, ...]:
    """All simulators but ours."""
    return tuple(name for name in MODULES if name != OURS)


def check_names(kind: str, chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The chosen names, or one clear error."""
    unknown = [name for name in chosen if name not in known]
    if unknown:
        close = did_you_mean(unknown[0], known)
        raise ValueError(
            f"Argument `{kind}` names {', '.join(map(repr, unknown))}{close}, but only these exist: {', '.join(known)}."
        )
    if not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(f"Argument `{kind}` must name at least one and none twice, but is {','.join(chosen)}.")
    return tuple(chosen)


def cells(settings: Settings) -> list[Cell]:
    """All cells in order, ours before its peers'."""
    out = []
    for name in settings.problems:
        if name in METRICS:
            out += [Cell(name, size, "double", OURS) for size in METRICS[name].sizes(settings.quick)]
            continue
        problem = PROBLEMS[name]
        for size in problem.quick if settings.quick else problem.full:
            out += _cells_of_size(problem, size, settings)
    return out


def _cells_of_size(problem: Problem, size: str, settings: Settings) -> list[Cell]:
    task = problem.make(size)
    dtypes = problem.dtypes
    if settings.quick and len(dtypes) > 1:
        dtypes = ("double",) if task.n_qubits < 16 else dtypes
    out = [Cell(problem.name, size, dtype, OURS) for dtype in dtypes]
    for name in settings.peers:
        peer = load(name)
        out += [Cell(problem.name, size, dtype, name) for dtype in dtypes if peer.supports(task, dtype)]
    return out


def begin(folder: Path, settings: Settings, resume: bool) -> None:
    """Make a claimed folder ready for a run.

    Raises:
        ValueError: if it holds another run, or cannot be written.
    """
    path = folder / SETTINGS
    now = json.loads(json.dumps(asdict(settings)))
    if not resume and entries(folder):
        raise ValueError(
            f"Folder {folder} already holds results; pass --resume to go on with it or choose another --out."
        )
    if resume:
        before = _recorded(path)
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            raise ValueError(f"Cannot resume {folder}: {', '.join(changed)} differ from its run; use the same options.")
    try:
        write_json(path, now)
    except OSError as error:
        raise unusable(folder, error) from error


def _recorded(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"Folder {path.parent} must hold the {path.name} of a run to be resumed, but it cannot be read; choose "
            f"another --out."
        ) from error


def run(settings: Settings, folder: Path, report: Callable[[Cell], None]) -> dict[str, Any]:
    """Run all cells that have no result yet and collect everything.

    Args:
        settings: what to run.
        folder: where results go; cells found there are not run again.
        report: called before each cell.

    Returns:
        The record that `bench.json` holds.
    """
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / "references").mkdir(exist_ok=True)
    planned = cells(settings)
    rows = []
    for cell in planned:
        path = folder / "cells" / f"{cell.name}.json"
        report(cell)
        found = _finished(path)
        if found is None:
            found = json.loads(json.dumps(run_cell(cell, settings, folder)))
            write_json(path, found)
        rows.append({**asdict(cell), **found})
    shutil.rmtree(folder / "references")
    return {"settings": asdict(settings), "machine": machine(), "peers": _peers(settings), "cells": rows}


def _finished(path: Path) -> dict[str, Any] | None:
    """The result of a cell, None if it has to run: it has not, or its file is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def run_cell(cell: Cell, settings: Settings, folder: Path) -> dict[str, Any]:
    """One cell in its own process: times, or a status and the reason why there are none."""
    missing = missing_package(cell.peer)
    if missing:
        return {"status": "not installed", "reason": f"{missing} is not installed"}
    reference = folder / "references" / f"{cell.problem}-{cell.size}-{cell.dtype}.npy"
    if cell.peer != OURS and not reference.exists():
        # Ours was run before an interruption, or has failed: its result is needed again.
        own = _call(Cell(cell.problem, cell.size, cell.dtype, OURS), reference, settings.timeout, 0.0)
        if own["status"] != "ok":
            return {"status": "failed", "reason": "there is no result of ours to compare with"}
    return _call(cell, reference, settings.timeout, settings.seconds)


def _call(cell: Cell, reference: Path, timeout: float, seconds: float) -> dict[str, Any]:
    module = "flat" if cell.problem in METRICS else "cell"
    command = [sys.executable, "-m", f"qjaxsim_bench.{module}", cell.problem, cell.size, cell.dtype, cell.peer]
    command += [str(reference.resolve()), str(reference.resolve()), str(seconds)]
    search = os.pathsep.join(str(path) for path in sys.path if path)
    try:
        with (
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": search},
            ) as process,
            interrupts.cleaned_up(process.kill),
        ):
            try:
                printed, _ = process.communicate(timeout=timeout)
            finally:
                process.kill()
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "reason": f"not done within {timeout:g} s"}
    lines = printed.strip().splitlines()
    if process.returncode or not lines:
        return {"status": "failed", "reason": f"the process ended with exit code {process.returncode}"}
    return json.loads(lines[-1])


def missing_package(peer: str) -> str | None:
    """The first distribution that a peer needs and that is not installed."""
    for package in load(peer).packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            return package
    return None


def _peers(settings: Settings) -> dict[str, Any]:
    """Version and settings of every simulator."""
    out = {}
    for name in (OURS, *settings.peers):
        peer = load(name)
        versions: dict[str, str | None] = {}
        for package in peer.packages:
            try:
                versions[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                versions[package] = None
        out[name] = {"settings": peer.settings, "precisions": list(peer.dtypes), "versions": versions}
    return out


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
