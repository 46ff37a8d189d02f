"""What the commands of studies share: lists as options, the command line as typed, verdicts as lines."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qjaxsim.report.claims import Verdict


def print_verdicts(found: "Sequence[Verdict]") -> None:
    """A line a claim with its evidence, what was not tested here last."""
    from qjaxsim.report.claims import NOT_TESTED

    print("Published claims")
    for one in found:
        if one.verdict != NOT_TESTED:
            print(f"- {one.verdict}: {one.claim}\n  {one.evidence}")
    for one in found:
        if one.verdict == NOT_TESTED:
            print(f"- {one.verdict}: {one.claim} ({one.evidence})")
    print()


def names(text: str) -> tuple[str, ...]:
    """A list such as "pca,eigen"."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(option: str, text: str) -> tuple[int, ...]:
    """A list such as "1,4,9"."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"Option --{option} must be integers separated by commas, but is {text!r}.") from error


def command_line() -> str:
    """What was typed, without the path of the program."""
    return shlex.join(["qjaxsim", *sys.argv[1:]])


def print_comparison(published: Sequence[dict[str, Any]], source: str = "arXiv:2504.19239") -> None:
    """Print published numbers beside ours, with the reasons against comparing as numbered notes below the table."""
    from qjaxsim.report.tables import print_table

    reasons = list(dict.fromkeys(row["comparable"] for row in published if row["comparable"] is not True))
    shown = [
        {**row, "comparable": True if row["comparable"] is True else f"no ({reasons.index(row['comparable']) + 1})"}
        for row in published
    ]
    print_table(shown, title=f"Published numbers ({source}) beside ours")
    for number, reason in enumerate(reasons, start=1):
        print(f"({number}) not comparable: {reason}")
