"""Published effective dimensions beside ours, each with what makes the two settings differ."""

from collections.abc import Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.report.row import Row
from qjaxsim.studies.effective_dimension.models import NEURONS
from qjaxsim.studies.effective_dimension.settings import UNIT, EffectiveDimensionSettings
from qjaxsim.studies.shared.comparison import compared

# Of classical networks.
_UNKNOWN = "draws that the public programs do not tell"


def comparison_rows(settings: EffectiveDimensionSettings, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ours at the published seed beside the published figures, for every model and n of both.

    Those of the classical network of 40 parameters are from the authors' Fisher matrices, not in their figure.
    """
    paper = load("effective_dimension")
    drawn = paper["setting"]
    pairs = {"draws of parameters": (settings.thetas, drawn["thetas"]), "inputs": (settings.inputs, drawn["inputs"])}
    differences = [f"{ours} {name} against {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs]
    out = []
    stored = [{**row, "words": " (stored)"} for row in paper["normalised_of_stored_matrices"]]
    for theirs in (*paper["normalised"], *stored):
        reasons = differences + ([_UNKNOWN] if theirs["model"] in NEURONS else [])
        for row in rows:
            own = (row["model"], row["samples"], row["interval"], row["seed"])
            if own == (theirs["model"], theirs["samples"], UNIT, drawn["seed"]):
                name = f"d_n / d, {row['model']}{theirs.get('words', '')}, n = {row['samples']:,}"
                out.append(compared(name, row["share"], theirs["share"], "; ".join(reasons)))
    return out
