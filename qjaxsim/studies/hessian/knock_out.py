"""What a knock-out takes out, from the columns of a row."""

import math

from qjaxsim.report.row import Row


def removed_share(row: Row, which: str = "") -> float | None:
    """Share of the eigenvalues in question that a knock-out takes below the gap; None where it is not recorded.

    Args:
        row: of the study.
        which: "" for class means, "_cross" for those and the range of G2, "_permuted" or "_random" for a control's.
    """
    tested, removed = row.get("class_tested"), row.get(f"class_removed{which}")
    return float(removed / tested) if tested and removed is not None and math.isfinite(removed) else None
