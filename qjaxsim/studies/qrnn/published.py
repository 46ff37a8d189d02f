"""Published numbers of the recurrent network beside ours."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.report.row import Row
from qjaxsim.studies.qrnn.encoding import Encoding
from qjaxsim.studies.qrnn.figures import balanced
from qjaxsim.studies.qrnn.published_digits import digit_rows, drawn_rows
from qjaxsim.studies.qrnn.settings import DEFAULTS
from qjaxsim.studies.shared.comparison import compared

_TOPOLOGY = ("workspace", "stages", "degree")


def comparison_rows(rows: Sequence[Row], encoding: Encoding | None = None) -> list[dict[str, Any]]:
    """Rows with quantity, ours, published, difference and comparable (true, or the reason why not).

    Args:
        rows: table of the study.
        encoding: how images became words, for the tasks on images.
    """
    paper = load("qrnn")
    out: list[dict[str, Any]] = []
    for row in rows:
        experiment, task = row["experiment"], row["task"]
        if experiment in ("training", "baselines") and task == "dna":
            out += _updates(row, [p for p in paper["dna_updates"] if _same(p, row, ("network", "length"))])
        if experiment == "training" and task == "dna":
            for control in (p for p in paper["dna_controls"] if p["length"] == row["length"]):
                for ours, theirs in (("accuracy_blanked_inputs", "inputs_zero"),
                                     ("accuracy_all_sampled", "outputs_sampled")):  # fmt: skip
                    reason = "author's code: one network, batch 32" if row["batch_size"] != 32 else ""
                    out.append(compared(f"{ours}, dna, L {row['length']}", row[ours], control[theirs], reason))
        if task == "letters":
            out += _updates(
                row, [p for p in paper["letters_cells"] if _same(p, row, ("workspace", "stages", "degree"))]
            )
        if experiment == "optimizers":
            for point in (p for p in paper["optimizers"] if _same(p, row, ("optimizer", "learning_rate"))):
                name = f"validation loss after {row['updates']:g} updates, {row['optimizer']} {row['learning_rate']:g}"
                reasons = [] if row["updates"] == 500 else ["500 updates published"]
                reasons += [] if task == "memorise" else [f"task {task} against memorise"]
                reasons += _differences(row, "memorise", ("length", "batch_size", *_TOPOLOGY))
                if row["optimizer"] == "lbfgs":
                    reasons = ["torch makes up to 20 iterations an update, ours one"]
                if row["validation_loss"] is None:
                    continue
                out.append(compared(name, row["validation_loss"], point["validation_loss"], "; ".join(reasons)))
        if encoding is not None and "test_accuracy_argmax" in row:
            out += digit_rows(row, paper, encoding)
        if encoding is not None and "drawn_agreement" in row:
            out += drawn_rows(row, paper, encoding)
    return out + _marginal_rows(rows, paper)


def _marginal_rows(rows: Sequence[Row], paper: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Updates over all cells of a grid with one value of one setting, as published: means or medians."""
    found = []
    grid = [row for row in rows if row["experiment"] == "topology" and row["task"] == "letters"]
    for point in paper["letters_marginals"]:
        if own := [row["updates_mean"] for row in grid if row[point["setting"]] == point["value"]]:
            name = f"updates, letters, mean of all with {point['setting']} {point['value']}"
            reason = "" if len(grid) == 96 else f"over {len(grid)} topologies; published over 96"
            found.append(compared(name, sum(own) / len(own), point["updates"], reason))
    initial = balanced([row for row in rows if row["experiment"] == "initial" and row["task"] == "xor"], "bias")
    for point, (bias, cells) in ((p, item) for p in paper["xor_by_bias"] for item in initial.items()):
        if abs(bias - point["bias"]) < 1e-9:
            reason = "" if len(cells) == 125 else f"over {len(cells)} spreads; published over 125"
            for ours, value in (("updates", statistics.median(row["updates"] for row in cells)),
                                ("reached", statistics.mean(row["reached"] for row in cells))):  # fmt: skip
                found.append(compared(f"{ours}, xor, all with bias {point['bias']:.3g}", value, point[ours], reason))
    return found


def _updates(row: Row, points: Sequence[Row]) -> list[dict[str, Any]]:
    shape = f", W {row['workspace']} S {row['stages']} d {row['degree']}" if row["network"] == "qrnn" else ""
    name = f"updates, {row['task']}, L {row['length']}, {row['network']}{shape}"
    reasons = [] if row["reached"] == 1 else [f"{row['reached']:.0%} of seeds reached the threshold"]
    if row["network"] != "qrnn":
        reasons = ["published rule: training loss on all places below 1e-3"]
    elif row["task"] == "dna":
        reasons += _differences(row, "dna", ("optimizer", "learning_rate", "batch_size", "threshold", *_TOPOLOGY))
    return [compared(name, row["updates"], point["updates"], "; ".join(reasons)) for point in points]


def _differences(row: Row, task: str, names: Sequence[str]) -> list[str]:
    """Settings of a row, as far as it has them, that are not those of the publication, which are the task's."""
    usual = DEFAULTS[task]
    theirs = {**usual._asdict(), "length": usual.lengths[0], "optimizer": "adam"}
    return [
        f"{name.replace('_', ' ')} {row[name]} against {theirs[name]}"
        for name in names
        if name in row and row[name] != theirs[name]
    ]


def _same(point: Row, row: Row, names: Sequence[str]) -> bool:
    return all(point[name] == row.get(name) for name in names)
