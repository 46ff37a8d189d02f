"""Claims on effective dimensions, each judged by a stated rule from the rows of `effective-dimension`."""

from collections.abc import Sequence

import numpy as np

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_SEEN, Verdict
from qjaxsim.studies.effective_dimension.settings import EASY, FEATURES, NETWORK, PI, QNN, UNIT
from qjaxsim.studies.shared.judging import concluded, over_seeds, single_seed, untested

PAPER = "arXiv:2011.00027, Fig. 3a"
# Shares d_n / d this close are alike.
ALIKE = 0.02
# Size of a data set -> shares of all seeds.
Shares = dict[int, list[float]]


def dimension_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule."""
    return [larger(rows), no_classical_model(rows), encoding(rows)]


def larger(rows: Sequence[Row]) -> Verdict:
    """Holds if d_n of the quantum network is larger than the classical network's at all n for every seed, as published.

    With a reservation for each control that makes the difference smaller than 0.02 d at some n, or turns it around, in
    the mean over seeds: parameters between -pi and pi, and Fisher matrices of equal trace.
    """
    claim = "The quantum network has a larger effective dimension than the classical network of as many parameters."
    ours, theirs = _shares(rows, QNN, UNIT), _shares(rows, NETWORK, UNIT)
    if not ours or not theirs:
        return untested(claim, PAPER, "--models qnn,network and --intervals unit")
    evidence = _beside(ours, theirs)
    if not all(a > b for n in ours for a, b in zip(ours[n], theirs[n], strict=True)):
        return Verdict(claim, PAPER, NOT_SEEN, evidence, "none")
    controls = {
        "with parameters between -pi and pi": (_shares(rows, QNN, PI), _shares(rows, NETWORK, PI)),
        "with Fisher matrices of equal trace": tuple(
            _shares(rows, name, UNIT, "share_alike") for name in (QNN, NETWORK)
        ),
    }
    doubts = []
    for words, (one, other) in controls.items():
        if one and other and _least_difference(one, other) < ALIKE:
            doubts.append(f"not {words}: {_beside(one, other)}")
        elif one and other:
            evidence += f"; {words} {_beside(one, other)}"
    return concluded(claim, PAPER, evidence, doubts + single_seed(rows), "seeds, pi, equal trace")


def no_classical_model(rows: Sequence[Row]) -> Verdict:
    """Holds if d_n of the quantum network exceeds that of logistic regression on random features by 0.02 d at all n.

    In the mean over seeds, with parameters as published; with a reservation if not so between -pi and pi. One model
    that has as much suffices against the claim; that one has less says little for it.
    """
    claim = "No classical model of as many parameters has so large an effective dimension."
    ours, theirs = _shares(rows, QNN, UNIT), _shares(rows, FEATURES, UNIT)
    if not ours or not theirs:
        return untested(claim, PAPER, "--models qnn,features and --intervals unit")
    evidence = f"the quantum network against logistic regression on random features: {_beside(ours, theirs)}"
    one, other = _shares(rows, QNN, PI), _shares(rows, FEATURES, PI)
    turned = f"with parameters between -pi and pi {_beside(one, other)}" if one and other else ""
    if _least_difference(ours, theirs) < ALIKE:
        return Verdict(claim, PAPER, NOT_SEEN, "; ".join(filter(None, (evidence, turned))), "features, pi")
    doubts = [f"not so {turned}"] if turned and _least_difference(one, other) < ALIKE else []
    return concluded(claim, PAPER, evidence, doubts + single_seed(rows), "features, pi")


def encoding(rows: Sequence[Row]) -> Verdict:
    """Holds if d_n with the ZZ feature map is larger than with the Z feature map at all n for every seed, as published.

    With a reservation if the difference is below 0.02 d at some n, in the mean over seeds, between -pi and pi.
    """
    claim = "The feature map with entanglement gives the larger effective dimension."
    ours, theirs = _shares(rows, QNN, UNIT), _shares(rows, EASY, UNIT)
    if not ours or not theirs:
        return untested(claim, PAPER, "--models qnn,easy and --intervals unit")
    evidence = _beside(ours, theirs)
    if not all(a > b for n in ours for a, b in zip(ours[n], theirs[n], strict=True)):
        return Verdict(claim, PAPER, NOT_SEEN, evidence, "none")
    one, other = _shares(rows, QNN, PI), _shares(rows, EASY, PI)
    doubts = []
    if one and other and _least_difference(one, other) < ALIKE:
        doubts.append(f"not with parameters between -pi and pi: {_beside(one, other)}")
    elif one and other:
        evidence += f"; with parameters between -pi and pi {_beside(one, other)}"
    return concluded(claim, PAPER, evidence, doubts + single_seed(rows), "seeds, pi")


def _shares(rows: Sequence[Row], model: str, interval: str, column: str = "share") -> Shares:
    found: Shares = {}
    for row in rows:
        if row["model"] == model and row["interval"] == interval:
            found.setdefault(row["samples"], []).append(row[column])
    return found


def _least_difference(ours: Shares, theirs: Shares) -> float:
    return min(float(np.mean(ours[n]) - np.mean(theirs[n])) for n in ours)


def _beside(ours: Shares, theirs: Shares) -> str:
    """Both at the smallest and the largest n."""
    ends = dict.fromkeys((min(ours), max(ours)))
    return ", ".join(f"{over_seeds(ours[n])} against {over_seeds(theirs[n])} of d at n = {n:,}" for n in ends)
