"""Variances from another program's draws beside ours."""

from collections.abc import Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.report.row import Row
from qjaxsim.studies.lie_variance.claims import pooled
from qjaxsim.studies.lie_variance.settings import CHAIN
from qjaxsim.studies.shared.comparison import compared


def comparison_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ours at the largest depth, pooled over seeds, beside theirs."""
    out = []
    for theirs in load("lie_variance")["sampled"]:
        found = pooled(rows, CHAIN, theirs["qubits"])
        if found:
            name = f"variance of <X_0>, chain of {theirs['qubits']} qubits, {found[-1].depth} layers"
            out.append(compared(name, found[-1].variance, theirs["variance"], ""))
    return out
