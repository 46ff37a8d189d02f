"""One cell of the suite in a process of its own: a problem, a size, a precision, a simulator.

    python -m qjaxsim_bench.cell PROBLEM SIZE DTYPE PEER REFERENCE RESULT SECONDS

Reads the reference result (a .npy file; this engine writes it instead), compares, times, and prints one line of JSON.
No time is taken of a result that differs.
"""

import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

TOLERANCE = {"single": 1e-5, "double": 1e-10}


def difference(result: Any, reference: Any) -> float:
    """Largest difference in units of max(1, largest entry of the reference); infinite for other shapes and NaN."""
    import numpy as np

    a, b = np.asarray(result).reshape(-1), np.asarray(reference).reshape(-1)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


def measure(work: Any, seconds: float) -> tuple[Any, dict[str, Any]]:
    """The first result and the times of compiling, of the first call and of repeated calls."""
    start = time.perf_counter()
    if work.compile:
        work.compile()
    compiled = time.perf_counter()
    first = work.run()
    done = time.perf_counter()
    repeats: list[float] = []
    while len(repeats) < 3 or (sum(repeats) < seconds and len(repeats) < 200):
        begin = time.perf_counter()
        work.run()
        repeats.append(time.perf_counter() - begin)
        if repeats[-1] > 8:
            break
    return first, {
        "compile": compiled - start,
        "first": done - compiled,
        "median": statistics.median(repeats),
        "min": min(repeats),
        "max": max(repeats),
        "repeats": len(repeats),
    }


def run(
    problem: str, size: str, dtype: str, peer: str, reference: Path, result: Path, seconds: float
) -> dict[str, Any]:
    """Prepare, compute, compare, time."""
    import numpy as np

    from qjaxsim.common import files
    from qjaxsim_bench.peers import load
    from qjaxsim_bench.peers.base import OURS
    from qjaxsim_bench.problems import PROBLEMS

    task = PROBLEMS[problem].make(size)
    chosen = load(peer)
    start = time.perf_counter()
    work = chosen.prepare(task, dtype)
    prepared = time.perf_counter() - start
    first, times = measure(work, seconds)
    array = work.result(first)
    if peer == OURS:
        files.write_npy(result, array)
        error = 0.0
    else:
        error = difference(array, np.load(reference, allow_pickle=False))
    if error > TOLERANCE[dtype]:
        return {"status": "differs", "reason": f"differs from ours by {error:.2g}", "difference": error}
    return {"status": "ok", "prepare": prepared, "difference": error, **times}


def main() -> None:
    """Run the cell that the arguments name."""
    problem, size, dtype, peer, reference, result, seconds = sys.argv[1:]
    os.environ["JAX_ENABLE_X64"] = "1" if dtype == "double" else "0"
    warnings.simplefilter("ignore")
    try:
        record = run(problem, size, dtype, peer, Path(reference), Path(result), float(seconds))
    except Exception as error:  # whatever a simulator raises is a row that says so
        lines = str(error).strip().splitlines() or [""]
        record = {"status": "failed", "reason": f"{type(error).__name__}: {lines[0][:200]}"}
    print("\n" + json.dumps(record))


if __name__ == "__main__":
    main()
