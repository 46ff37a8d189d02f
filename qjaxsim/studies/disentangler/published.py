"""Published numbers of the disentangler study beside ours, each with what makes the two settings differ."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.studies.shared.comparison import compared

PAPER = "arXiv:2410.17397v2"


def comparison_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Table I and the character transformer of arXiv:2603.28534 beside our rows of the same bond; means over seeds.

    Returns:
        Rows with quantity, ours, published, difference (None unless comparable) and comparable (true, or why not).
    """
    paper = load("tensor_network_disentanglers")
    return [*_table_one(rows, paper), *_pico_gpt(rows, paper["char_transformer"])]


def _table_one(rows: Sequence[dict[str, Any]], paper: dict[str, Any]) -> list[dict[str, Any]]:
    own = [row for row in rows if row["part"] == "bond" and row.get("perplexity_change") is not None]
    if not own:
        return []
    published = paper["layer"]
    reason = (
        f"a character model and a layer of {own[0]['dense']} numbers against {published['model']}, words and "
        f"{published['dense_parameters']}"
    )
    pairs = [("mpo", paper["plain_mpo"], "plain MPO")]
    pairs += [("explicit", theirs, "between circuits as wide as the registers") for theirs in paper["bond"]]
    out = []
    for method, theirs, words in pairs:
        found = [row for row in own if row["method"] == method and row.get("chi") == theirs["chi"]]
        if not found:
            continue
        counts = f"{found[0]['classical']} numbers, {found[0]['circuit']} angles"
        theirs_counts = f"{theirs['mpo_parameters']}, {theirs.get('circuit_parameters', 0)}"
        quantity = f"change of perplexity, bond {theirs['chi']}, {words} ({counts}; published {theirs_counts})"
        out.append(
            compared(quantity, _mean(row["perplexity_change"] for row in found), theirs["perplexity_change"], reason)
        )
    return out


def _pico_gpt(rows: Sequence[dict[str, Any]], paper: dict[str, Any]) -> list[dict[str, Any]]:
    model = [row for row in rows if row["part"] == "model"]
    original = [row for row in model if row["method"] == "original" and row.get("accuracy") is not None]
    out = []
    if original:
        reason = f"another text and {original[0]['model_parameters']} numbers against {paper['parameters']}"
        out.append(
            compared(
                "accuracy of the original model", _mean(row["accuracy"] for row in original), paper["accuracy"], reason
            )
        )
    compressed = [
        row
        for row in model
        if row["method"] == "mpo-balanced-total"
        and row.get("accuracy_bond") is not None
        and row["layer"].endswith("layers")
        and row["chi"] == paper["compressed"]["chi"]
    ]
    if compressed:
        reason = (
            f"another text, truncated and trained further, not trained from the start, "
            f"{compressed[0]['model_parameters']} numbers against {paper['compressed']['parameters']}"
        )
        quantity = f"accuracy, all layers balanced MPOs, {compressed[0]['total']} numbers"
        accuracies = [row["accuracy_bond"] for row in compressed]
        out.append(compared(quantity, _mean(accuracies), paper["compressed"]["accuracy"], reason))
    return out


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
