"""Published numbers of the study `overparametrisation` beside ours, each with what makes the two settings differ."""

from collections.abc import Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.report.row import Row
from qjaxsim.studies.overparametrisation.cell import RANKS, TRAINING
from qjaxsim.studies.overparametrisation.settings import ADAM, OPEN, UNITARY, OverparametrisationSettings
from qjaxsim.studies.shared.comparison import compared

PAPER = "arXiv:2109.11676"
NAME = "overparametrisation"
# Below which published trainings were counted as successes.
_THRESHOLD = 1e-5


def ring_and_open(column: str) -> dict[tuple[str, int], int]:
    """A column of the published table of chains, by problem and qubits; what was not published is left out."""
    return {(row["chain"], row["qubits"]): row[column] for row in load(NAME)["ising"] if row.get(column) is not None}


def comparison_rows(settings: OverparametrisationSettings, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ranks, shares and first numbers of angles that train beside ours.

    Returns:
        Rows with quantity, ours, published, difference (None unless comparable) and comparable (true, or why not).
    """
    paper = load(NAME)
    reason = _differences(settings, paper["setting"])
    trained = [row for row in rows if row["part"] == TRAINING and row["optimiser"] == ADAM]
    return [
        *_ranks([row for row in rows if row["part"] == RANKS], paper),
        *_hessians(trained),
        *_firsts(trained, reason),
        *_shares(trained, paper, reason),
    ]


def _differences(settings: OverparametrisationSettings, paper: dict[str, Any]) -> str:
    pairs = {
        "steps": (settings.steps, paper["steps"]),
        "learning rate": (settings.learning_rate, paper["learning_rate"]),
        "threshold": (settings.threshold, _THRESHOLD),
    }
    return "; ".join(f"{name} {ours} against {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs)


def _ranks(rows: Sequence[Row], paper: dict[str, Any]) -> list[dict[str, Any]]:
    chains = ring_and_open("qfim_rank")
    unitaries = {(UNITARY, row["qubits"]): row["qfim_rank"] for row in paper["unitary"]}
    out = []
    for row in rows:
        theirs = {**chains, **unitaries}.get((row["problem"], row["qubits"]))
        if theirs is None:
            continue
        place = f"rank of the QFIM, {row['problem']}, {row['qubits']} qubits"
        out.append(compared(place, row["rank"], theirs, ""))
        if row["problem"] == OPEN:
            quantity = f"{place}, derivative in the ZZ with the first X as in the public code"
            out.append(compared(quantity, row["rank_slip"], theirs, ""))
    return out


def _hessians(rows: Sequence[Row]) -> list[dict[str, Any]]:
    out = []
    for (problem, qubits), theirs in ring_and_open("hessian_rank").items():
        own = [row for row in rows if (row["problem"], row["qubits"]) == (problem, qubits) and row.get("hessian_rank")]
        if own:
            last = max(own, key=lambda row: row["angles"])
            quantity = f"rank of the Hessian at the solution, {problem}, {qubits} qubits, {last['angles']} angles"
            out.append(compared(quantity, last["hessian_rank"], theirs, ""))
    return out


def _firsts(rows: Sequence[Row], reason: str) -> list[dict[str, Any]]:
    out = []
    for (problem, qubits), theirs in ring_and_open("first_angles").items():
        own = [row for row in rows if (row["problem"], row["qubits"]) == (problem, qubits)]
        enough = sorted(row["angles"] for row in own if row["share"] >= 0.5)
        if enough:
            grid = f"angles tried {', '.join(str(row['angles']) for row in sorted(own, key=lambda row: row['angles']))}"
            quantity = f"fewest angles with which half of the starts succeed, {problem}, {qubits} qubits"
            out.append(compared(quantity, enough[0], theirs, "; ".join(filter(None, [grid, reason]))))
    return out


def _shares(rows: Sequence[Row], paper: dict[str, Any], reason: str) -> list[dict[str, Any]]:
    theirs = {(OPEN, row["qubits"], 2 * row["layers"]): row["share"] for row in paper["ising_shares"]}
    theirs |= {(UNITARY, row["qubits"], row["angles"]): row["share"] for row in paper["unitary_shares"]}
    out = []
    for row in rows:
        share = theirs.get((row["problem"], row["qubits"], row["angles"]))
        if share is not None:
            place = f"share of {row['starts']} starts, {row['problem']}, {row['qubits']} qubits, {row['angles']} angles"
            out.append(compared(place, row["share"], share, reason))
    return out
