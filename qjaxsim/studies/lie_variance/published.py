"""Variances from another program's draws beside ours."""

from collections.abc import Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.report.row import Row, describe
from qjaxsim.studies.lie_variance.claims import pooled
from qjaxsim.studies.lie_variance.settings import CHAIN
from qjaxsim.studies.shared.comparison import compared

# Layers from which on variances of chains up to eight qubits stand still; theirs are of deep circuits.
_DEEP = 64


def comparison_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ours at the largest depth, pooled over seeds, beside theirs."""
    out = []
    for theirs in load("lie_variance")["sampled"]:
        found = pooled(rows, CHAIN, theirs["qubits"])
        if found:
            layers = describe("layers", found[-1].depth)
            name = f"variance of <X_0>, chain of {theirs['qubits']} qubits, {layers}"
            reason = "" if found[-1].depth >= _DEEP else f"{layers} against deep circuits"
            out.append(compared(name, found[-1].variance, theirs["variance"], reason))
    return out
