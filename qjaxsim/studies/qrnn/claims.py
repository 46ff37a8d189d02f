"""What the rows of `qrnn` say about published claims, each judged by a rule that its evidence states."""

from collections.abc import Mapping, Sequence
from typing import Any

from qjaxsim_data import load

from qjaxsim.common.words import counted
from qjaxsim.report.row import Row
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, RESERVATION, Verdict
from qjaxsim.studies.qrnn.encoding import Encoding
from qjaxsim.studies.qrnn.published_digits import of_images
from qjaxsim.studies.shared.judging import of_one_seed, untested
from qjaxsim.studies.shared.trends import seeds_in_words

# Accuracies on dna: of guessing, and above which a length counts as learned.
CHANCE, LEARNED = 0.25, 0.9
# How far below the published accuracy one on digits may be.
WITHIN = 0.01


def claims(rows: Sequence[Row], encoding: Encoding | None = None) -> list[Verdict]:
    """One verdict a claim that the rows bear on.

    Args:
        rows: table of the study.
        encoding: how images became words, for the tasks on images.
    """
    training = [row for row in rows if row["experiment"] == "training"]
    out = [_learns(row) for row in training if row["task"] in ("xor", "letters", "memorise")]
    if dna := [row for row in training if row["task"] == "dna"]:
        clean = [row for row in training if row["task"] == "dna-clean"]
        out += [_flat(dna), _memory(dna, clean)]
    if encoding is not None:
        paper = load("qrnn")
        out += [one for row in training if row["task"] == "mnist" for one in _digits(row, paper, encoding)]
    return out


def _learns(row: Row) -> Verdict:
    """Holds if all seeds reach the loss at which they stop, with a reservation if some do.

    Not tested by a threshold of 0, which stops none.
    """
    source = "arXiv:2006.14619, section 4"
    if not row["threshold"]:
        return untested(f"The network learns {row['task']} to a validation loss", source, "a --threshold above 0")
    words = {HOLDS: "all", RESERVATION: "some", NOT_SEEN: "none"}
    best = "" if row["reached"] else f"; the best loss is {row['validation_loss_best']:.2g}"
    verdict = HOLDS if row["reached"] == 1 else RESERVATION if row["reached"] else NOT_SEEN
    evidence = (
        f"{words[verdict]} of {seeds_in_words(row['seeds'], row['seeds'])} ({row['reached']:.0%}) reach validation "
        f"loss {row['threshold']:g}, in {row['updates']:.0f} updates (median), with a postselection overhead that "
        f"peaks at {row['overhead_peak']:.3g} (median){best}"
    )
    claim = f"The network learns {row['task']} to a validation loss of {row['threshold']:g}"
    return _several(Verdict(claim, source, verdict, evidence, "none"), [row])


def _several(found: Verdict, rows: Sequence[Row]) -> Verdict:
    """The verdict, with a reservation where a row is of a single seed."""
    return of_one_seed(found) if any(row["seeds"] < 2 for row in rows) else found


def _flat(dna: Sequence[Row]) -> Verdict:
    """Holds if all seeds reach the threshold at all lengths and median updates are within a factor of two.

    With a reservation beyond that factor. Not tested by a single length, nor by a threshold of 0, which stops no seed.
    """
    claim = "The number of updates does not grow with the length of the sequence (DNA, as published)"
    source = "arXiv:2006.14619, figure 9"
    updates = {row["length"]: row["updates"] for row in dna}
    if len(updates) < 2:
        return untested(claim, source, "several lengths")
    if not all(row["threshold"] for row in dna):
        return untested(claim, source, "a --threshold above 0")
    spread = max(updates.values()) / min(updates.values())
    reached = all(row["reached"] == 1 for row in dna)
    verdict = HOLDS if reached and spread <= 2 else RESERVATION if reached else NOT_SEEN
    shown = ", ".join(f"L {length}: {value:.0f}" for length, value in sorted(updates.items()))
    evidence = f"median updates {shown}; holds if all seeds reach the threshold within a factor of two"
    return _several(Verdict(claim, source, verdict, evidence, "none"), dna)


def _memory(dna: Sequence[Row], clean: Sequence[Row]) -> Verdict:
    """The claim behind the task: that the network remembers the base over the whole sequence.

    Holds if every length is learned without the leak, and inputs are needed at every length of the published task; with
    a reservation if some lengths are, or inputs are not. Not tested where nothing was run without the leak and inputs
    are needed.
    """
    claim, source = "The network remembers a base over the whole sequence", "arXiv:2006.14619, section 4.5"
    blanked = [row["accuracy_blanked_inputs"] for row in dna]
    sampled = max(row["accuracy_all_sampled"] for row in dna)
    leaks = max(blanked) > LEARNED
    without = f"at least {min(blanked):.0%}" if min(blanked) > LEARNED else f"up to {max(blanked):.0%}"
    if not clean and not leaks:
        return untested(claim, source, "the cells without the leak, dna-clean")
    accuracy = {row["length"]: row["accuracy_argmax"] for row in clean}
    updates = {row["length"]: row["updates"] for row in clean}
    learned = [length for length, value in accuracy.items() if value > LEARNED]
    missed = [length for length in accuracy if length not in learned]
    told = [f"L {length}: {accuracy[length]:.0%} after {updates[length]:.0f} updates" for length in sorted(accuracy)]
    shown = ", ".join(told) or "not run"
    if clean:
        most = max(row["accuracy_all_sampled"] for row in clean)
        shown += f" with words before the last projected on 0, at most {most:.0%} with all sampled"
    verdict = NOT_SEEN if not learned else RESERVATION if leaks or missed else HOLDS
    evidence = (
        f"on the published task accuracy is {without} with all inputs blanked and at most {sampled:.0%} "
        f"with all words sampled (chance {CHANCE:.0%}){': the answer comes in by the projections' if leaks else ''}; "
        f"median accuracy without the leak: {shown} (learned above {LEARNED:.0%})"
    )
    return _several(Verdict(claim, source, verdict, evidence, "dna-clean"), clean)


def _digits(row: Row, paper: Mapping[str, Any], encoding: Encoding) -> list[Verdict]:
    """Whether single networks come within a point of the published accuracy on these digits and features.

    Holds if the median over seeds does, sampled or arg-max, since which is published is not said; with a reservation if
    only the best seed does.
    """
    if encoding.dataset != "mnist" or row["network"] != "qrnn":
        return []
    found = []
    for point in of_images(paper["mnist"], encoding):
        if point["model"] != "one network, Adam":
            continue
        least = point["accuracy"] - WITHIN
        median = max(row["test_accuracy_sampled"], row["test_accuracy_argmax"])
        best = row["test_accuracy_argmax_best"] >= least
        verdict = HOLDS if median >= least else RESERVATION if best else NOT_SEEN
        share = max(row["duplicates_in_train"])
        evidence = (
            f"{counted(row['seeds'], 'network')} of {row['parameters']} parameters, {row['updates']:.0f} updates: "
            f"{row['test_accuracy_sampled']:.1%} sampled and {row['test_accuracy_argmax']:.1%} arg-max (medians), best "
            f"{row['test_accuracy_argmax_best']:.1%}, ensemble {row['test_accuracy_ensemble']:.1%}; holds within a "
            f"point of the published value; up to {share:.0%} of a digit's test sequences occur in training"
        )
        claim = f"One network tells digits {', '.join(map(str, encoding.digits))} ({encoding.features}) apart with "
        one = Verdict(f"{claim}{point['accuracy']:.1%}", "arXiv:2006.14619, table 1", verdict, evidence, "none")
        found.append(_several(one, [row]))
    return found
