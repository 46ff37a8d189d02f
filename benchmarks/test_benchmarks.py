"""Small sizes of every problem by every simulator under pytest-benchmark: `pytest benchmarks/`.

Results are compared with this engine's before anything is timed.
"""

import os
import warnings

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark", reason='needs the extra: pip install -e ".[bench]" in a clone')

os.environ.setdefault("JAX_ENABLE_X64", "1")

from qjaxsim_bench import cell, peers, suite  # noqa: E402
from qjaxsim_bench.peers.base import OURS  # noqa: E402
from qjaxsim_bench.problems import PROBLEMS  # noqa: E402

SMALL = {
    "hybrid": "4x1x64", "layered": "8", "random": "8", "qft": "8", "gradient": "6", "hamiltonian": "6x20",
    "hvp": "3x1x8", "hessian": "3x1x8", "qnn": "3x1x4", "training": "3x1x2", "patches": "1x20",
    "qrnn": "2x3x1x2x5x3",
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore")


def ready(problem, peer):
    """Compiled work and its first result."""
    work = peers.load(peer).prepare(PROBLEMS[problem].make(SMALL[problem]), "double")
    if work.compile:
        work.compile()
    return work, work.result(work.run())


@pytest.mark.parametrize("peer", list(peers.MODULES))
@pytest.mark.parametrize("problem", list(SMALL))
def test_problem(problem, peer, benchmark):
    if missing := suite.missing_package(peer):
        pytest.skip(f"{missing} is not installed")
    if not peers.load(peer).supports(PROBLEMS[problem].make(SMALL[problem]), "double"):
        pytest.skip(f"{peer} is not run on {problem}")
    warnings.simplefilter("ignore")
    work, result = ready(problem, peer)
    _, reference = ready(problem, OURS)
    assert cell.difference(np.asarray(result), reference) < cell.TOLERANCE["double"]
    benchmark.extra_info.update(problem=problem, peer=peer, size=SMALL[problem])
    benchmark.pedantic(work.run, rounds=3, warmup_rounds=1)
