"""Published claims on patch circuits, each judged by a stated rule from the rows of the study `hessian`."""

from collections.abc import Iterable, Sequence
from typing import Any

from qjaxsim.report.claims import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION, Verdict
from qjaxsim.report.configurations import Row
from qjaxsim.studies import verdicts_patches, verdicts_spectrum

__all__ = ["HOLDS", "NOT_SEEN", "NOT_TESTED", "RESERVATION", "Verdict", "verdict_rows", "verdicts"]

CLAIMS = (
    verdicts_patches.fewer_with_patches,
    verdicts_patches.inverse_law,
    verdicts_patches.not_the_fit,
    verdicts_patches.not_the_normalisation,
    verdicts_patches.not_the_size,
    verdicts_patches.sharper_with_depth,
    verdicts_spectrum.bulk_and_outliers,
    verdicts_spectrum.outliers_are_classes,
    verdicts_spectrum.bulk_is_structure,
    verdicts_spectrum.no_cross_patch_curvature,
    verdicts_spectrum.gradient_in_leading_space,
)


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim, in the order of `CLAIMS`; each function there states its rule.

    Args:
        rows: table of the study, controls included, columns as in `qjaxsim.studies.hessian_cell.COLUMNS`. Columns may
            be missing or None: claims that need them are then "not tested here".

    Returns:
        Verdicts: "holds", "holds with a reservation", "not seen" or "not tested here", with the figures behind it.
    """
    return [claim(rows) for claim in CLAIMS]


def verdict_rows(found: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as rows of a table, for `write_report` and `print_table`."""
    return [verdict._asdict() for verdict in found]
