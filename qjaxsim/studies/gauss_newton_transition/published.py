"""Numbers of another program on other random circuits beside ours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.report.row import Row
from qjaxsim.studies.gauss_newton_transition.settings import TransitionSettings
from qjaxsim.studies.shared.comparison import compared

_ONE_CIRCUIT = "one random circuit of theirs"


def comparison_rows(settings: TransitionSettings, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over our seeds, of the first number of angles and the first rate, beside theirs of one random circuit."""
    known = load("gauss_newton_transition")
    setting = known["setting"]
    pairs = {
        "qubits": (settings.qubits, setting["qubits"]),
        "angles": (settings.angles[0], setting["angles"]),
        "learning rate": (settings.learning_rates[0], setting["learning_rate"]),
        "steps": (settings.steps, setting["steps"]),
    }
    reasons = [f"{name} {ours} against {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs]
    own = [
        row for row in rows if (row["angles"], row["learning_rate"]) == (settings.angles[0], settings.learning_rates[0])
    ]
    # A number of eigenvalues is no matter of the circuit.
    counts, sizes = "; ".join(reasons), "; ".join([_ONE_CIRCUIT, *reasons])
    steps = {settings.steps // 4: "error_quarter", settings.steps // 2: "error_half", settings.steps: "error"}
    asked = [
        *((f"largest eigenvalue of H, O0 - O_min = {one['target']:g}", one, "hessian_max", "hessian_max", sizes)
          for one in known["largest_eigenvalues"]),
        *((f"eigenvalues of R, O0 - O_min = {one['target']:g}", one, "residual_rank", "residual_rank", counts)
          for one in known["nonzero_eigenvalues"]),
        *((f"error at O0 = O_min after {one['step']:,} steps", one, steps.get(one["step"], ""), "error", sizes)
          for one in known["errors_at_the_transition"]),
    ]  # fmt: skip
    out = []
    for quantity, theirs, column, name, reason in asked:
        found = [row[column] for row in own if row["target"] == theirs["target"] and column]
        if found:
            out.append(compared(quantity, float(np.mean(found)), theirs[name], reason))
    return out
