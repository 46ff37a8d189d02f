"""Published claims on patch circuits, each judged by a stated rule from the rows of the study `hessian`."""

from collections.abc import Sequence

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import Verdict
from qjaxsim.studies.hessian import claims_classes, claims_patches, claims_spectrum

CLAIMS = (
    claims_patches.fewer_with_patches,
    claims_patches.inverse_law,
    claims_patches.not_the_fit,
    claims_patches.not_the_normalisation,
    claims_patches.not_the_size,
    claims_patches.sharper_with_depth,
    claims_spectrum.bulk_and_outliers,
    claims_spectrum.outliers_are_classes,
    claims_classes.outliers_along_class_means,
    claims_classes.outliers_are_class_means,
    claims_spectrum.bulk_is_structure,
    claims_spectrum.no_cross_patch_curvature,
    claims_spectrum.gradient_in_leading_space,
)


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim, in the order of `CLAIMS`; each function there states its rule.

    Args:
        rows: table of the study, controls included, columns as in `qjaxsim.studies.hessian.cell.COLUMNS`. Columns may
            be missing or None: claims that need them are then "not tested here".

    Returns:
        Verdicts: "holds", "holds with a reservation", "not seen" or "not tested here", with the figures behind it.
    """
    return [claim(rows) for claim in CLAIMS]
