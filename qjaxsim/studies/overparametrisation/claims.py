"""Claims on overparametrisation, each judged by a stated rule from the rows of the study."""

from collections.abc import Iterable, Sequence

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_SEEN, Verdict
from qjaxsim.studies.overparametrisation.cell import RANKS, TRAINING
from qjaxsim.studies.overparametrisation.published import PAPER, ring_and_open
from qjaxsim.studies.overparametrisation.settings import ADAM, FAST, NATURAL, OPEN
from qjaxsim.studies.shared.judging import concluded, untested

_SOURCE = f"{PAPER}, Larocca and others"
# Trainings set in where so many starts succeed, and all do from the second share on.
HALF, ALL = 0.5, 0.95


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule."""
    return [
        claim(rows) for claim in (sets_in, fails_below, no_traps, bounded, equals_algebra, published_ranks, hessians)
    ]


def first_success(rows: Sequence[Row], problem: str, qubits: int, optimiser: str = ADAM) -> int | None:
    """The fewest angles of the grid with which half of the starts succeed, None if there are none."""
    return next((row["angles"] for row in _trained(rows, problem, qubits, optimiser) if row["share"] >= HALF), None)


def sets_in(rows: Sequence[Row]) -> Verdict:
    """Holds if half of the starts succeed from the first angles of the grid on with which the rank is saturated.

    Of every problem whose grid has fewer angles, too, with every optimiser that was given these. With a reservation if
    of some problems or with some optimisers only.
    """
    claim = "Training sets in at the number of angles where the rank of the QFIM saturates."
    parts: list[str] = []
    missed: list[str] = []
    met = 0
    for row in _ranks(rows):
        own = _trained(rows, row["problem"], row["qubits"])
        at = next((one["angles"] for one in own if one["rank_here"] == row["rank"]), None)
        if at is None or at == own[0]["angles"]:
            continue
        tried = _optimisers(one for one in rows if _key(one) == _key(row) and one.get("angles") == at)
        firsts = {name: first_success(rows, *_key(row), name) for name in tried}
        missed += [f"with {name} for {_named(row)}" for name, count in firsts.items() if count != at]
        met += sum(count == at for count in firsts.values())
        first = next(one for one in own if one["angles"] == at)
        seen = ", ".join(f"{count or 'none'} with {name}" for name, count in firsts.items())
        saturated = f"saturated at {at} (weakest eigenvalue {first['weakest']:.0e} of the largest)"
        parts.append(f"{_named(row)}: {saturated}, where {first['share']:.2f} succeed; half of them do from {seen} on")
    if not parts:
        return untested(claim, _SOURCE, "more --ratios, below 1 and from 1 on")
    if not met:
        return Verdict(claim, _SOURCE, NOT_SEEN, "; ".join(parts), _controls(rows))
    doubts = [f"not {', '.join(missed)}"] if missed else []
    return concluded(claim, _SOURCE, "; ".join(parts), doubts + _single_start(rows), _controls(rows))


def fails_below(rows: Sequence[Row]) -> Verdict:
    """Holds if less than half of the starts succeed with every number of angles at which the rank is not saturated.

    With all optimisers; with a reservation if a control does better. Problems of which half of the starts succeed with
    no number of angles say nothing.
    """
    claim = "With fewer angles than the saturated rank needs, training mostly fails."
    saturated = {_key(row): row["rank"] for row in _ranks(rows)}
    below = [row for row in _training(rows) if row["rank_here"] < saturated[_key(row)]]
    if not below:
        return untested(claim, _SOURCE, "more --ratios, below 1")
    solved = {_key(row) for row in _training(rows) if row["share"] >= HALF}
    below = [row for row in below if _key(row) in solved]
    if not below:
        return untested(claim, _SOURCE, "more starts that succeed with some number of angles: --ratios, --steps")
    best = {name: max(_only(below, name), key=lambda row: row["share"]) for name in _optimisers(below)}
    parts = [f"{name}: up to {row['share']:.2f} ({_named(row)}, {row['angles']})" for name, row in best.items()]
    evidence = f"shares that succeed below saturation, {'; '.join(parts)}"
    if best[ADAM]["share"] >= HALF:
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, _controls(rows))
    doubts = [f"not with {name}" for name, row in best.items() if row["share"] >= HALF]
    return concluded(claim, _SOURCE, evidence, doubts + _single_start(rows), _controls(rows))


def no_traps(rows: Sequence[Row]) -> Verdict:
    """Holds if .95 of the starts succeed with the most angles, of every problem, by Adam.

    With a reservation if of some problems only.
    """
    claim = "With enough angles false minima disappear: nearly every start succeeds."
    parts, bad = [], []
    for row in _ranks(rows):
        if not (trained := _trained(rows, *_key(row))):
            continue
        last = trained[-1]
        stalled = f", of the others {last['stalled']:.2f} stand still" if last["stalled"] is not None else ""
        parts.append(f"{_named(row)}: {last['share']:.2f} of {last['starts']} at {last['angles']}{stalled}")
        if last["share"] < ALL:
            bad.append(_named(row))
    if not parts:
        return untested(claim, _SOURCE, "trainings, which belong to every problem's rank")
    evidence = "; ".join(parts)
    if len(bad) == len(parts):
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, "none")
    return concluded(claim, _SOURCE, evidence, _not_for(bad) + _single_start(rows), "none")


def bounded(rows: Sequence[Row]) -> Verdict:
    """Holds if no rank exceeds the dimension of the algebra, also with 1e3 and 1e-3 of the tolerance."""
    claim = "The rank of the QFIM is at most the dimension of the dynamical Lie algebra."
    parts = [f"{_named(row)}: {row['rank']} of {row['algebra']}" for row in _ranks(rows)]
    if any(row["rank"] > row["algebra"] for row in _ranks(rows)):
        return Verdict(claim, f"{_SOURCE}, theorem", NOT_SEEN, "; ".join(parts), "none")
    doubts = [
        f"{_named(row)} has {row['rank_strict']} at 1e-3 and {row['rank_loose']} at 1e3 of the tolerance"
        for row in _ranks(rows)
        if not row["rank_strict"] == row["rank"] == row["rank_loose"]
    ]
    return concluded(claim, f"{_SOURCE}, theorem", "; ".join(parts), doubts, "tolerance")


def equals_algebra(rows: Sequence[Row]) -> Verdict:
    """Holds if every rank is that dimension, with a reservation if some are. The start outside the sector is quoted."""
    claim = "The dimension of the Lie algebra predicts the rank."
    alike, parts = [], []
    for row in _ranks(rows):
        outside = row.get("rank_elsewhere")
        more = f", {outside} from a state without its symmetries" if outside is not None else ""
        parts.append(f"{_named(row)}: {row['rank']}{more} of {row['algebra']}")
        if row["rank"] == row["algebra"]:
            alike.append(_named(row))
    if not alike:
        return Verdict(claim, _SOURCE, NOT_SEEN, "; ".join(parts), "start")
    missed = [_named(row) for row in _ranks(rows) if _named(row) not in alike]
    return concluded(claim, _SOURCE, "; ".join(parts), _not_for(missed), "start")


def published_ranks(rows: Sequence[Row]) -> Verdict:
    """Holds if ranks of all chains are the published ones, not seen if those of no chain are.

    What the emulated slip gives is quoted.
    """
    claim = "The rank is that of the published data: n for the ring, n (n - 1) for the open chain."
    published, parts = ring_and_open("qfim_rank"), []
    same: list[str] = []
    other: list[str] = []
    for row in _ranks(rows):
        theirs = published.get(_key(row))
        if theirs is None:
            continue
        (same if row["rank"] == theirs else other).append(_named(row))
        slip = f", with the slip of the public code {row['rank_slip']}" if row["problem"] == OPEN else ""
        parts.append(f"{_named(row)}: {row['rank']} against {theirs}{slip}")
    source = f"{PAPER}, public data"
    if not parts:
        return untested(claim, source, "more --problems or --qubits")
    if not same:
        return Verdict(claim, source, NOT_SEEN, "; ".join(parts), "slip")
    return concluded(claim, source, "; ".join(parts), _not_for(other), "slip")


def hessians(rows: Sequence[Row]) -> Verdict:
    """Holds if at the minimum with the most angles the Hessian has the saturated rank, for every problem."""
    claim = "At the solution the Hessian has as many directions as the QFIM."
    found = []
    for row in _ranks(rows):
        own = [one for one in _trained(rows, row["problem"], row["qubits"]) if one.get("hessian_rank") is not None]
        if own and own[-1]["rank_here"] == row["rank"]:
            found.append((row, own[-1]))
    if not found:
        return untested(claim, _SOURCE, "more starts that succeed: --ratios, --steps")
    parts = [f"{_named(row)}: {last['hessian_rank']} and {row['rank']}" for row, last in found]
    other = [_named(row) for row, last in found if last["hessian_rank"] != row["rank"]]
    if len(other) == len(found):
        return Verdict(claim, _SOURCE, NOT_SEEN, "; ".join(parts), "none")
    return concluded(claim, _SOURCE, "; ".join(parts), _not_for(other), "none")


# --- pieces ----------------------------------------------------------------------------------------------------------


def _key(row: Row) -> tuple[str, int]:
    return row["problem"], row["qubits"]


def _named(row: Row) -> str:
    return f"{row['problem']} {row['qubits']}"


def _ranks(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["part"] == RANKS]


def _training(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["part"] == TRAINING]


def _only(rows: Iterable[Row], optimiser: str) -> list[Row]:
    return [row for row in rows if row["optimiser"] == optimiser]


def _trained(rows: Iterable[Row], problem: str, qubits: int, optimiser: str = ADAM) -> list[Row]:
    """By the number of angles."""
    own = [row for row in _only(_training(rows), optimiser) if _key(row) == (problem, qubits)]
    return sorted(own, key=lambda row: row["angles"])


def _optimisers(rows: Iterable[Row]) -> list[str]:
    there = {row["optimiser"] for row in _training(rows)}
    return [name for name in (ADAM, FAST, NATURAL) if name in there]


def _not_for(names: Sequence[str]) -> list[str]:
    return [f"not for {', '.join(names)}"] if names else []


def _single_start(rows: Iterable[Row]) -> list[str]:
    """The doubt that one start leaves of a share of them; none for several."""
    return ["a single start"] if any(row["starts"] < 2 for row in _training(rows)) else []


def _controls(rows: Sequence[Row]) -> str:
    return ", ".join(name for name in _optimisers(rows) if name != ADAM) or "none"
