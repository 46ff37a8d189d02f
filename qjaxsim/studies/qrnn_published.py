"""Published numbers of the recurrent network beside ours, and what our rows say about its claims."""

from collections.abc import Mapping, Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.report.claims import HOLDS, NOT_SEEN, RESERVATION, Verdict

Row = Mapping[str, Any]
CHANCE = 0.25


def comparison_rows(rows: Sequence[Row], digits: Sequence[int] = (0, 1)) -> list[dict[str, Any]]:
    """Rows with quantity, ours, published, difference and comparable (true, or the reason why not)."""
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
                    out.append(_pair(f"{ours}, dna, L {row['length']}", row[ours], control[theirs], reason))
        if task == "letters":
            out += _updates(
                row, [p for p in paper["letters_cells"] if _same(p, row, ("workspace", "stages", "degree"))]
            )
        if experiment == "initial" and task == "xor" and _default_spreads(row):
            for point in (p for p in paper["xor_by_bias"] if abs(p["bias"] - row["bias"]) < 1e-9):
                reason = "published over all spreads"
                out.append(_pair(f"updates, xor, bias {row['bias']:.3g}", row["updates"], point["updates"], reason))
        if experiment == "optimizers":
            for point in (p for p in paper["optimizers"] if _same(p, row, ("optimizer", "learning_rate"))):
                name = f"validation loss after {row['updates']:g} updates, {row['optimizer']} {row['learning_rate']:g}"
                reason = "" if row["updates"] == 500 else "500 updates published"
                if row["optimizer"] == "lbfgs":
                    reason = "torch makes up to 20 iterations an update, ours one"
                if row["validation_loss"] is None:
                    continue
                out.append(_pair(name, row["validation_loss"], point["validation_loss"], reason))
        if "test_accuracy_argmax" in row:
            out += _digits(row, paper, list(digits))
    return out


def _digits(row: Row, paper: Mapping[str, Any], digits: list[int]) -> list[dict[str, Any]]:
    found = []
    for point in (p for p in paper["mnist"] if p["digits"] == digits):
        reasons = []
        if point["model"].startswith("ensemble") and f"of {row['seeds']}" not in point["model"]:
            reasons.append(f"{row['seeds']} networks here")
        if "L-BFGS" in point["model"] and row["optimizer"] != "lbfgs":
            continue
        ensemble = point["model"].startswith("ensemble")
        for kind in ("ensemble",) if ensemble else ("sampled", "argmax"):
            name = f"test accuracy, {kind}, against {point['model']}"
            more = [] if ensemble else ["sampled or arg-max is not said"]
            found.append(_pair(name, row[f"test_accuracy_{kind}"], point["accuracy"], "; ".join([*reasons, *more])))
    for point in (p for p in paper["mnist_reevaluated"] if p["digits"] == digits):
        for kind in ("sampled", "argmax"):
            name = f"test accuracy, {kind}, against the released model"
            found.append(_pair(name, row[f"test_accuracy_{kind}"], point[kind], "400 test images published"))
    for point, share in ((p, row["duplicates_in_train"][digits.index(p["digit"])])
                         for p in paper["mnist_duplicates"] if p["digit"] in digits):  # fmt: skip
        reason = "author's resampling and split"
        found.append(_pair(f"share of test digit {point['digit']} in training", share, point["share"], reason))
    return found


def _updates(row: Row, points: Sequence[Row]) -> list[dict[str, Any]]:
    shape = f", W {row['workspace']} S {row['stages']} d {row['degree']}" if row["network"] == "qrnn" else ""
    name = f"updates, {row['task']}, L {row['length']}, {row['network']}{shape}"
    reason = "" if row["reached"] == 1 else f"{row['reached']:.0%} of seeds reached the threshold"
    if row["network"] != "qrnn":
        reason = "published rule: training loss on all places below 1e-3"
    return [_pair(name, row["updates"], point["updates"], reason) for point in points]


def _pair(quantity: str, ours: float, published: float, reason: str) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "ours": ours,
        "published": published,
        "difference": None if reason else ours - published,
        "comparable": reason or True,
    }


def _same(point: Row, row: Row, names: Sequence[str]) -> bool:
    return all(point[name] == row.get(name) for name in names)


def _default_spreads(row: Row) -> bool:
    return bool((row["spread_theta"], row["spread_phi"], row["spread_rotation"]) == (0.1, 0.01, 0.01))


# --- claims ------------------------------------------------------------------------------------------------------


def claims(rows: Sequence[Row]) -> list[Verdict]:
    """What the rows say about the published claims that they bear on; rules are in the evidence."""
    training = [row for row in rows if row["experiment"] == "training"]
    out = [_learns(row) for row in training if row["task"] in ("xor", "letters", "memorise")]
    if dna := [row for row in training if row["task"] == "dna"]:
        clean = [row for row in training if row["task"] == "dna-clean"]
        out += [_flat(dna), _memory(dna, clean)]
    return out


def _learns(row: Row) -> Verdict:
    words = {HOLDS: "all", RESERVATION: "some", NOT_SEEN: "none"}
    best = "" if row["reached"] else f"; the best loss is {row['validation_loss_best']:.2g}"
    verdict = HOLDS if row["reached"] == 1 else RESERVATION if row["reached"] else NOT_SEEN
    evidence = (
        f"{words[verdict]} of {row['seeds']} seeds ({row['reached']:.0%}) reach validation loss {row['threshold']:g}, "
        f"in {row['updates']:.0f} updates (median), with a postselection overhead of up to {row['overhead_peak']:.3g}"
        f"{best}"
    )
    claim = f"The network learns {row['task']} to a validation loss of {row['threshold']:g}"
    return Verdict(claim, "arXiv:2006.14619, section 4", verdict, evidence, "none")


def _flat(dna: Sequence[Row]) -> Verdict:
    updates = {row["length"]: row["updates"] for row in dna}
    spread = max(updates.values()) / min(updates.values())
    reached = all(row["reached"] == 1 for row in dna)
    verdict = HOLDS if reached and spread <= 2 else RESERVATION if reached else NOT_SEEN
    shown = ", ".join(f"L {length}: {value:.0f}" for length, value in sorted(updates.items()))
    evidence = f"median updates {shown}; holds if all seeds reach the threshold within a factor of two"
    claim = "The number of updates does not grow with the length of the sequence (DNA, as published)"
    return Verdict(claim, "arXiv:2006.14619, figure 9", verdict, evidence, "none")


def _memory(dna: Sequence[Row], clean: Sequence[Row]) -> Verdict:
    """The claim behind the task: that the network remembers the base over the whole sequence."""
    blanked = min(row["accuracy_blanked_inputs"] for row in dna)
    sampled = max(row["accuracy_all_sampled"] for row in dna)
    leaks = blanked > 0.9
    learned = [row["length"] for row in clean if row["reached"] == 1]
    missed = [row["length"] for row in clean if row["reached"] < 1]
    verdict = NOT_SEEN if leaks and not learned else RESERVATION if leaks or missed else HOLDS
    evidence = (
        f"on the published task accuracy is at least {blanked:.0%} with all inputs blanked and at most {sampled:.0%} "
        f"with all words sampled (chance {CHANCE:.0%}): the answer comes in by the projections; "
        f"without the leak all seeds learn at L {learned or 'none'}, not all at L {missed or 'none'}"
    )
    claim = "The network remembers a base over the whole sequence"
    return Verdict(claim, "arXiv:2006.14619, section 4.5", verdict, evidence, "dna-clean")
