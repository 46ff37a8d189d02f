"""One side of a pair: a simulator in a process of its own, which runs its work when it is told to.

    python -m qjaxsim_bench.worker PROBLEM SIZE DTYPE PEER REFERENCE

Imports, prepares, compiles, runs once, compares with the reference (a .npy file; this engine writes it instead) and
prints a line of JSON. Then for each line on standard input, a number, it runs so often and prints the seconds of every
run. It ends with its input. No time is taken of a result that differs.
"""

import json
import os
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

TOLERANCE = {"single": 1e-5, "double": 1e-10}


def difference(result: Any, reference: Any) -> float:
    """Largest difference in units of max(1, largest entry of the reference); infinite for other shapes and NaN."""
    import numpy as np

    a, b = np.asarray(result).reshape(-1), np.asarray(reference).reshape(-1)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


def first_call(problem: str, size: str, dtype: str, peer: str, reference: Path) -> tuple[Any, dict[str, Any]]:
    """Prepare, compile, run and compare.

    Args:
        problem: its name.
        size: as the problem takes it.
        dtype: precision of the comparison.
        peer: name of the simulator.
        reference: file of the result to compare with, written where the simulator is ours. Where it is missing (ours
            has failed) nothing is compared.

    Returns:
        The work, and its times or the reason why there are none.
    """
    import numpy as np

    from qjaxsim_bench.peers import load
    from qjaxsim_bench.peers.base import OURS
    from qjaxsim_bench.problems import problem_of

    chosen = load(peer)
    _import(chosen.modules)
    task = problem_of(problem).make(size)
    start = time.perf_counter()
    work = chosen.prepare(task, chosen.precision(dtype) or dtype)
    prepared = time.perf_counter()
    if work.compile:
        work.compile()
    compiled = time.perf_counter()
    first = work.run()
    done = time.perf_counter()
    array, error = work.result(first), None
    if peer == OURS:
        from qjaxsim.common import files

        files.write_npy(reference, np.asarray(array))
    elif reference.exists():
        error = difference(array, np.load(reference, allow_pickle=False))
        if error > TOLERANCE[dtype]:
            return work, {"status": "differs", "reason": f"differs from ours by {error:.2g}", "difference": error}
    times = {"prepare": prepared - start, "compile": compiled - prepared, "first": done - compiled}
    return work, {"status": "ok", "difference": error, **times}


def _import(modules: tuple[str, ...]) -> None:
    """What a first call needs but once a session, and is no part of its time: imports, and JAX's backend."""
    for name in modules:
        import_module(name)
    if "jax" in modules:
        import jax

        jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(1))())


def seconds_of(work: Any, count: int) -> list[float]:
    """Seconds of so many runs, one after the other."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        work.run()
        times.append(time.perf_counter() - begin)
    return times


def serve(orders: TextIO, answers: TextIO, arguments: list[str]) -> None:
    """The first call, then runs as ordered; whatever a simulator raises is an answer that says so."""
    problem, size, dtype, peer, reference = arguments
    try:
        work, found = first_call(problem, size, dtype, peer, Path(reference))
        print(json.dumps(found), file=answers, flush=True)
        for line in orders:
            print(json.dumps(seconds_of(work, int(line))), file=answers, flush=True)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        answer = {"status": "failed", "reason": f"{type(error).__name__}: {lines[0][:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve the work that the arguments name."""
    os.environ["JAX_ENABLE_X64"] = "1" if sys.argv[3] == "double" else "0"
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # simulators print
    serve(sys.stdin, answers, sys.argv[1:])


if __name__ == "__main__":
    main()
