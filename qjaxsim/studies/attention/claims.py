"""Claims on attention by annealing, each judged by a stated rule from the rows of the study `attention`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION, Verdict
from qjaxsim.studies.attention.published import PAPER
from qjaxsim.studies.shared.judging import settled

CONTROLS = ("none", "ones", "random", "threshold")
# A mean energy gap counts as none below this share of the energies' size.
NO_GAP = 1e-3
# Share of v1's weights that must lie between 0 and 1 for them to be called continuous.
CONTINUOUS = 0.5


def attention_verdicts(rows: Sequence[dict[str, Any]]) -> list[Verdict]:
    """One verdict a claim; each function states its rule.

    Args:
        rows: table of the study. Kinds may be missing: claims that need them are then "not tested here".
    """
    claims = (
        close_to_softmax, selection_matters, annealing_beats_descent, soft_selection, sequence_circuit, one_hot_softmax
    )  # fmt: skip
    return [claim(rows) for claim in claims]


def close_to_softmax(rows: Sequence[dict[str, Any]]) -> Verdict:
    """At most 2.7 points below softmax.

    Holds if the mean test accuracy of qama-v2 after the last epoch is at most the published 2.7 points below that of
    softmax. With a reservation if a control (none, ones, random, threshold) is so, too, if the spread over seeds of the
    difference reaches beyond that, or there is a single seed.
    """
    largest = load("quantum_annealing_attention")["claim"]["largest_gap"]
    claim, source = f"Annealed attention is at most {100 * largest:.1f} points below softmax.", f"{PAPER}v2, abstract"
    ours, softmax = _accuracies(rows, "qama-v2"), _accuracies(rows, "softmax")
    if not ours or not softmax:
        return _untested(claim, source, "qama-v2,softmax")
    gap = _ahead(softmax, ours)
    evidence = f"qama-v2 {_quote(ours)}, softmax {_quote(softmax)}: {100 * gap:.1f} points below"
    if gap > largest:
        return Verdict(claim, source, NOT_SEEN, evidence, "softmax")
    present = [kind for kind in CONTROLS if _accuracies(rows, kind)]
    close = [kind for kind in present if _ahead(softmax, _accuracies(rows, kind)) <= largest]
    doubts = [f"so is {kind} ({_quote(_accuracies(rows, kind))})" for kind in close]
    doubts += ["no control was run"] if not present else []
    if settled(gap + (_spread(ours, softmax) or 0.0)) > largest:
        doubts.append("the spread over seeds reaches beyond it")
    return _judged(claim, source, evidence, doubts + _single(ours), ("softmax", *present))


def selection_matters(rows: Sequence[dict[str, Any]]) -> Verdict:
    """The annealed selection is what the layer's accuracy comes from.

    Holds if qama-v2 beats every control in the mean by more than the spread over seeds (root of the summed variances).
    With a reservation if by less than that, or with one seed, where there is no spread. Not seen if a control is as
    good.
    """
    claim, source = "Accuracy comes from the annealed selection.", f"{PAPER}, implied"
    ours = _accuracies(rows, "qama-v2")
    controls = {kind: _accuracies(rows, kind) for kind in CONTROLS if _accuracies(rows, kind)}
    if not ours or not controls:
        return _untested(claim, source, "qama-v2,none,ones,random,threshold")
    best = max(controls, key=lambda kind: float(np.mean(controls[kind])))
    evidence = f"qama-v2 {_quote(ours)}; " + ", ".join(f"{kind} {_quote(values)}" for kind, values in controls.items())
    if _ahead(ours, controls[best]) <= 0:
        return Verdict(claim, source, NOT_SEEN, f"{evidence}: {best} is as good or better", ", ".join(controls))
    near = [kind for kind, values in controls.items() if _within_spread(ours, values)]
    doubts = [f"within the spread over seeds of {', '.join(near)}"] if near else []
    return _judged(claim, source, evidence, doubts + _single(ours), tuple(controls))


def annealing_beats_descent(rows: Sequence[dict[str, Any]]) -> Verdict:
    """Annealing finds lower energies than greedy descent, and that helps.

    Holds if on trained qama-v2 models the mean gap of greedy descent exceeds annealing's by more than 0.1 % of the
    energies' size, and training with annealing gives a mean accuracy that is higher by more than the spread over seeds.
    With a reservation if only the first.
    """
    claim, source = "Annealing is needed: greedy descent does not do.", f"{PAPER}, implied"
    trained = [row for row in rows if row["attention"] == "qama-v2" and row.get("gap_greedy") is not None]
    if not trained:
        return _untested(claim, source, "qama-v2,greedy")
    scale, greedy, anneal = (_mean(trained, name) for name in ("energy_scale", "gap_greedy", "gap_anneal"))
    evidence = f"mean energy above the best known: annealing {anneal:.4g}, greedy {greedy:.4g}"
    tabu = [row for row in trained if row.get("gap_tabu") is not None]
    evidence += f", Tabu {_mean(tabu, 'gap_tabu'):.4g}" if tabu else ""
    evidence += f" (energies about {scale:.4g})"
    ours, theirs = _accuracies(rows, "qama-v2"), _accuracies(rows, "greedy")
    evidence += f"; accuracies {_quote(ours)} and with greedy {_quote(theirs)}" if theirs else ""
    if greedy - anneal <= NO_GAP * scale:
        return Verdict(claim, source, NOT_SEEN, evidence, "greedy")
    doubts = [] if theirs else ["no training with greedy descent to compare with"]
    # A difference within the spread over seeds is no support.
    if theirs and _ahead(ours, theirs) <= (_spread(ours, theirs) or 0.0):
        doubts.append("its lower energies do not make it more accurate")
    return _judged(claim, source, evidence, doubts + _single(ours), ("greedy",))


def soft_selection(rows: Sequence[dict[str, Any]]) -> Verdict:
    """Version 1's several bits a token give continuous weights.

    Holds if half of the token weights or more lie between 0 and 1; with a reservation if a tenth do, or with one seed.
    """
    claim, source = "Several bits a token make its weight continuous.", f"{PAPER}v1"
    found = [row for row in rows if row.get("fractional") is not None]
    if not found:
        return _untested(claim, source, "qama-v1")
    share = _mean(found, "fractional")
    evidence = f"{100 * share:.1f} % of the weights lie between 0 and 1, at four times as many variables"
    if share < CONTINUOUS / 5:
        return Verdict(claim, source, NOT_SEEN, evidence, "none")
    doubts = ["less than half"] if share < CONTINUOUS else []
    return _judged(claim, source, evidence, doubts + _single(found), ("none",))


def sequence_circuit(rows: Sequence[dict[str, Any]]) -> Verdict:
    """A circuit for the values beats a classical map of the same size.

    Holds if the circuit's mean accuracy is higher by more than the spread over seeds; with a reservation if higher by
    less, or with one seed.
    """
    claim, source = (
        "A value circuit beats a classical bottleneck of as many weights.",
        "arXiv:2504.05336v3; v4 finds not",
    )
    ours, control = _accuracies(rows, "circuit"), _accuracies(rows, "bottleneck")
    if not ours or not control:
        return _untested(claim, source, "circuit,bottleneck")
    evidence = f"circuit {_quote(ours)}, bottleneck {_quote(control)}"
    if _ahead(ours, control) <= 0:
        return Verdict(claim, source, NOT_SEEN, evidence, "bottleneck")
    doubts = ["within the spread over seeds"] if _within_spread(ours, control) else []
    return _judged(claim, source, evidence, doubts + _single(ours), ("bottleneck",))


def one_hot_softmax(rows: Sequence[dict[str, Any]]) -> Verdict:
    """One-hot Boltzmann attention is softmax attention in training, too.

    Holds if the two mean accuracies differ by at most one point; with a reservation if the spread over seeds is larger
    than that, or with one seed.
    """
    claim, source = "One-hot Gibbs attention equals softmax attention.", "limit of a strong constraint"
    ours, softmax = _accuracies(rows, "boltzmann"), _accuracies(rows, "softmax")
    if not ours or not softmax:
        return _untested(claim, source, "boltzmann,softmax")
    evidence = f"boltzmann {_quote(ours)}, softmax {_quote(softmax)}"
    if abs(_ahead(ours, softmax)) > 0.01:
        return Verdict(claim, source, NOT_SEEN, evidence, "softmax")
    doubts = ["the spread over seeds is larger than a point"] if (_spread(ours, softmax) or 0.0) > 0.01 else []
    return _judged(claim, source, evidence, doubts + _single(ours), ("softmax",))


# --- pieces ----------------------------------------------------------------------------------------------------------


def _accuracies(rows: Sequence[dict[str, Any]], kind: str) -> list[float]:
    return [float(row["test_accuracy"]) for row in rows if row["attention"] == kind]


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _quote(values: Sequence[float]) -> str:
    text = f"{np.mean(values):.4f}"
    return text if len(values) < 2 else f"{text} ± {np.std(values, ddof=1):.4f} ({len(values)} seeds)"


def _ahead(one: Sequence[float], other: Sequence[float]) -> float:
    """How far the mean accuracy of one is above the other's."""
    return settled(float(np.mean(one) - np.mean(other)))


def _spread(one: Sequence[float], other: Sequence[float]) -> float | None:
    if min(len(one), len(other)) < 2:
        return None
    return settled(float(np.sqrt(np.var(one, ddof=1) + np.var(other, ddof=1))))


def _within_spread(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether a lead of ours is no more than the spread over seeds; false where there is none."""
    spread = _spread(ours, theirs)
    return spread is not None and _ahead(ours, theirs) <= spread


def _single(values: Sequence[Any]) -> list[str]:
    return ["a single seed"] if len(values) < 2 else []


def _judged(claim: str, source: str, evidence: str, doubts: Sequence[str], tested_by: Sequence[str]) -> Verdict:
    text = evidence + "".join(f"; {doubt}" for doubt in doubts)
    return Verdict(claim, source, RESERVATION if doubts else HOLDS, text, ", ".join(tested_by))


def _untested(claim: str, source: str, kinds: str) -> Verdict:
    return Verdict(claim, source, NOT_TESTED, f"Would be tested by --attention {kinds}.", "none")
