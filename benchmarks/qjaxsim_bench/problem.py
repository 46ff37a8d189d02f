"""What a row of the suite is: a problem, its sizes, and the targets it is measured against."""

from collections.abc import Callable
from dataclasses import dataclass

from qjaxsim_bench.tasks import Task

REPEATED, FIRST = "repeated", "compile+first"
"""What a target speaks of; a first call includes preparing, and no import."""


@dataclass(frozen=True)
class Target:
    """What this engine should reach.

    Attributes:
        label: the work, in words.
        size: at which size of the problem.
        dtype: in which precision of ours.
        ratio: our speed over the best peer's.
        peers: names of the peers that count; empty for all.
        measure: "repeated" or "compile+first".
        seconds: instead of a ratio, what ours should take at most.
    """

    label: str
    size: str
    dtype: str
    ratio: float | None
    peers: tuple[str, ...] = ()
    measure: str = REPEATED
    seconds: float | None = None


@dataclass(frozen=True)
class Problem:
    """One row of the suite.

    Attributes:
        name: as the command line takes it.
        title: what is computed.
        axis: what a size is.
        make: from a size to the task.
        quick: sizes of a quick run.
        full: sizes of a full run.
        dtypes: precisions of ours that are run.
        targets: what it is measured against.
        fresh: pairs of fresh processes whose first calls are compared.
    """

    name: str
    title: str
    axis: str
    make: Callable[[str], Task]
    quick: tuple[str, ...]
    full: tuple[str, ...]
    dtypes: tuple[str, ...] = ("single", "double")
    targets: tuple[Target, ...] = ()
    fresh: int = 1


def numbers(size: str) -> list[int]:
    """The numbers of a size such as 8x3x1024."""
    return [int(part) for part in size.split("x")]
