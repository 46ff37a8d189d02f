"""Weak scaling of a dense Hessian over processes: one on a core, then two on a core each with twice the samples.

    python benchmarks/scaling.py [--samples 4000] [--turns 5] [--out benchmarks/results/scaling_cpu.json]

The speedup is twice the time of one process over the time of two, the median of turns; the target is 1.7. Times are of
calls whose programs are compiled, with the sum over processes and the result on the leading one. Run it on a machine of
two cores or more that does nothing else.
"""

import argparse
import datetime
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from qjaxsim.common import files

RESULT = Path(__file__).resolve().parent / "results" / "scaling_cpu.json"
TARGET = 1.7
PATCHES, LAYERS, QUBITS = 4, 3, 4


def worker(samples: int, processes: int, process: int, port: int) -> None:
    """One process, on the core of its number: prints the seconds of the second of two equal calls."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[process]})
    from qjaxsim.common import hosts

    with hosts.joined(f"127.0.0.1:{port}", str(processes), process, None), tempfile.TemporaryDirectory() as place:
        seconds = [timed(samples * processes, Path(place), number) for number in range(2)]
        if hosts.team.leads:
            print(json.dumps(seconds[1]))


def timed(samples: int, place: Path, number: int) -> float:
    """Seconds of a split on so many images."""
    import jax

    from qjaxsim.common import helping, hosts
    from qjaxsim.curvature import split_hessian
    from qjaxsim.curvature.ranges import split_by_ranges
    from qjaxsim.models.losses import cross_entropy
    from qjaxsim.studies.hessian.examples import load_examples, model_of
    from qjaxsim.studies.hessian.settings import HessianSettings

    settings = HessianSettings(patches=(PATCHES,), layers=(LAYERS,), qubits=QUBITS, dtype="float32").resolved()
    examples = load_examples(settings, None, None)
    model = model_of(settings, examples)
    rows = np.arange(samples) % len(examples.y_train)
    problem = (model.outputs, cross_entropy, model.init(jax.random.key(0), np.dtype("float32")))
    problem += (examples.x_train[rows].astype("float32"), examples.y_train[rows])
    hosts.wait()
    began = time.perf_counter()
    if hosts.team.count == 1:
        jax.block_until_ready(split_hessian(*problem))
        return time.perf_counter() - began
    try:
        with helping.together(place / str(number)):
            jax.block_until_ready(split_by_ranges(*problem))
    except helping.HelpedError:
        pass
    return time.perf_counter() - began


def turn(samples: int, processes: int) -> float:
    """Seconds of the leading one of so many processes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    words = [sys.executable, __file__, "--samples", str(samples), "--processes", str(processes), "--port", str(port)]
    own = {**os.environ, "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen([*words, "--process", str(index)], stdout=subprocess.PIPE, text=True, env=own)
        for index in range(processes)
    ]
    said = [one.communicate()[0] for one in started]
    if any(one.returncode for one in started):
        raise RuntimeError("A process failed; its message is above.")
    return float(json.loads(said[0].splitlines()[-1]))


def main() -> int:
    """Measure in turns and keep the figures; a worker where `--process` is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000, help="of each process")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    for name in ("processes", "process", "port"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process is not None:
        worker(given.samples, given.processes, given.process, given.port)
        return 0
    from qjaxsim.common.environment import environment

    seconds = [(turn(given.samples, 1), turn(given.samples, 2)) for _ in range(given.turns)]
    speedups = [2 * one / two for one, two in seconds]
    row = {
        "command": " ".join(["python benchmarks/scaling.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "environment": environment(),
        "load_before": os.getloadavg()[1],
        "problem": f"dense Hessian, {PATCHES} patches x {LAYERS} layers, {QUBITS} qubits, digits, float32",
        "samples_a_process": given.samples,
        "seconds_of_one_and_two": seconds,
        "speedups": speedups,
        "speedup": float(np.median(speedups)),
        "target": TARGET,
    }
    files.write_json(given.out, row)
    print(f"speedup {row['speedup']:.2f} of 2 (target {TARGET}), turns {', '.join(f'{one:.2f}' for one in speedups)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
