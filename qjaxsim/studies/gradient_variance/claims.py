"""Published claims on gradient variances of the hybrid classifier, judged by stated rules from the study's rows.

The rule of a trend, which most claims take: it *holds* if the mean over seeds goes that way at every step, in every
series, by more than the spread over seeds (root of the summed variances at both ends). Variances are compared by their
logarithms, so that their mean is the geometric one, accuracies, which may be zero, as they are. It holds *with a
reservation* if it goes that way from the first to the last point by more than that spread in more than half of the
series, such as epochs. It is *not seen* otherwise.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_TESTED, Verdict
from qjaxsim.studies.gradient_variance.cells import INITIALISATIONS
from qjaxsim.studies.gradient_variance.claims_rules import (
    ACCURACY,
    SWEEP,
    baseline,
    decay,
    direction,
    last_epoch,
    matching,
    mean_variance,
    one_sweep,
    quoted,
    sweep_claim,
    trained_depth,
    trend_verdict,
    with_signal,
    within_words,
)
from qjaxsim.studies.gradient_variance.figures_lines import ABLATIONS, variant
from qjaxsim.studies.shared.judging import single_seed
from qjaxsim.studies.shared.trends import ends_beyond, fitted_slope, judged, not_seen, quote, series

# Shares of a growth: it remains from the first on, and is gone below the second.
REMAINS, GONE = 0.5, 0.25
# How far variances from exact and from sampled gradients may lie apart and still be the same.
SAME = 0.1
PAPER = "Moto and Yoshida"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim, in the order of `CLAIMS`; each function there states its rule.

    Args:
        rows: table of the study, controls included, columns as in `columns.COLUMNS`. Claims whose rows are
            missing are "not tested here".
    """
    return [claim(rows) for claim in CLAIMS]


def falls_with_batch(rows: Sequence[Row]) -> Verdict:
    """Larger batches, smaller variance, in every epoch: the rule of a trend."""
    return sweep_claim(
        rows, "batch", -1, "Gradient variance falls as the batch grows.", f"{PAPER}, Table 2", "--batches 4,16,64"
    )


def falls_with_qubits(rows: Sequence[Row]) -> Verdict:
    """More qubits, smaller variance, in every epoch: the rule of a trend. Also with the signal's scale divided out."""
    claim = "Gradient variance falls as qubits are added."
    found = sweep_claim(rows, "qubits", -1, claim, f"{PAPER}, figure 2", "--qubits 2,4,6,8")
    return with_signal(found, rows, "qubits")


def falls_with_layers(rows: Sequence[Row]) -> Verdict:
    """More entangling layers, smaller variance, in every epoch: the rule of a trend."""
    claim = "Gradient variance falls as entangling layers are added."
    source = f"{PAPER}, statement; the maxima it quotes for figure 3 rise from 4 to 6 layers"
    return with_signal(sweep_claim(rows, "layers", -1, claim, source, "--layers 2,4,6"), rows, "layers")


def grows_with_training(rows: Sequence[Row]) -> Verdict:
    """Variance grows from epoch to epoch at every batch size: the rule of a trend, on the sweep of Table 2."""
    claim, source = "Gradient variance grows from epoch to epoch at every batch size.", f"{PAPER}, Table 2"
    base = baseline(rows)
    everywhere = series(base, "epoch", apart=SWEEP, value="grad_var")
    found = series(one_sweep(base, "batch"), "epoch", apart=SWEEP, value="grad_var")
    if not found:
        return Verdict(claim, source, NOT_TESTED, "Two epochs or more would test it.", "none")
    growth = ", ".join(f"{math.exp(one.whole_change):.3g} at {one.label}" for one in everywhere)
    return trend_verdict(claim, source, found, 1, f"Last epoch over first: {growth}", base)


def same_updates(rows: Sequence[Row]) -> Verdict:
    """The fall with the batch at equal numbers of updates: the rule of a trend, on the rows of control `updates`."""
    claim = "The fall with the batch is averaging, not fewer updates: it is there at equal numbers of updates, too."
    own = [row for row in rows if row.get("control") == "updates"]
    found = series(own, "batch", apart=("epoch",), value="grad_var")
    if not found:
        evidence = f"Would be tested by {'--batches 4,16,64' if own else '--control updates'}."
        return Verdict(claim, f"{PAPER}, left open", NOT_TESTED, evidence, "none")
    theirs = series(baseline(rows), "batch", apart=("qubits", "layers", "epoch"), value="grad_var")
    slopes = "; ".join(
        f"log-log slope {name} {fitted_slope(several[0]).value:.2f} in the first part, "
        f"{fitted_slope(several[-1]).value:.2f} in the last"
        for name, several in (("at equal updates", found), ("at equal epochs", theirs))
        if several
    )
    evidence = f"{slopes} (averaged noise has -1, the gradient of all images 0). {quoted(found)}"
    return trend_verdict(claim, f"{PAPER}, left open", found, -1, evidence, own)


def growth_of_the_circuit(rows: Sequence[Row]) -> Verdict:
    """What is left of the growth when the post-layer's scale is divided out.

    Growth is the logarithm of last over first epoch, mean over the baseline's configurations. Holds if
    `REMAINS` of it is left with each update's variance divided by the mean square of the post-layer's matrix, and also
    where that layer is frozen. Not seen if less than `GONE` is left in the first, or unless most configurations grow
    beyond the spread over seeds. With a reservation otherwise, and with one seed.
    """
    claim = "What grows in training is the circuit's own gradient, not the scale of the post-layer behind it."
    source = f"{PAPER}, left open"
    base = baseline(rows)
    raw, per_post, per_signal = (
        [one.whole_change for one in series(base, "epoch", apart=SWEEP, value=name)]
        for name in ("grad_var", "grad_var_per_post", "grad_var_per_signal")
    )
    if not raw or not per_post:
        return Verdict(claim, source, NOT_TESTED, "Two epochs or more would test it.", "none")
    if np.mean(raw) <= 0:
        return not_seen(claim, source, "Nothing grows in the mean over configurations", base)
    grow = sum(ends_beyond(one, 1) for one in series(base, "epoch", apart=SWEEP, value="grad_var"))
    if 2 * grow <= len(raw):
        evidence = f"Variance grows beyond the seeds' spread in {grow} of {len(raw)} configurations"
        return not_seen(claim, source, evidence, base)
    shares = {"by the post-layer's mean square": per_post, "by the mean square of the derivative in <Z>": per_signal}
    evidence = f"Variance grows by a factor {math.exp(np.mean(raw)):.3g} in the mean over configurations; divided " + (
        " and ".join(
            f"{name} by {math.exp(np.mean(own)):.3g}, {np.mean(own) / np.mean(raw):.0%} of its logarithm"
            for name, own in shares.items()
        )
    )
    share, doubts, used = float(np.mean(per_post) / np.mean(raw)), [], list(base)
    frozen = [row for row in rows if row.get("control") == "scale"]
    alike = matching(base, frozen)
    if frozen and alike:
        with_it, without = (
            float(np.mean([one.whole_change for one in series(some, "epoch", apart=SWEEP, value="grad_var")]))
            for some in (alike, frozen)
        )
        evidence += (
            f". With the post-layer frozen it grows by {math.exp(without):.3g} where it grows by "
            f"{math.exp(with_it):.3g} without"
        )
        used += frozen
        if without < REMAINS * with_it:
            doubts.append(f"with the post-layer frozen less than {REMAINS:.0%} of the growth is left")
    else:
        doubts.append("no run with a frozen post-layer; --control scale has them")
    if share < GONE:
        return not_seen(claim, source, evidence, used)
    if share < REMAINS:
        doubts.insert(0, f"less than {REMAINS:.0%} is left with the post-layer's scale divided out")
    return judged(claim, source, doubts + single_seed(base), evidence, used)


def accuracy_with_qubits(rows: Sequence[Row]) -> Verdict:
    """More qubits, higher test accuracy after the last epoch: the rule of a trend."""
    claim = "Accuracy rises with the number of qubits."
    return sweep_claim(rows, "qubits", 1, claim, f"{PAPER}, Table 3", "--qubits 2,4,6,8", value=ACCURACY)


def accuracy_not_with_layers(rows: Sequence[Row]) -> Verdict:
    """More entangling layers do not raise accuracy.

    Holds if after the last epoch no number of layers has a higher mean test accuracy than the fewest, and with a
    reservation if some have, but within the spread over seeds, or with one seed. Not seen if one has beyond the spread.
    """
    claim, source = "More entangling layers than the fewest do not raise accuracy.", f"{PAPER}, Table 4"
    base = baseline(rows)
    found = series(last_epoch(base), "layers", apart=("qubits", "batch"), value=ACCURACY, logs=False)
    if not found:
        return Verdict(claim, source, NOT_TESTED, "Would be tested by --layers 2,4,6.", "none")
    evidence = quote(found, "test accuracy")
    doubts, beyond = [], False
    for one in found:
        (_, fewest), *others = one.points
        for layers, values in others:
            change, over_seeds = one.change(fewest, values), one.spread(fewest, values)
            if change > 0:
                beyond = beyond or (over_seeds is not None and change > over_seeds)
                doubts.append(f"higher with {counted(layers, 'layer')}, {within_words(over_seeds)}")
    if beyond:
        return not_seen(claim, source, evidence, base)
    return judged(claim, source, doubts or single_seed(base), evidence, base)


def plateau(rows: Sequence[Row]) -> Verdict:
    """The fall with qubits as a barren plateau: variance over random initialisations falls exponentially.

    From the rows of control `initialisations` at weights in [-1, 1) and the baseline's layers: the rate of
    ln(variance of entries that the observable depends on) against qubits, by weighted least squares. Holds if it is
    negative by two standard errors for the local and the global observable, and for the local ones, which the model
    reads, at least half as fast as for the global one. With a reservation if it is negative for the local ones alone or
    slower. Not seen if it is not negative by two standard errors for the local ones. Few points cannot tell an
    exponential from a power.
    """
    claim = "The fall with qubits is a barren plateau: variance over initialisations decays exponentially with qubits."
    source = f"{PAPER}, implied"
    own = [row for row in rows if row.get("control") == INITIALISATIONS]
    depths = sorted({row["layers"] for row in own})
    if not own or len({row["qubits"] for row in own}) < 2:
        evidence = f"Would be tested by {'--qubits 2,4,6,8' if own else '--control initialisations'}."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    here = trained_depth(rows, depths)
    local, whole = (decay(own, "qubits", "[-1, 1)", name, here) for name in ("local", "global"))
    deep = decay(own, "qubits", "[-1, 1)", "local", depths[-1])
    everything = decay(own, "qubits", "[-1, 1)", "local", here, "init_var")
    evidence = (
        f"At {counted(here, 'layer')} and weights in [-1, 1) variance changes by a factor {local.words} a qubit for "
        f"local, {whole.words} for global observables; at {counted(depths[-1], 'layer')} {deep.words} for local ones. "
        f"Over all entries, with those that <Z> does not depend on, {everything.words}"
    )
    if not local.rate < -2 * local.error:
        return not_seen(claim, source, evidence, own)
    doubts = []
    if not whole.rate < -2 * whole.error:
        doubts.append("the global observable's variance does not fall")
    elif local.rate > whole.rate / 2:
        doubts.append("the local observables that the model reads fall less than half as fast as the global one")
    return judged(claim, source, doubts, evidence, own)


def shots_change_nothing(rows: Sequence[Row]) -> Verdict:
    """Exact and sampled gradients give one variance.

    Holds if at every number of shots and in every epoch the mean variance lies within `SAME` of that of exact
    gradients; with a reservation if it does at the most shots, or with one seed. Not seen otherwise.
    """
    claim, source = "Shot noise does not change the variances.", f"{PAPER}, left open (estimator not stated)"
    own = [row for row in rows if row.get("control") == "shots"]
    base = matching(baseline(rows), own)
    if not own or not base:
        return Verdict(claim, source, NOT_TESTED, "Would be tested by --control shots.", "none")
    ratios = {
        int(shots): [
            mean_variance(row for row in own if row["shots"] == shots and row["epoch"] == epoch)
            / mean_variance(row for row in base if row["epoch"] == epoch)
            for epoch in sorted({row["epoch"] for row in own})
        ]
        for shots in sorted({row["shots"] for row in own})
    }
    evidence = "Sampled over exact variance by epoch: " + "; ".join(
        f"{shots} shots {', '.join(f'{ratio:.3f}' for ratio in values)}" for shots, values in ratios.items()
    )
    apart = [shots for shots, values in ratios.items() if max(abs(ratio - 1) for ratio in values) > SAME]
    if apart and max(apart) == max(ratios):
        return not_seen(claim, source, evidence, [*own, *base])
    doubts = [f"more than {SAME:.0%} apart at {shots} shots" for shots in apart]
    return judged(claim, source, doubts + single_seed(own), evidence, [*own, *base])


def orderings_survive(rows: Sequence[Row]) -> Verdict:
    """The baseline's orderings under other pairings, pre-layers and learning rates.

    An ordering is the direction from the fewest to the most batch, qubits or layers of variance, and of accuracy
    against qubits, in the last epoch; where the baseline has the same mean at both ends there is none to keep. Holds if
    every variant keeps all of them, with a reservation if more than half of all are kept, or with one seed. Not seen
    otherwise.
    """
    claim, source = "The orderings do not depend on what the publication leaves open.", f"{PAPER}, left open"
    last = last_epoch(rows)
    variants: dict[str, list[Row]] = {}
    for row in last:
        if row.get("control") in ABLATIONS:
            variants.setdefault(f"{row['control']} {variant(row)}", []).append(row)
    base = baseline(last)
    if not variants:
        evidence = "Would be tested by --control pairing,pre-layer,learning-rate."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    parts, kept, total = [], 0, 0
    for value, along in (
        ("grad_var", "batch"),
        ("grad_var", "qubits"),
        ("grad_var", "layers"),
        (ACCURACY, "qubits"),
    ):
        expected = direction(base, along, value)
        found = {name: way for name, own in variants.items() if (way := direction(own, along, value)) is not None}
        if not expected or not found:
            continue
        lost, count = [name for name, way in found.items() if way != expected], len(found)
        kept, total = kept + count - len(lost), total + count
        words = {"grad_var": "variance", ACCURACY: "accuracy"}[value]
        parts.append(
            f"{words} {'rises' if expected > 0 else 'falls'} with {along} in {count - len(lost)} of {count} variants"
            + (f" (not with {', '.join(lost)})" if lost else "")
        )
    if not parts:
        evidence = "Variants and baseline share no sizes along which the baseline's means differ."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    evidence, used = "In the last epoch, as in the baseline, " + "; ".join(parts), [*base, *sum(variants.values(), [])]
    if 2 * kept <= total:
        return not_seen(claim, source, evidence, used)
    doubts = [f"{total - kept} of {total} orderings turn round"] if kept < total else []
    return judged(claim, source, doubts + single_seed(base), evidence, used)


CLAIMS: tuple[Callable[[Sequence[Row]], Verdict], ...] = (
    falls_with_batch,
    same_updates,
    grows_with_training,
    growth_of_the_circuit,
    falls_with_qubits,
    plateau,
    falls_with_layers,
    accuracy_with_qubits,
    accuracy_not_with_layers,
    shots_change_nothing,
    orderings_survive,
)
