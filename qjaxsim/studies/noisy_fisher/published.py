"""Published numbers of the study `noisy-fisher` beside ours, each with what makes the two settings differ."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.common.words import counted
from qjaxsim.report.row import Row
from qjaxsim.studies.noisy_fisher.cell import GLOBAL, LOCAL, NONE, RANDOM
from qjaxsim.studies.noisy_fisher.settings import NoisyFisherSettings
from qjaxsim.studies.shared.comparison import compared

PAPER = "arXiv:2302.05059"
NAME = "noisy_fisher"


def comparison_rows(settings: NoisyFisherSettings, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ranks and largest eigenvalues at random angles beside ours, ours the median over seeds.

    Returns:
        Rows with quantity, ours, published, difference (None unless comparable) and comparable (true, or why not).
    """
    paper, out = load(NAME), []
    reason = f"{counted(settings.qubits, 'qubit')} against {paper['setting']['qubits']}"
    reason = reason if settings.qubits != paper["setting"]["qubits"] else ""
    for theirs in paper["ranks"]:
        own = _rows(rows, theirs)
        if own:
            place = f"rank of the QFIM, {counted(theirs['layers'], 'layer')}, {_noise(theirs)}"
            out.append(compared(place, int(np.median([row["rank"] for row in own])), theirs["rank"], reason))
    for theirs in paper["largest"]:
        own = _rows(rows, theirs)
        if own:
            place = f"largest eigenvalue of the QFIM, {counted(theirs['layers'], 'layer')}, {_noise(theirs)}"
            angles = "one draw of other angles" + (", and a fourth of the QFIM" if theirs["noise"] == NONE else "")
            ours = float(np.median([row["largest"] for row in own]))
            out.append(compared(place, ours, theirs["largest"], "; ".join(filter(None, [angles, reason]))))
    return out


def _rows(rows: Sequence[Row], theirs: Row) -> list[Row]:
    """Ours at random angles with the same layers and noise; of global noise those of the weakest."""
    own = [row for row in rows if row["point"] == RANDOM and row["layers"] == theirs["layers"]]
    own = [row for row in own if row["noise"] == theirs["noise"]]
    if theirs["noise"] == GLOBAL:
        weakest = min((row["strength"] for row in own), default=None)
        return [row for row in own if row["strength"] == weakest]
    return [row for row in own if theirs["noise"] != LOCAL or row["strength"] == theirs["strength"]]


def _noise(theirs: Row) -> str:
    """In words."""
    if theirs["noise"] == LOCAL:
        return f"local noise of {theirs['strength']:g}"
    return "global noise" if theirs["noise"] == GLOBAL else "no noise"
