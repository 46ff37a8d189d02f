"""CPU seconds of one update of the recurrent quantum network beside the author's program, published topologies.

    python benchmarks/qrnn_updates.py [--out FILE]

Prints, for each row of the published measurements (`qjaxsim_data.load("qrnn")["seconds_per_update"]`) and for length
1,000, the process CPU time of one update here (loss, gradient, clipping, Adam; single precision), and the ratio. The
author's seconds are from another machine and day: orientation, not a race. The side-by-side comparison is
`qjaxsim bench --problems qrnn --peers gate-by-gate`.
"""

import argparse
import statistics
import time
from pathlib import Path

import qjaxsim_data
from qjaxsim_bench.peers.ours import prepare
from qjaxsim_bench.suite import machine
from qjaxsim_bench.tasks import qrnn

from qjaxsim.common import files
from qjaxsim.report.tables import print_table

# Estimated from the author's 3.5 s at length 20, which grow with the length.
LONG = {"task": "dna", "width": 3, "workspace": 5, "stages": 1, "degree": 3, "length": 1000, "batch": 128}
LONG |= {"cpu_seconds": 3.5 * 999 / 19}


def measure(row: dict, seconds: float = 2.0) -> dict:
    """The row with our times."""
    sizes = (row[name] for name in ("width", "workspace", "stages", "degree", "length", "batch"))
    work = prepare(qrnn(*sizes), "single")
    begin = time.perf_counter()
    work.compile()
    compiled = time.perf_counter() - begin
    work.run()
    cpu, wall = [], []
    while len(cpu) < 3 or (sum(wall) < seconds and len(cpu) < 100):
        before, start = time.process_time(), time.perf_counter()
        work.run()
        cpu.append(time.process_time() - before)
        wall.append(time.perf_counter() - start)
    ours = {"cpu_ms": 1e3 * statistics.median(cpu), "wall_ms": 1e3 * statistics.median(wall), "compile_s": compiled}
    return {**row, **ours, "ratio": row["cpu_seconds"] / statistics.median(cpu)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write")
    chosen = parser.parse_args()
    rows = [measure(row) for row in (*qjaxsim_data.load("qrnn")["seconds_per_update"], LONG)]
    print_table(rows, title="One update, author's CPU seconds over ours", keys=("task", "workspace", "length", "batch"))
    if chosen.out:
        files.write_json(chosen.out, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
