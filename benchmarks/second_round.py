"""The second round's table: data-heavy circuits, variational Hessians, first calls, against peers in turns.

    python benchmarks/second_round.py [--seconds 2] [--timeout 300] [--out runs/second_round] [--environments LIST]

Runs what the targets of these problems speak of (both sizes, both precisions), goes on where an earlier call with the
same options was stopped, and then writes benchmarks/results/bench_second_round_cpu.json and the table in
docs/benchmarks.md. Run it on a machine that does nothing else.
"""

import argparse
import shutil
import sys
from pathlib import Path

from qjaxsim.command.main import main as command_line
from qjaxsim.common import interrupts
from qjaxsim.common.files import write_text

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "bench_second_round_cpu.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- second round -->\n", "<!-- end of second round -->\n"
PROBLEMS = (
    "kernel", "vqe-hessian", "qaoa-gradient", "qaoa-hessian", "wide-unitary", "preparation", "grover", "clifford-t",
    "parameters", "layered", "random", "qft", "noise", "metric",
)  # fmt: skip


def with_table(page: str, table: str) -> str:
    """A page with its table of this round replaced."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Run, then keep result and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", default="2", help="of turns for each pair")
    parser.add_argument("--timeout", default="300", help="seconds for one first call or turn")
    parser.add_argument("--out", type=Path, default=Path("runs/second_round"))
    parser.add_argument("--environments", help="as for qjaxsim bench")
    given = parser.parse_args()
    interrupts.install()
    words = ["bench", "--targets", "--problems", ",".join(PROBLEMS), "--out", str(given.out)]
    words += ["--seconds", given.seconds, "--timeout", given.timeout]
    if given.environments:
        words += ["--environments", given.environments]
    if (given.out / "settings.json").exists():
        words.append("--resume")
    code = command_line(words)
    if not (given.out / "bench.json").exists():
        return code
    shutil.copyfile(given.out / "bench.json", RESULT)
    table = (given.out / "targets.md").read_text(encoding="utf-8")
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), table))
    print(f"kept: {RESULT.relative_to(HERE.parent)}, {PAGE.relative_to(HERE.parent)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
