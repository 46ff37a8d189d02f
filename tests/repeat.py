"""Run tests many times, each time in fresh processes, with another hash seed, order and number of workers.

    python tests/repeat.py --times 30 --each tests/test_annealing.py tests/test_sweep.py
    python tests/repeat.py --times 5                                  # the whole suite

Prints a row for each run and then every test whose outcome was not the same in all runs; exit code 1 if there is one,
or if one fails. With the package pytest-random-order installed the tests of a file change their order, too.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


def main() -> int:
    """0 if every test passed, or was skipped, in every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", help="files or folders of tests; default the whole suite")
    parser.add_argument("--times", type=int, default=5, help="runs (default 5)")
    parser.add_argument("--each", action="store_true", help="run every path by itself, so many times")
    parser.add_argument("--workers", default="2,4,1", help="numbers of workers, taken in turn (default 2,4,1)")
    parser.add_argument("--first-seed", type=int, default=1, help="hash seed and order of the first run (default 1)")
    given = parser.parse_args()
    groups = [[path] for path in given.paths] if given.each else [given.paths]
    workers = [int(number) for number in given.workers.split(",")]
    unsteady = sum(repeat(group, given.times, workers, given.first_seed) for group in groups)
    return 1 if unsteady else 0


def repeat(paths: Sequence[str], times: int, workers: Sequence[int], first_seed: int) -> int:
    """Tests that failed in a run or did not end alike in all of them."""
    found: dict[str, list[str]] = defaultdict(list)
    name = " ".join(paths) or "whole suite"
    started = time.monotonic()
    for run in range(times):
        seed, number = first_seed + run, workers[run % len(workers)]
        outcomes = dict(_outcomes(paths, seed, number))
        for test, outcome in outcomes.items():
            found[test].append(outcome)
        counts = {kind: list(outcomes.values()).count(kind) for kind in ("passed", "failed", "skipped")}
        print(f"{name}: seed {seed}, {number} workers: {counts}", flush=True)
    unsteady = {test: ends for test, ends in found.items() if len(ends) < times or set(ends) - {"passed", "skipped"}}
    for test, ends in unsteady.items():
        print(f"  {test}: " + ", ".join(f"{kind} {ends.count(kind)}" for kind in sorted(set(ends))))
    seconds = time.monotonic() - started
    print(f"{name}: {times} runs of {len(found)} tests, {len(unsteady)} not steady, {seconds:.0f} s", flush=True)
    return len(unsteady) + (not found)


def _outcomes(paths: Sequence[str], seed: int, workers: int) -> Iterator[tuple[str, str]]:
    """Names of tests and how they ended, of one run."""
    ordered = importlib.util.find_spec("random_order") is not None
    order = ["--random-order-bucket=module", f"--random-order-seed={seed}"] if ordered else []
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.xml")
        options = ["-q", "-n", str(workers), "-p", "no:cacheprovider", f"--junitxml={record}", *order]
        printed = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *paths],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if printed.returncode not in (0, 1) or not record.exists():
            sys.exit(f"pytest ended with {printed.returncode}:\n{printed.stdout}{printed.stderr}")
        if printed.returncode:
            print(printed.stdout)
        for case in ElementTree.parse(record).iter("testcase"):
            tags = {child.tag for child in case}
            kind = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
            yield f"{case.get('classname')}::{case.get('name')}", kind


if __name__ == "__main__":
    sys.exit(main())
