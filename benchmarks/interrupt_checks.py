"""Interrupts commands at random moments of their run, import and compilation included, and goes on with them.

    python benchmarks/interrupt_checks.py RESULT.json [--studies hessian,qrnn] [--signals 30] [--kills 50] [--seed 0]

SIGINT and SIGTERM must end a command with exit code 130 and 143 and one line that says how to go on, leave files that
can be read, and the line's command must work. After SIGKILL the resumed run must give the table of an undisturbed one,
times aside. Prints a table, writes all outcomes as JSON, and ends with exit code 1 if anything was otherwise.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

COMMAND = str(Path(sys.executable).with_name("qjaxsim"))
# Settings that take seconds, most of them imports and compilation.
STUDIES = {
    "gradient-variance": "study gradient-variance --qubits 2 --layers 1 --batches 20 --centre 2,1,20 --seeds 1,2 "
    "--images 40 --test-images 20 --epochs 2",
    "attention": "study attention --attention softmax,greedy --images 70 --test-images 20 --epochs 2 --energy-images 4",
    "qrnn": "study qrnn --task xor --updates 20 --seeds 0,1",
    "hessian": "study hessian --patches 1 --layers 1 --epochs 2 --images 64 --classes 0,1 --landscape pca "
    "--landscape-points 3",
    "disentangler": "study disentangler --parts layers --layers block0.value --profile-layer block0.value "
    "--chi 2 --width 16 --blocks 1 --context 16 --epochs 1 --sweeps 3 --depths 2 --test-windows 8",
    "noisy-hessian": "study noisy-hessian --classes 2 --layers 1 --seeds 0,1 --images 8 --shot-images 2 --epochs 2 "
    "--batch-size 8",
    "effective-dimension": "study effective-dimension --models qnn,network --seeds 0,1 --thetas 5 --inputs 5",
    "gauss-newton-transition": "study gauss-newton-transition --angles 8 --steps 200 --learning-rates 0.01 --seeds 0,1",
    "lie-variance": "study lie-variance --qubits 3,4 --depths 1,8 --draws 200 --seeds 0,1",
    "overparametrisation": "study overparametrisation --problems open --qubits 3 --ratios 1,2 --starts 2 --steps 150 "
    "--controls none",
    "noisy-fisher": "study noisy-fisher --qubits 3 --layers 2,3 --strengths 0.01 --seeds 0 --steps 50",
    "bench": "bench --quick --problems memory-depth --peers gate-by-gate --seconds 0.01",
}
VERBS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_STARTING = 1.0  # seconds in which Python itself may still be starting, on a busy machine
_TIMES = re.compile(r"^(seconds|ms)(_|$)|_(s|ms|seconds)$")
_PATIENCE = 900


@dataclass
class Outcome:
    """What one signal led to.

    Attributes:
        study: its name.
        signal: name of the signal.
        moment: seconds after the start.
        cached: whether compiled programs came from an earlier run.
        returncode: of the process, minus the number of a signal that ended it.
        answered: seconds from the signal to the end.
        when: "running", "starting" (Python was not yet up), or "over".
        problems: sentences; none if all is well.
    """

    study: str
    signal: str
    moment: float
    cached: bool
    returncode: int | None = None
    answered: float | None = None
    when: str = "running"
    problems: list[str] = field(default_factory=list)


class Checks:
    """Runs of one study in folders below `place`."""

    def __init__(self, study: str, place: Path, words: str | None = None):
        self.study, self.place = study, place
        self.words = shlex.split(STUDIES[study] if words is None else words)
        self.marker = "settings.json" if study == "bench" else "config.json"
        place.mkdir(parents=True, exist_ok=True)

    def undisturbed(self) -> None:
        """Run twice, the second time with compiled programs from the first: durations, and the table."""
        self.seconds = {}
        for cached in (False, True):
            began = time.monotonic()
            done = self._start([*self.words, "--out", f"whole-{cached}"], cached=True)
            _, errors = done.communicate(timeout=_PATIENCE)
            assert done.returncode == 0, errors
            self.seconds[cached] = time.monotonic() - began
        self.table = table(self.place / "whole-True")
        assert self.table == table(self.place / "whole-False"), "two undisturbed runs differ"

    def interrupt(self, number: signal.Signals, moment: float, name: str, *, cached: bool, finish: bool) -> Outcome:
        """Send a signal, and go on with the command that the process printed."""
        outcome, errors = self._hit(number, moment, name, cached)
        if outcome.when == "running":
            self._check_end(outcome, number, errors)
        outcome.problems += unreadable(self.place / name)
        said = re.search(r"; go on with: qjaxsim (.*)", errors)
        words = shlex.split(said[1]) if said else [*self.words, "--out", name]
        if outcome.when != "over":
            self._go_on(outcome, words, name, finish)
        return outcome

    def kill(self, moment: float, name: str, *, cached: bool) -> Outcome:
        """Kill, and resume."""
        outcome, _ = self._hit(signal.SIGKILL, moment, name, cached)
        outcome.problems += unreadable(self.place / name)
        if outcome.when != "over":
            begun = (self.place / name / self.marker).exists()
            self._go_on(outcome, [*self.words, "--out", name, *["--resume"] * begun], name, finish=True)
        return outcome

    def _hit(self, number: signal.Signals, moment: float, name: str, cached: bool) -> tuple[Outcome, str]:
        outcome = Outcome(self.study, number.name, round(moment, 3), cached)
        process = self._start([*self.words, "--out", name], cached)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=_PATIENCE)
        outcome.answered = round(time.monotonic() - sent, 3)
        outcome.returncode = process.returncode
        if process.returncode == 0:
            outcome.when = "over"
        elif process.returncode == -number and moment < _STARTING and number != signal.SIGKILL:
            outcome.when = "starting"
        return outcome, errors

    def _check_end(self, outcome: Outcome, number: signal.Signals, errors: str) -> None:
        if outcome.returncode != 128 + number:
            outcome.problems.append(f"exit code {outcome.returncode}: {errors[-300:]}")
        lines = [line for line in errors.splitlines() if line.startswith(VERBS[number])]
        if len(lines) != 1 or errors.splitlines()[-1] != lines[0] or "Traceback" in errors:
            outcome.problems.append(f"not one last line: {errors[-300:]}")
        elif "results folder: " in errors and "; go on with: qjaxsim " not in lines[0]:
            outcome.problems.append(f"no command: {lines[0]}")

    def _go_on(self, outcome: Outcome, words: list[str], name: str, finish: bool) -> None:
        process = self._start(words, cached=True)
        if not finish:
            # Accepted once it says where results go.
            errors = ""
            while "results folder: " not in errors and (line := process.stderr.readline()):
                errors += line
            process.kill()
            process.communicate()
            if "results folder: " not in errors:
                outcome.problems.append(f"going on was refused: {errors[-300:]}")
            return
        _, errors = process.communicate(timeout=_PATIENCE)
        if process.returncode:
            outcome.problems.append(f"going on ended with {process.returncode}: {errors[-300:]}")
        elif table(self.place / name) != self.table:
            outcome.problems.append("the table differs from that of an undisturbed run")

    def _start(self, words: list[str], cached: bool) -> Any:
        more = {
            "JAX_PLATFORMS": "cpu",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            **({"JAX_COMPILATION_CACHE_DIR": str(self.place / "compiled")} if cached else {}),
        }
        return subprocess.Popen(
            [COMMAND, *words],
            cwd=self.place,
            env={**os.environ, **more},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def table(folder: Path) -> Any:
    """What must be equal: rows without times; of the benchmark, which cells there are and their status."""
    if (folder / "bench.json").exists():
        cells = json.loads((folder / "bench.json").read_text())["cells"]
        return [(cell["problem"], cell["size"], cell["dtype"], cell["peer"], cell["status"]) for cell in cells]
    rows = json.loads((folder / "summary.json").read_text())
    return [{name: value for name, value in row.items() if not _TIMES.search(name)} for row in rows]


def unreadable(folder: Path) -> list[str]:
    """A sentence for every file that cannot be read; what a killed writer left is not counted."""
    problems = []
    for path in folder.rglob("*"):
        if not path.is_file() or path.suffix == ".tmp":
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix in (".npz", ".npy"):
                with path.open("rb") as file:
                    stored = np.load(file, allow_pickle=False)
                    for name in getattr(stored, "files", ()):
                        stored[name]
        except Exception as error:  # whatever a reader raises
            problems.append(f"{path.relative_to(folder)} cannot be read: {error}")
    return problems


def check(study: str, place: Path, options: argparse.Namespace) -> list[Outcome]:
    """All signals of one study."""
    checks = Checks(study, place / study)
    checks.undisturbed()
    rng = np.random.default_rng([options.seed, *study.encode()])
    jobs = []
    for number in (signal.SIGINT, signal.SIGTERM):
        for i in range(options.signals):
            # Every second run compiles; every fifth is finished, the others are only seen to go on.
            cached, finish = i % 2 == 0, i % 5 == 0
            moment = rng.uniform(0, checks.seconds[cached])
            name = f"{number.name}-{i}"
            jobs.append(lambda a=(number, moment, name), c=cached, f=finish: checks.interrupt(*a, cached=c, finish=f))
    for i in range(options.kills):
        moment = rng.uniform(0, checks.seconds[True])
        jobs.append(lambda a=(moment, f"SIGKILL-{i}"): checks.kill(*a, cached=True))
    with ThreadPoolExecutor(options.workers) as pool:
        return list(pool.map(lambda job: job(), jobs))


def print_outcomes(outcomes: list[Outcome]) -> None:
    """A line a study and signal, and every problem."""
    widths = (18, 8, 5, 5, 8, 9, 5, 9)
    print(*map(str.ljust, ("study", "signal", "runs", "well", "running", "starting", "over", "answer s"), widths))
    for study, name in dict.fromkeys((one.study, one.signal) for one in outcomes):
        some = [one for one in outcomes if (one.study, one.signal) == (study, name)]
        counts = [sum(one.when == when for one in some) for when in ("running", "starting", "over")]
        slowest = max(one.answered or 0.0 for one in some)
        cells = (study, name, len(some), sum(not one.problems for one in some), *counts, f"{slowest:.2f}")
        print(*(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)))
    for one in outcomes:
        for problem in one.problems:
            print(f"- {one.study}, {one.signal} after {one.moment} s: {problem}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--studies", default=",".join(STUDIES), help="separated by commas; default all")
    parser.add_argument("--signals", type=int, default=30, help="moments for each of SIGINT and SIGTERM")
    parser.add_argument("--kills", type=int, default=50, help="moments for SIGKILL")
    parser.add_argument("--seed", type=int, default=0, help="chooses the moments")
    parser.add_argument("--workers", type=int, default=2, help="runs beside each other")
    options = parser.parse_args()
    chosen = options.studies.split(",")
    if unknown := [name for name in chosen if name not in STUDIES]:
        parser.error(f"--studies must be some of {', '.join(STUDIES)}, but one is {unknown[0]!r}")
    # A process started in the background by a script ignores SIGINT, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as place:
        for study in chosen:
            outcomes += check(study, Path(place), options)
            options.result.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n", encoding="utf-8")
    print_outcomes(outcomes)
    return int(any(one.problems for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
