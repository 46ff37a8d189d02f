"""Verdicts from evidence and doubts, and the words for numbers of several seeds."""

from collections.abc import Sequence

import numpy as np

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import HOLDS, NOT_TESTED, RESERVATION, Verdict


def concluded(claim: str, source: str, evidence: str, doubts: Sequence[str], tested_by: str) -> Verdict:
    """The claim holds, with a reservation where there are doubts, which follow the evidence.

    >>> concluded("A claim.", "a paper", "1 against 2", ["a single seed"], "none")[2:4]
    ('holds with a reservation', '1 against 2; a single seed')
    """
    text = evidence + "".join(f"; {doubt}" for doubt in doubts)
    return Verdict(claim, source, RESERVATION if doubts else HOLDS, text, tested_by)


def of_one_seed(found: Verdict) -> Verdict:
    """A verdict reached by a single seed: it holds with a reservation at most, which follows the evidence.

    >>> of_one_seed(concluded("A claim.", "a paper", "1 against 2", [], "none"))[2:4]
    ('holds with a reservation', '1 against 2; a single seed')
    """
    if found.verdict not in (HOLDS, RESERVATION):
        return found
    return found._replace(verdict=RESERVATION, evidence=f"{found.evidence}; a single seed")


def untested(claim: str, source: str, what: str) -> Verdict:
    """The claim was not tested; `what` would test it."""
    return Verdict(claim, source, NOT_TESTED, f"Would be tested by {what}.", "none")


def seeds_in(rows: Sequence[Row]) -> list[int]:
    """The seeds of a table, in its order."""
    return list(dict.fromkeys(row["seed"] for row in rows))


def single_seed(rows: Sequence[Row]) -> list[str]:
    """The doubt that one seed leaves; none for several."""
    return ["a single seed"] if len(seeds_in(rows)) < 2 else []


def settled(number: float) -> float:
    """A number to twelve places: what rounding makes of equal means, or of a limit that is just met, decides nothing.

    >>> settled(0.58 - 0.57), settled(0.1 + 0.2 - 0.3)
    (0.01, 0.0)
    """
    return round(float(number), 12)


def settled_mean(values: Sequence[float]) -> float:
    """The mean of one number or more, settled.

    >>> settled_mean([0.7, 0.6, 0.2])
    0.5
    """
    return settled(sum(values) / len(values))


def over_seeds(values: Sequence[float]) -> str:
    """Mean and range.

    >>> over_seeds([1.0, 3.0])
    '2 (1 to 3, 2 seeds)'
    """
    text = f"{np.mean(values):.3g}"
    return text if len(values) < 2 else f"{text} ({min(values):.3g} to {max(values):.3g}, {len(values)} seeds)"
