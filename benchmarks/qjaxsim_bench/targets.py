"""The table of targets: ours, the best peer's, the ratio, met or missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qjaxsim_bench.flat import FLAT, METRICS
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.problems import PROBLEMS, Target

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Attributes:
        work: what was measured.
        ours: our figure, in seconds or the metric's unit.
        best: the best peer's figure, or the first size's.
        peer: its name.
        ratio: theirs over ours; against a size, last over first.
        target: the ratio to reach, or against a size not to exceed.
        status: "met", "missed" or "not measured".
    """

    work: str
    ours: float | None
    best: float | None
    peer: str
    ratio: float | None
    target: str
    status: str


def outcomes(cells: Sequence[Row]) -> list[Outcome]:
    """All targets against the measured cells."""
    out = [
        _against_peers(target, [c for c in cells if c["problem"] == name])
        for name, problem in PROBLEMS.items()
        for target in problem.targets
    ]
    for name, metric in METRICS.items():
        rows = {c["size"]: c for c in cells if c["problem"] == name and c["status"] == "ok"}
        first, last = (rows.get(str(n)) for n in metric.bounds)
        out += [_against_size(name, quantity, first, last) for quantity in metric.quantities]
    return out


def seconds(row: Row, measure: str) -> float:
    """The time that a target speaks of."""
    return row["median"] if measure == "repeated" else row["compile"] + row["first"]


def _against_peers(target: Target, rows: Sequence[Row]) -> Outcome:
    """A peer without single precision stands in with its double."""
    done = [row for row in rows if row["status"] == "ok" and row["size"] == target.size]
    ours = next((r for r in done if r["peer"] == OURS and r["dtype"] == target.dtype), None)
    by_peer: dict[str, float] = {}
    for row in done:
        if row["peer"] == OURS or (target.peers and row["peer"] not in target.peers):
            continue
        if row["dtype"] == target.dtype or row["peer"] not in by_peer:
            by_peer[row["peer"]] = seconds(row, target.measure)
    goal = f">= {target.ratio:g}"
    if ours is None or not by_peer:
        return Outcome(
            target.label, seconds(ours, target.measure) if ours else None, None, "", None, goal, "not measured"
        )
    peer = min(by_peer, key=lambda name: by_peer[name])
    own = seconds(ours, target.measure)
    ratio = by_peer[peer] / own
    return Outcome(target.label, own, by_peer[peer], peer, ratio, goal, "met" if ratio >= target.ratio else "missed")


def _against_size(name: str, quantity: str, first: Row | None, last: Row | None) -> Outcome:
    metric = METRICS[name]
    work = f"{name}, {quantity}, {metric.bounds[0]} -> {metric.bounds[1]} {metric.axis}"
    if first is None or last is None:
        return Outcome(work, None, None, "", None, f"<= {FLAT:g}", "not measured")
    a, b = first["values"][quantity], last["values"][quantity]
    return Outcome(
        work, b, a, f"{metric.bounds[0]} {metric.axis}", b / a, f"<= {FLAT:g}", "met" if b <= FLAT * a else "missed"
    )
