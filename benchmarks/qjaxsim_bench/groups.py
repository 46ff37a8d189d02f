"""A group of cells: one problem, size and precision, by ours and then by each peer in turns with ours."""

import json
import statistics
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qjaxsim.common import interrupts
from qjaxsim_bench import own
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.peers.environments import Environments
from qjaxsim_bench.problems import problem_of
from qjaxsim_bench.turns import Ended, Worker, in_turns, started

# First calls that took more times the seconds of a cell are not repeated.
_PATIENCE = 5


@dataclass(frozen=True)
class Settings:
    """What a run covers.

    Attributes:
        problems: names, in order.
        peers: names of the simulators beside ours.
        quick: small sizes, ending within five minutes.
        seconds: time spent on repeated calls of a cell.
        timeout: seconds after which a cell is stopped.
        targets: whether only what targets speak of is run.
        circuit: name of the circuit that the problems are about where it is the user's.
    """

    problems: tuple[str, ...]
    peers: tuple[str, ...]
    quick: bool
    seconds: float
    timeout: float
    targets: bool = False
    circuit: str | None = None


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


class Group:
    """The cells of one problem, size and precision. Ours is started once, when a cell first needs it, and stays warm.

    Args:
        settings: of the run.
        folder: of the run; the results to compare with lie in its `references`.
        environments: of simulators that have one of their own.
    """

    def __init__(self, settings: Settings, folder: Path, environments: Environments) -> None:
        self._settings, self._folder, self._environments = settings, folder, environments
        self._stack = ExitStack()
        self._ours: Worker | None = None

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def run(self, cell: Cell) -> dict[str, Any]:
        """Times of a cell, or a status and the reason why there are none."""
        missing = self._environments.missing(cell.peer)
        if missing:
            return {"status": "not installed", "reason": f"{missing} is not installed"}
        if cell.problem in METRICS:
            return _measured(cell, self._settings)
        ours = self._started(cell)
        if cell.peer == OURS:
            return _alone(ours, self._settings.seconds / 4)
        return self._against(ours, cell)

    def _worker(self, cell: Cell) -> AbstractContextManager[Worker]:
        reference = self._folder / "references" / f"{cell.problem}-{cell.size}-{cell.dtype}.npy"
        command = [self._environments.python(cell.peer), "-m", "qjaxsim_bench.worker"]
        size = given_to_make(cell.problem, cell.size, self._folder)
        command += [cell.problem, size, cell.dtype, cell.peer, str(reference.resolve())]
        return started(command, self._environments.variables(cell.peer), self._settings.timeout)

    def _started(self, cell: Cell) -> Worker:
        """Ours, of this group."""
        if self._ours is None:
            self._ours = self._stack.enter_context(self._worker(Cell(cell.problem, cell.size, cell.dtype, OURS)))
        return self._ours

    def _against(self, ours: Worker, cell: Cell) -> dict[str, Any]:
        """A peer's times and, where ours has any, both sides' in each turn."""
        with self._worker(cell) as theirs:
            if ours.found["status"] != "ok" or theirs.found["status"] != "ok":
                return _alone(theirs, self._settings.seconds / 2)
            try:
                turns = in_turns((ours, theirs), self._settings.seconds)
            except Ended as end:
                if theirs.found["status"] != "ok":
                    return theirs.found
                return {"status": "failed", "reason": f"ours, beside it: {end}"}
        firsts = self._firsts(cell, [first_seconds(worker.found) for worker in (ours, theirs)])
        return {**theirs.found, **_summary([theirs for _, theirs in turns]), "turns": turns, "first_turns": firsts}

    def _firsts(self, cell: Cell, first: list[float]) -> list[list[float]]:
        """First calls of this pair and, where they are what the problem is about, of further fresh ones."""
        firsts = [first]
        for _ in range(problem_of(cell.problem).fresh - 1):
            if sum(map(sum, firsts)) > _PATIENCE * self._settings.seconds:
                break
            pair = []
            for name in (OURS, cell.peer):
                with self._worker(Cell(cell.problem, cell.size, cell.dtype, name)) as worker:
                    if worker.found["status"] != "ok":
                        return firsts
                    pair.append(first_seconds(worker.found))
            firsts.append(pair)
        return firsts


def given_to_make(problem: str, size: str, folder: Path) -> str:
    """What a problem makes its task from: a size, or the file of the user's circuit in the results folder."""
    return str((folder / own.FILE).resolve()) if problem in own.OWN else size


def first_seconds(found: Any) -> float:
    """From lists of gates to the first result: preparing, compiling, running; imports are no part of it."""
    return float(found.get("prepare", 0.0) + found["compile"] + found["first"])


def _alone(worker: Worker, seconds: float) -> dict[str, Any]:
    """Times of one side."""
    if worker.found["status"] != "ok":
        return worker.found
    try:
        return {**worker.found, **_summary([own for (own,) in in_turns((worker,), seconds)])}
    except Ended:
        return worker.found


def _summary(seconds: list[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "repeats": len(seconds),
    }


def _measured(cell: Cell, settings: Settings) -> dict[str, Any]:
    """Values of a metric of ours, from a process of its own."""
    command = [sys.executable, "-m", "qjaxsim_bench.flat", cell.problem, cell.size]
    variables = Environments({}).variables(OURS)
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=variables)
    with process, interrupts.cleaned_up(process.kill):
        try:
            printed, _ = process.communicate(timeout=settings.timeout)
        except subprocess.TimeoutExpired:
            return {"status": "timeout", "reason": f"not done within {settings.timeout:g} s"}
        finally:
            process.kill()
    if process.returncode or not printed.strip():
        return {"status": "failed", "reason": f"the process ended with exit code {process.returncode}"}
    return dict(json.loads(printed.strip().splitlines()[-1]))
