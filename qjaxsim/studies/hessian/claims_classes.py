"""Claims that outliers of the Hessian's spectrum come from class means: in direction, and in size.

What rests on a single seed holds with a reservation at most.
"""

from collections.abc import Sequence

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_TESTED, Verdict
from qjaxsim.studies.hessian.configurations import MATCHED, START, is_baseline
from qjaxsim.studies.hessian.knock_out import removed_share
from qjaxsim.studies.shared.judging import settled_mean, single_seed
from qjaxsim.studies.shared.trends import judged, not_seen, number, numbers, quote_values, seeds_of

# Share of the outliers that the knock-out of class means takes out: for "holds", and for a reservation.
TAKEN_OUT, HALF = 0.75, 0.5
# Share that averages over other classes may take out.
BY_CHANCE = 0.25

SOURCE = "Papyan 2019, arXiv:1901.08244 (classical networks)"


def outliers_along_class_means(rows: Sequence[Row]) -> Verdict:
    """Claim (l): the outliers lie along class means.

    Of the eigenvalues that the gap rule counts as outliers, or of the K - 1 leading ones where it counts none, the
    share is taken that falls below the gap when the span of the class means is projected out of H. Holds if the mean
    over rows is at least `TAKEN_OUT`, and labels permuted in the averages and random classes of equal size take out
    `BY_CHANCE` at most. With a reservation if it is `HALF` and above that of both controls. Not seen otherwise.
    """
    claim = "The outliers lie along the class means: without these directions they are gone."
    used = [row for row in rows if is_baseline(row) and removed_share(row) is not None]
    if not used:
        evidence = "Rows with class_removed would test it: --spectrum dense or lanczos."
        return Verdict(claim, SOURCE, NOT_TESTED, evidence, "none")
    mean, chance = _mean(_shares(used)), max(_mean(_shares(used, which)) for which in ("_permuted", "_random"))
    others = [row for row in rows if not is_baseline(row) and removed_share(row) is not None]
    start = _shares([row for row in others if row.get("point") == START])
    evidence = _evidence(used, others)
    if mean < HALF or mean <= chance:
        return not_seen(claim, SOURCE, evidence, [*used, *others])
    doubts = [f"below {TAKEN_OUT:.0%}"] if mean < TAKEN_OUT else []
    if chance > BY_CHANCE:
        doubts.append(f"averages over other classes take out {chance:.0%}")
    if without := sum(not row.get("outliers_gap") for row in used):
        doubts.append(f"no outliers by the gap rule in {without} of {len(used)} rows")
    if start and _mean(start) >= mean:
        doubts.append("as much before training")
    return judged(claim, SOURCE, doubts + single_seed(used), evidence, [*used, *others])


def outliers_are_class_means(rows: Sequence[Row]) -> Verdict:
    """Claim (m): the outliers have the size that class means give them.

    The share of G1, the part of the Gauss-Newton matrix by class means, in the same eigenvalues of H is
    v^T G1 v / lambda. Holds if its mean is at least `HALF` in every row, with a reservation if it is so over all rows
    or where rows have no outliers. Not seen otherwise: then other parts make them large.
    """
    claim = "The outliers are eigenvalues of the class means: G1 makes at least half of them."
    used = [row for row in rows if is_baseline(row) and number(row, "g1_share") is not None]
    if not used:
        evidence = "Rows with g1_share would test it: --spectrum dense or lanczos."
        return Verdict(claim, SOURCE, NOT_TESTED, evidence, "none")
    shares = numbers(used, "g1_share")
    said = {name: numbers(used, f"g{i}_share") for i, name in ((0, "G0"), (2, "G2"))}
    evidence = f"G1 is {quote_values(shares)} of these eigenvalues, " + ", ".join(
        f"{name} {quote_values(values)}" for name, values in said.items() if values
    )
    evidence += "; the rest is spread within classes and the residual part"
    others = [row for row in rows if not is_baseline(row) and number(row, "g1_share") is not None]
    for name, own in _arms(others).items():
        evidence += f"; {name} G1 {quote_values(numbers(own, 'g1_share'))}"
    evidence += f"; {seeds_of(used)}"
    if _mean(shares) < HALF:
        return not_seen(claim, SOURCE, evidence, [*used, *others])
    doubts = ["less than half in some row"] if min(shares) < HALF else []
    if without := sum(not row.get("outliers_gap") for row in used):
        doubts.append(f"no outliers by the gap rule in {without} of {len(used)} rows")
    return judged(claim, SOURCE, doubts + single_seed(used), evidence, [*used, *others])


def _evidence(used: Sequence[Row], others: Sequence[Row]) -> str:
    """The shares of the baseline, of its controls and of other cells, in words."""
    said = {
        "class means": _shares(used),
        "those and the range of G2": _shares(used, "_cross"),
        "class means of permuted labels": _shares(used, "_permuted"),
        "class means of random classes": _shares(used, "_random"),
    }
    listed = ", ".join(f"{quote_values(shares)} without {name}" for name, shares in said.items() if shares)
    evidence = f"Share of the outliers (of K − 1 eigenvalues where there are none) that is gone: {listed}"
    arms = _arms(others)
    evidence += "".join(f"; {name} {quote_values(_shares(own))} of {_asked(own)}" for name, own in arms.items())
    overlaps = [(name, numbers(own, "class_overlap")) for name, own in {"at the minimum": used, **arms}.items()]
    if said_overlaps := ", ".join(f"{name} {quote_values(values)}" for name, values in overlaps if values):
        evidence += f"; overlap of the class means with the K leading eigenvectors {said_overlaps}"
    return f"{evidence}; {seeds_of(used)}"


def _asked(rows: Sequence[Row]) -> str:
    """How many eigenvalues were asked about: where a single one is an outlier, most directions take it out."""
    counts = sorted({int(count) for count in numbers(rows, "class_tested")})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _arms(others: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of controls by what they say: another point of the path, or other class counts."""
    classes = [row for row in others if row.get("control") == "classes"]
    arms = {
        "before training": [row for row in others if row.get("point") == START],
        "at matched loss": [row for row in others if row.get("point") == MATCHED],
        **{f"K = {k}": [row for row in classes if row["n_classes"] == k] for k in sorted(_counts(classes))},
    }
    return {name: own for name, own in arms.items() if own}


def _counts(rows: Sequence[Row]) -> set[int]:
    return {int(row["n_classes"]) for row in rows}


def _shares(rows: Sequence[Row], which: str = "") -> list[float]:
    return [share for row in rows if (share := removed_share(row, which)) is not None]


def _mean(shares: Sequence[float]) -> float:
    return settled_mean(shares) if shares else 0.0
