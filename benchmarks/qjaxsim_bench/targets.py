"""The table of targets: ours, the best peer's, the ratio and its spread, met or missed."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qjaxsim_bench.flat import FLAT, METRICS
from qjaxsim_bench.groups import first_seconds
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.problem import REPEATED, Target
from qjaxsim_bench.problems import PROBLEMS
from qjaxsim_bench.turns import ratios

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Attributes:
        work: what was measured.
        ours: our figure, in seconds or the metric's unit; of the turns with that peer.
        best: the best peer's figure, or the first size's.
        peer: its name.
        ratio: theirs over ours, the median of all turns; against a size, last over first.
        low: its lower quartile over the turns, None where there were none.
        high: its upper quartile.
        target: the ratio to reach, or the time or, against a size, the ratio not to exceed.
        status: "met", "missed" or "not measured".
        unit: of our figure and the other.
    """

    work: str
    ours: float | None
    best: float | None
    peer: str
    ratio: float | None
    low: float | None
    high: float | None
    target: str
    status: str
    unit: str = "s"


@dataclass(frozen=True)
class Comparison:
    """A peer beside ours: both sides' seconds, their ratio and its quartiles."""

    ours: float
    theirs: float
    ratio: float
    low: float | None
    high: float | None


def outcomes(cells: Sequence[Row], problems: Collection[str] = (*PROBLEMS, *METRICS)) -> list[Outcome]:
    """All targets of some problems against the measured cells."""
    out = [
        _against_peers(target, [c for c in cells if c["problem"] == name])
        for name, problem in PROBLEMS.items()
        if name in problems
        for target in problem.targets
    ]
    for name, metric in METRICS.items():
        if name not in problems:
            continue
        rows = {c["size"]: c for c in cells if c["problem"] == name and c["status"] == "ok"}
        first, last = (rows.get(str(n)) for n in metric.bounds)
        out += [_against_size(name, quantity, first, last) for quantity in metric.quantities]
    return out


def compared(ours: Row | None, theirs: Row, measure: str) -> Comparison | None:
    """Two cells of one size and precision; from the turns they took, or from times taken apart, as once they were."""
    turns = theirs.get("turns" if measure == REPEATED else "first_turns")
    if turns:
        own, other = (statistics.median(side) for side in zip(*turns, strict=True))
        return Comparison(own, other, **ratios(turns))
    if ours is None or "median" not in ours or "median" not in theirs:
        return None
    own, other = (row["median"] if measure == REPEATED else first_seconds(row) for row in (ours, theirs))
    return Comparison(own, other, other / own, None, None)


def _against_peers(target: Target, rows: Sequence[Row]) -> Outcome:
    here = [row for row in rows if row["size"] == target.size and row["dtype"] == target.dtype]
    ours = next((row for row in here if row["peer"] == OURS), None)
    goal = f">= {target.ratio:g}" if target.seconds is None else f"<= {target.seconds:g} s"
    found = {
        row["peer"]: comparison
        for row in here
        if row["peer"] != OURS and row["status"] == "ok" and (not target.peers or row["peer"] in target.peers)
        if (comparison := compared(ours, row, target.measure)) is not None
    }
    peer = min(found, key=lambda name: found[name].ratio, default="")
    best = found.get(peer)
    if target.seconds is not None and ours is not None and ours["status"] == "ok":
        own = best.ours if best else ours["median"]
        met = own <= target.seconds
    elif best is not None and target.ratio is not None:
        own, met = best.ours, best.ratio >= target.ratio
    else:
        failed = ours is not None and ours["status"] != "ok"
        status = f"missed: {ours['reason']}" if failed and ours else "not measured"
        return Outcome(target.label, None, None, "", None, None, None, goal, status)
    status = "met" if met else "missed"
    if best is None:
        return Outcome(target.label, own, None, "", None, None, None, goal, status)
    return Outcome(target.label, own, best.theirs, peer, best.ratio, best.low, best.high, goal, status)


def _against_size(name: str, quantity: str, first: Row | None, last: Row | None) -> Outcome:
    metric = METRICS[name]
    work = f"{name}, {quantity}, {metric.bounds[0]} -> {metric.bounds[1]} {metric.axis}"
    goal = f"<= {FLAT:g}"
    if first is None or last is None:
        return Outcome(work, None, None, "", None, None, None, goal, "not measured", metric.unit)
    a, b = first["values"][quantity], last["values"][quantity]
    status = "met" if b <= FLAT * a else "missed"
    return Outcome(work, b, a, f"{metric.bounds[0]} {metric.axis}", b / a, None, None, goal, status, metric.unit)
