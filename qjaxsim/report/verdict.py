"""Verdicts on published claims: their words, and what a page needs to show them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from qjaxsim.report.headline import Fact
from qjaxsim.report.row import Row

HOLDS = "holds"
RESERVATION = "holds with a reservation"
NOT_SEEN = "not seen"
NOT_TESTED = "not tested here"

# Verdict -> class in page.css. Each is a frame of its own, so that verdicts differ without colours, too.
CLASSES = {
    HOLDS: "verdict holds",
    RESERVATION: "verdict reservation",
    NOT_SEEN: "verdict not-seen",
    NOT_TESTED: "verdict not-tested",
}
_OTHERS = {
    RESERVATION: "{} more with a reservation",
    NOT_SEEN: "{} not seen",
    NOT_TESTED: "{} not tested here",
}


class Verdict(NamedTuple):
    """What a study's rows say about one published claim.

    Attributes:
        claim: the claim in one sentence.
        source: where it was published.
        verdict: one of the four words of this module.
        evidence: the figures behind the verdict, and every reservation; for "not tested here" what would test it.
        tested_by: names of the controls whose rows were used, "none" where there were none.
    """

    claim: str
    source: str
    verdict: str
    evidence: str
    tested_by: str


def verdict_rows(found: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as rows of a table, for `write_report` and `print_table`."""
    return [verdict._asdict() for verdict in found]


def tally(rows: Sequence[Row]) -> list[Fact]:
    """How many published claims hold, and what became of the others; none without claims.

    >>> tally([{"verdict": HOLDS}, {"verdict": NOT_SEEN}, {"verdict": NOT_SEEN}])
    [Fact(number='1 of 3', meaning='published claims hold; 2 not seen')]
    """
    if not rows:
        return []
    counts = Counter(row["verdict"] for row in rows)
    others = [_OTHERS[verdict].format(counts[verdict]) for verdict in _OTHERS if counts[verdict]]
    return [Fact(f"{counts[HOLDS]} of {len(rows)}", "; ".join(["published claims hold", *others]))]


def check_verdicts(rows: Sequence[Row]) -> None:
    """Refuse rows that are no verdicts.

    Raises:
        ValueError: if a row lacks a field of `Verdict`, or its verdict is none of the four.
    """
    for row in rows:
        if missing := [name for name in Verdict._fields if name not in row]:
            raise ValueError(
                f"Rows of `verdicts` must have the columns {list(Verdict._fields)}, but one lacks {missing}."
            )
        if row["verdict"] not in CLASSES:
            raise ValueError(
                f"Column `verdict` of `verdicts` must be one of {list(CLASSES)}, but for {row['claim']!r} it is "
                f"{row['verdict']!r}."
            )
