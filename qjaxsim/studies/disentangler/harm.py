"""What replaced layers do to their model, in one number: perplexity, or distance of an encoder's sentences."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Harm(NamedTuple):
    """How a kind of model is judged.

    Attributes:
        column: of rows; 0 for the model as it was, larger is worse.
        name: of it, in sentences.
        axis: of it, in figures.
        scale: from the column to the figure.
        small: what is nearly nothing in the figure, whose scale is linear below it where values are that small.
        quality: column of a share of hits, at most 1.
        hits: of it, in figures.
    """

    column: str
    name: str
    axis: str
    scale: float
    small: float
    quality: str
    hits: str

    def said(self, value: float) -> str:
        """A value of the column in a sentence.

        >>> PERPLEXITY.said(0.0123), DISTANCE.said(0.0123)
        ('+1.23 %', '0.0123')
        """
        return percent(value) if self.scale == PERPLEXITY.scale else f"{value:.3g}"

    def healed(self, row: Mapping[str, Any]) -> float | None:
        """The best share of hits after further training; None without any."""
        values = [row.get(f"{self.quality}_{what}") for what in ("bond", "circuits")]
        return max((value for value in values if value is not None), default=None)


PERPLEXITY = Harm("perplexity_change", "perplexity", "change of perplexity, %", 100.0, 1.0, "accuracy",
                  "accuracy on the test text")  # fmt: skip
DISTANCE = Harm("distance", "distance of sentences", "distance of sentences", 1.0, 1e-4, "agreement",
                "nearest neighbours kept")  # fmt: skip


def harm_of(rows: Sequence[Mapping[str, Any]]) -> Harm:
    """That of the model which rows are of; perplexity where there is none."""
    return DISTANCE if any(row.get(DISTANCE.column) is not None for row in rows) else PERPLEXITY


def healed_means(rows: Sequence[Mapping[str, Any]], harm: Harm) -> list[dict[str, Any]]:
    """All layers replaced at once and trained further, a row for each way, with means over seeds.

    Returns:
        Rows with method, size, the share of hits, and "healed", that after further training.
    """
    ways: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["part"] == "model" and row["layer"].endswith("layers") and harm.healed(row) is not None:
            key = tuple(row.get(name) for name in ("method", "layer", "chi", "gate_qubits", "depth"))
            ways.setdefault(key, []).append({**row, "healed": harm.healed(row)})
    names = ("size", "healed", harm.quality)
    return [
        {"method": own[0]["method"], **{name: sum(row[name] for row in own) / len(own) for name in names}}
        for own in ways.values()
    ]


def percent(value: float) -> str:
    """A change in per cent, with its sign."""
    return f"{100 * value:+.2f} %"
