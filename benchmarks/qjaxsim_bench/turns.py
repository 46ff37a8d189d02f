"""Two simulators in turns (A B A B ...), each in a warm process of its own that is stopped while the other runs.

Times of one pair that were taken apart differed by a factor of two between runs on shared machines; what slows one turn
slows its neighbour, and their ratio stays. Processes of their own keep thread pools and JAX's settings apart, and a
stopped one spins on no core.
"""

import json
import math
import os
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from qjaxsim.common import interrupts

# Seconds of one turn: short runs are repeated, since the first one after a stop finds the caches cold.
TURN = 0.05
_REPEATS = 1000
# Turns at least and at most; work of several seconds has fewer than the least.
LEAST, MOST = 5, 50
_PATIENCE = 6  # times the seconds that are given


class Ended(RuntimeError):
    """A worker gives no more times; its `found` has the reason."""


class Worker:
    """A simulator's process: ready after its first call, stopped but for its turns. `started` makes one.

    Attributes:
        found: what its first call answered, status, times or a reason; after a failure the reason of that.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", timeout: float) -> None:
        self._process, self._timeout, self._rest = process, timeout, b""
        self.found: dict[str, Any] = self._answer()
        self._pause()

    def runs(self, count: int) -> list[float]:
        """Seconds of so many runs.

        Raises:
            Ended: if it fails or takes too long.
        """
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        with suppress(OSError):  # it has ended; what it answered says why
            self._process.stdin.write(f"{count}\n".encode())
        answer = self._answer()
        self._pause()
        if isinstance(answer, dict):
            self.found = answer
            raise Ended(answer["reason"])
        return answer

    def _pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def _answer(self) -> Any:
        """The next line that the process prints, or the status and reason why there is none."""
        assert self._process.stdout is not None
        end = time.monotonic() + self._timeout
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                self._process.kill()
                return {"status": "timeout", "reason": f"not done within {self._timeout:g} s"}
            read = os.read(self._process.stdout.fileno(), 2**16)
            if not read:
                return {"status": "failed", "reason": f"the process ended with exit code {self._process.wait()}"}
            self._rest += read
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> Iterator[Worker]:
    """A worker that has had its first call, ended with the block.

    Args:
        command: of the process.
        environment: its variables.
        timeout: seconds for the first call, and for any turn.
    """
    pipe = subprocess.PIPE
    # In a group of its own, a stopped process whose parent is killed is ended by the system.
    process = subprocess.Popen(
        command, bufsize=0, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=dict(environment), process_group=0
    )
    with process, interrupts.cleaned_up(process.kill):
        try:
            yield Worker(process, timeout)
        finally:
            process.kill()


def in_turns(pair: Sequence[Worker], seconds: float) -> list[list[float]]:
    """Seconds a call of either in each turn, (turns, len(pair)).

    Args:
        pair: warm workers; one alone is timed the same way.
        seconds: spent on all turns, more where the least number of them needs it.

    Raises:
        Ended: if one of them fails or takes too long.
    """
    counts = [_count(worker.runs(1)[0]) for worker in pair]
    turns: list[list[float]] = []
    begin = time.monotonic()
    while len(turns) < MOST:
        spent = time.monotonic() - begin
        if turns and spent > (seconds if len(turns) >= LEAST else _PATIENCE * seconds):
            break
        turns.append([statistics.median(worker.runs(n)) for worker, n in zip(pair, counts, strict=True)])
    return turns


def _count(once: float) -> int:
    return max(1, min(_REPEATS, math.ceil(TURN / max(once, 1e-9))))


def ratios(turns: Sequence[Sequence[float]]) -> dict[str, float]:
    """Median and quartiles of theirs over ours, from (ours, theirs) in each turn."""
    found = sorted(theirs / ours for ours, theirs in turns)
    low, middle, high = statistics.quantiles(found, method="inclusive") if len(found) > 1 else found * 3
    return {"ratio": middle, "low": low, "high": high}
