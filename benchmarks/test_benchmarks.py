"""Small sizes of every problem by every simulator under pytest-benchmark: `pytest -n 0 benchmarks/`.

Results are compared with this engine's before anything is timed. `--benchmark-save NAME` keeps the times and
`--benchmark-compare` sets them beside the last ones kept: tests are called after problem and simulator.
"""

import functools
import os
import time
import warnings

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark", reason='needs the extra: pip install -e ".[bench]" in a clone')

os.environ.setdefault("JAX_ENABLE_X64", "1")

from qjaxsim_bench import circuits, peers, worker  # noqa: E402
from qjaxsim_bench.peers.base import OURS  # noqa: E402
from qjaxsim_bench.peers.environments import Environments  # noqa: E402
from qjaxsim_bench.problems import PROBLEMS  # noqa: E402

SMALL = {name: problem.quick[0] for name, problem in PROBLEMS.items() if name != "qasm"} | {
    "hybrid": "3x1x8", "layered": "4x2", "random": "5x40", "qft": "4", "gradient": "4x2", "hamiltonian": "4x10",
    "hvp": "2x1x4", "hessian": "2x1x4", "qnn": "3x1x4", "training": "3x1x2", "patches": "1x4",
    "qrnn": "2x2x1x1x4x2", "vqe-gradient": "3x1", "vqe-hessian": "3x1", "qaoa-gradient": "3x1x3",
    "qaoa-hessian": "3x1x3", "evolution": "4x1", "kernel": "3x8", "noise": "3x4", "crosscheck": "3x1",
}  # fmt: skip
ENVIRONMENTS = Environments({})
# Many seconds at any size; `-m slow` runs them.
LONG = ("patches", "crosscheck")

pytestmark = pytest.mark.filterwarnings("ignore")


def ready(problem, size, peer, dtype):
    """Compiled work and its first result."""
    work = peers.load(peer).prepare(PROBLEMS[problem].make(size), dtype)
    if work.compile:
        work.compile()
    return work, np.asarray(work.result(work.run()))


@functools.cache
def reference(problem, size, dtype):
    """Our result."""
    return ready(problem, size, OURS, dtype)[1]


def check(problem, size, peer, benchmark):
    """Compare, then time."""
    if missing := ENVIRONMENTS.missing(peer):
        pytest.skip(f"{missing} is not installed")
    chosen, task = peers.load(peer), PROBLEMS[problem].make(size)
    dtype = next((d for d in ("double", *PROBLEMS[problem].dtypes) if chosen.supports(task, d)), None)
    if dtype is None:
        pytest.skip(f"{peer} is not run on {problem}")
    warnings.simplefilter("ignore")
    begin = time.perf_counter()
    work, result = ready(problem, size, peer, chosen.precision(dtype))
    quick = time.perf_counter() - begin < 4
    assert worker.difference(result, reference(problem, size, dtype)) < worker.TOLERANCE[dtype]
    benchmark.extra_info.update(problem=problem, peer=peer, size=size, dtype=dtype)
    benchmark.pedantic(work.run, rounds=3 if quick else 1, warmup_rounds=int(quick))


@pytest.mark.parametrize("peer", list(peers.MODULES))
@pytest.mark.parametrize("problem", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SMALL])
def test_problem(problem, peer, benchmark):
    check(problem, SMALL[problem], peer, benchmark)


@pytest.mark.parametrize("peer", list(peers.MODULES))
@pytest.mark.parametrize("circuit", list(circuits.CIRCUITS))
def test_circuit(circuit, peer, benchmark):
    check("qasm", f"small-{circuit}", peer, benchmark)
