"""The papers' own budgets: runs that decide verdicts, taken up in the order of what they decide, as far as time goes.

    python benchmarks/published_runs.py [--list] [--minutes N] [--device cpu|gpu] [--only NAMES] [--out runs/published]

Every run is a command of a study with a folder of its own. A call takes the first one that is not finished and has an
estimate for the device, goes on where an earlier call was stopped, and stops when its minutes are over. Rows of
finished cells are kept in benchmarks/results/published_NAME.json after every run, cut short or not: the file says
which.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from qjaxsim import load_run
from qjaxsim.common.checks import require_one_of
from qjaxsim.common.files import write_text
from qjaxsim.studies.shared.recorded import NoResultsError
from qjaxsim.studies.shared.sweep import read_rows

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
# Seconds that a command has to stop after it was told to; its files are replaced as a whole, so that none is lost.
PATIENCE = 20


class Planned(NamedTuple):
    """One run.

    Attributes:
        name: of its folder and of its file.
        decides: what rests on it.
        words: of `qjaxsim study`, without folder.
        cpu: hours on two cores, estimated from kept runs; None where it is out of reach.
        gpu: minutes on one H200, estimated from the timings kept in results/gpu_spectrum_h200.json; None where there is
            nothing to gain.
    """

    name: str
    decides: str
    words: str
    cpu: float | None
    gpu: float | None


def _patches(circuits: int, layers: int, cpu: float | None, gpu: float, spectrum: str = "dense") -> Planned:
    """The published settings of the patches model, three seeds, curvature on all images."""
    words = (
        f"hessian --dataset mnist --patches {circuits} --layers {layers} --seeds 1001,1002,1003 --epochs 50 "
        f"--curvature-images 60000 --training-dtype float32 --spectrum {spectrum} --landscape none"
    )
    decides = "outliers, class means, largest eigenvalue by circuits and depth"
    return Planned(f"patches_{circuits}x{layers}", decides, words, cpu, gpu)


_ATTENTION = "attention --dataset mnist --images 60000 --seeds 1,2,3 --attention qama-v2,softmax,none,random"
_QRNN, _SEEDS = "qrnn --task", "--seeds 0,1,2 --updates"
_PIXELS, _LEAK = "pixel by pixel", "memory without the leak"
# In the order of what they decide.
RUNS = (
    _patches(4, 50, 60, 16),
    _patches(9, 50, None, 55),
    _patches(16, 50, None, 150),
    Planned("attention_50_epochs", "qama-v2 against softmax, none, random", f"{_ATTENTION} --epochs 50", 160, 45),
    Planned("attention_4_epochs", "the same as far as a CPU goes", f"{_ATTENTION} --epochs 4", 13, None),
    _patches(4, 100, None, 50),
    Planned("qrnn_digits_3_6", f"two digits {_PIXELS}", f"{_QRNN} mnist --digits 3,6 {_SEEDS} 3000", 2, 3),
    Planned(
        "qrnn_ten_digits", f"ten digits {_PIXELS}", f"{_QRNN} mnist --digits 0,1,2,3,4,5,6,7,8,9 {_SEEDS} 20000", 14, 15
    ),
    Planned("qrnn_dna_200", _LEAK, f"{_QRNN} dna --lengths 200 {_SEEDS} 20000", 0.6, 5),
    Planned("qrnn_dna_1000", _LEAK, f"{_QRNN} dna --lengths 1000 {_SEEDS} 20000", 5, 20),
    Planned(
        "gradient_variance_60000", "gradient variance by batch, qubits, layers",
        "gradient-variance --dataset mnist --images 60000 --test-images 10000", 30, 10,
    ),
    Planned(
        "disentangler_healing", "healing of replaced layers", "disentangler --seeds 1,2,3,4,5 --healing bond,circuits",
        4, None,
    ),
    _patches(4, 150, None, 110),
    _patches(4, 200, None, 190, "lanczos"),
)  # fmt: skip


def folder_of(run: Planned, out: Path) -> Path:
    """Where a run's results are."""
    return out / run.name


def state_of(run: Planned, out: Path) -> tuple[int, int] | None:
    """Finished cells and all; None for a run that has not begun."""
    try:
        found = load_run(folder_of(run, out))
    except NoResultsError:
        return None
    return len(found.finished), len(found.recorded.cells)


def is_finished(run: Planned, out: Path) -> bool:
    """Whether every cell of a run is."""
    state = state_of(run, out)
    return state is not None and state[0] == state[1]


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


def next_run(runs: Iterable[Planned], out: Path, device: str) -> Planned | None:
    """The first that is not finished and has an estimate for the device."""
    for run in runs:
        estimate = run.gpu if device == "gpu" else run.cpu
        if estimate is not None and not is_finished(run, out):
            return run
    return None


def command_of(run: Planned, out: Path) -> list[str]:
    """The command line, which goes on where there is a folder."""
    words = ["study", *run.words.split(), "--out", str(folder_of(run, out))]
    return [
        sys.executable,
        "-m",
        "qjaxsim.command.main",
        *words,
        *(["--resume"] if folder_of(run, out).exists() else []),
    ]


def take_up(run: Planned, out: Path, device: str, seconds: float) -> int | None:
    """Run until the end or the time is over.

    Returns:
        The exit code; None where time was over.
    """
    out.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda"}
    process = subprocess.Popen(command_of(run, out), env=variables)
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


def keep(run: Planned, out: Path, device: str, results: Path = RESULTS) -> Path | None:
    """Write the rows of finished cells; None where there is none yet."""
    state = state_of(run, out)
    if state is None or not state[0]:
        return None
    found = load_run(folder_of(run, out))
    done, cells = state
    note = "Published settings." if done == cells else f"Cut short: {done} of {cells} cells."
    record: dict[str, Any] = {
        "command": f"qjaxsim study {run.words}",
        "note": note,
        "decides": run.decides,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "device": device,
        "cells": {"finished": done, "all": cells},
        "rows": [row for key in found.finished for row in read_rows(found.folder, key)],
    }
    place = results / f"published_{run.name}.json"
    write_text(place, json.dumps(record, indent=1) + "\n")
    return place


def listed(runs: Sequence[Planned], out: Path) -> str:
    """A line a run: state, estimates, what it decides."""
    lines = [f"{'run':<26}{'state':<14}{'CPU, h':>8}{'GPU, min':>10}  decides"]
    for run in runs:
        state = state_of(run, out)
        said = "not begun" if state is None else "finished" if state[0] == state[1] else f"{state[0]} of {state[1]}"
        cpu, gpu = (f"{number:g}" if number is not None else "-" for number in (run.cpu, run.gpu))
        lines.append(f"{run.name:<26}{said:<14}{cpu:>8}{gpu:>10}  {run.decides}")
    return "\n".join(lines)


def work(runs: Sequence[Planned], out: Path, device: str, minutes: float, results: Path = RESULTS) -> int:
    """Take up one run after the other until time is over or one fails.

    Returns:
        Exit code: that of a run that failed, else 0.
    """
    end = time.monotonic() + 60 * minutes
    while (run := next_run(runs, out, device)) is not None and time.monotonic() < end:
        print(f"{run.name}: qjaxsim study {run.words}", flush=True)
        code = take_up(run, out, device, end - time.monotonic())
        if place := keep(run, out, device, results):
            print(f"{run.name}: kept {place.name}", flush=True)
        if code:
            print(f"{run.name}: ended with exit code {code}", file=sys.stderr)
            return code
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """List the runs, or take some up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--minutes", type=float, default=60.0, help="when to stop")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", help="names of runs, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/published"))
    given = parser.parse_args(words)
    try:
        runs = chosen(given.only)
        if not given.minutes > 0:
            raise ValueError(f"Argument `minutes` must be positive, but is {given.minutes:g}.")
    except ValueError as error:
        parser.error(str(error))
    code = 0 if given.list else work(runs, given.out, given.device, given.minutes)
    print(listed(runs, given.out))
    return code


if __name__ == "__main__":
    sys.exit(main())
