"""Claims on the largest eigenvalue against the number of patches and the depth."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from qjaxsim.report.row import Row, describe
from qjaxsim.report.verdict import NOT_TESTED, Verdict
from qjaxsim.studies.hessian.configurations import START, anchors, circuit_weight, is_baseline
from qjaxsim.studies.shared.trends import (
    Kept,
    ends_beyond,
    fitted_slope,
    geometric_mean,
    judged,
    kept,
    not_seen,
    number,
    numbers,
    quote,
    quote_kept,
    quote_slope,
    quote_values,
    seeds_in_words,
    series,
    spread,
    trend,
)

# Shares of the baseline's log-log slope: a fall remains from the first on, and is gone below the second.
REMAINS, GONE = 0.5, 0.25
# How far a fitted slope, and a slope between neighbours, may lie from -1 in a 1/P law.
SLOPE_TOLERANCE, LOCAL_TOLERANCE = 0.25, 0.5
# Models count as equally large up to this relative difference in parameters; the published sizes differ by 12 %.
EQUAL_PARAMETERS = 0.15
# Largest ratio of training losses that still counts as matched.
MATCHED_LOSS = 1.25

PAPER = "arXiv:2504.19239"


def fewer_with_patches(rows: Sequence[Row]) -> Verdict:
    """Claim (a): more patches lower lambda_max at the minimum.

    Holds if the geometric mean of lambda_max falls at every step to more patches, at every depth, by more than
    the spread over seeds (root of the summed variances of log lambda_max at both ends). With a reservation if it falls
    in the mean only, or if less than `GONE` of the slope is left in a control of the normalisation or at matched loss.
    """
    claim, source = "More patches lower the largest Hessian eigenvalue at the minimum.", f"{PAPER} v1 and v2, abstract"
    base = [row for row in rows if is_baseline(row)]
    found = series(base, "patches")
    if not found:
        return Verdict(claim, source, NOT_TESTED, "Two patch counts or more would test it: --patches 1,4,9.", "none")
    falls = trend(found, -1)
    if not falls.strict:
        return not_seen(claim, source, f"No strict fall: {quote(found)}", base)
    arms = [(name, arm, "a property of the normalisation") for name, arm in _arms(rows)]
    arms.append(("matched loss", _matched(rows), "part of the better fit"))
    tested = [(name, arm, reason, slopes) for name, arm, reason in arms if (slopes := kept(arm, base))]
    doubts = falls.doubts + [
        f"with {name} the fall disappears, so it is {reason} (mean log-log slope "
        f"{np.mean([one.slope for one in slopes]):.2f} against {np.mean([one.baseline for one in slopes]):.2f})"
        for name, _, reason, slopes in tested
        if _share(slopes) < GONE
    ]
    return judged(claim, source, doubts, quote(found), [*base, *(row for _, arm, _, _ in tested for row in arm)])


def inverse_law(rows: Sequence[Row]) -> Verdict:
    """Claim (b): a 1 / patches law.

    Holds if at every depth the log-log slope over three patch counts or more lies within `SLOPE_TOLERANCE` of
    -1, its standard error is no larger than that, and slopes between neighbours lie within `LOCAL_TOLERANCE` of -1.
    With a reservation if every slope is negative, or there is a single seed. Not seen if a slope is not negative.
    """
    claim, source = (
        "The largest eigenvalue falls like 1 / patches.",
        f"bound O(c² / P) for a mean; {PAPER} states a fall",
    )
    base = [row for row in rows if is_baseline(row)]
    found = series(base, "patches")
    if not found:
        evidence = "Three patch counts or more would test it: --patches 1,4,9."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    slopes = [fitted_slope(one) for one in found]
    seeds = [values.size for one in found for _, values in one.points]
    evidence = "; ".join(quote_slope(slope) for slope in slopes) + f"; {seeds_in_words(min(seeds), max(seeds))} a point"
    if any(slope.value >= 0 for slope in slopes):
        return not_seen(claim, source, evidence, base)
    doubts = []
    if any(abs(slope.value + 1) > SLOPE_TOLERANCE for slope in slopes):
        doubts.append(f"a slope further than {SLOPE_TOLERANCE} from -1")
    if any(slope.error is not None and slope.error > SLOPE_TOLERANCE for slope in slopes):
        doubts.append(f"a standard error above {SLOPE_TOLERANCE}")
    if any(abs(value + 1) > LOCAL_TOLERANCE for slope in slopes for value in slope.local):
        doubts.append(f"neighbours further than {LOCAL_TOLERANCE} from -1, so no single power")
    if min(len(one.points) for one in found) < 3:
        doubts.append("two patch counts, which fit any power")
    if min(seeds) < 2:
        doubts.append("a single seed at some point")
    return judged(claim, source, doubts, evidence, base)


def not_the_fit(rows: Sequence[Row]) -> Verdict:
    """Claim (c): the fall is not only the better fit.

    Holds if at matched training loss lambda_max falls strictly and beyond the spread over seeds at every depth,
    keeps `REMAINS` of the baseline's slope, and the losses of a depth differ by a factor up to `MATCHED_LOSS`. With a
    reservation if it falls strictly, but one of the others fails. Not seen if it does not fall strictly. Not tested too
    where a path begins below the loss to match.
    """
    claim, source = "The fall with patches is more than the better fit.", f"{PAPER}, left open"
    base, matched = [row for row in rows if is_baseline(row)], _matched(rows)
    found = series(matched, "patches")
    if not found:
        above = sorted({f"{row['patches']}" for row in rows if row.get("control") == "loss" and row["point"] == START})
        evidence = (
            f"With {', '.join(above)} patches training begins below the highest of the minimal losses, which no point "
            "then matches. Would be tested by a better fit of the others, such as by more --epochs."
            if above
            else "Would be tested by --control loss with two patch counts."
        )
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    losses = _loss_ratio(matched)
    evidence = f"At matched loss {quote(found)}; " + (
        "training losses are not recorded"
        if losses is None
        else f"training losses {quote_values(numbers(matched, 'train_loss'))}, up to a factor {losses:.2f} apart"
    )
    slopes = kept(matched, base)
    evidence += f"; {quote_kept(slopes)}" if slopes else ""
    falls = trend(found, -1)
    if not falls.strict:
        return not_seen(claim, source, evidence, matched)
    doubts = list(falls.doubts)
    if slopes and _share(slopes) < REMAINS:
        doubts.append(f"less than {REMAINS:.0%} of the baseline's slope is left")
    if losses is None or losses > MATCHED_LOSS:
        doubts.append(f"losses are not matched within a factor {MATCHED_LOSS}")
    return judged(claim, source, doubts, evidence, [*matched, *(base if slopes else [])])


def not_the_normalisation(rows: Sequence[Row]) -> Verdict:
    """Claim (d): the fall is not the normalisation's.

    Holds if each control that keeps a circuit's weight in the logits constant (a sum; a mean with c
    proportional to P) keeps `REMAINS` of the baseline's slope. Not seen if none keeps `GONE` of it, or the baseline
    does not fall beyond the spread over seeds from end to end. With a reservation otherwise. The two controls are one
    model up to the constant at which they start.
    """
    claim = "The fall belongs to the number of circuits, not to the mean's weight 1 / patches."
    source = f"{PAPER}, left open; a bound O(c² P) holds for a sum"
    base = [row for row in rows if is_baseline(row)]
    arms = [(name, arm, slopes) for name, arm in _arms(rows) if (slopes := kept(arm, base))]
    if not arms:
        evidence = "Would be tested by --control aggregation or --control scale with two patch counts."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    seeds = [values.size for _, arm, _ in arms for one in series(arm, "patches") for _, values in one.points]
    evidence = "; ".join(f"with {name}: {quote_kept(slopes)}" for name, _, slopes in arms)
    evidence += f"; {seeds_in_words(min(seeds), max(seeds))} a point"
    used = [*base, *(row for _, arm, _ in arms for row in arm)]
    shares = [_share(slopes) for _, _, slopes in arms]
    depths = {one.label for _, _, slopes in arms for one in slopes}
    falls = [ends_beyond(one, -1) for one in series(base, "patches") if one.label in depths]
    if not any(falls):
        return not_seen(claim, source, f"{evidence}; the baseline does not fall beyond the seeds' spread", used)
    if all(share < GONE for share in shares):
        return not_seen(claim, source, evidence, used)
    doubts = [
        f"with {name} {max(share, 0):.0%} of the baseline's slope is left"
        for (name, _, _), share in zip(arms, shares, strict=True)
        if share < REMAINS
    ]
    if not all(falls):
        doubts.append(f"the baseline falls beyond the seeds' spread at {sum(falls)} of {len(falls)} depths only")
    if min(seeds) < 2:
        doubts.append("a single seed at some point")
    return judged(claim, source, doubts, evidence, used)


def not_the_size(rows: Sequence[Row]) -> Verdict:
    """Claim (e): more patches lower lambda_max at equal total parameters.

    Over all pairs of configurations with different patches and equal parameters (up to `EQUAL_PARAMETERS`):
    holds if lambda_max is lower with more patches in all of them, beyond the spread over seeds. With a reservation if
    in more than half of them. Not seen otherwise. Depth falls as patches rise in such pairs, so claim (f) adds to it.
    """
    claim, source = (
        "At equal total parameters more patches still lower the largest eigenvalue.",
        f"{PAPER}, published eigenvalues at 39,108 to 44,548 parameters",
    )
    used = [*(row for row in rows if is_baseline(row)), *_control(rows, "parameters")]
    pairs = _equal_pairs(used)
    if not pairs:
        evidence = "No two configurations are equally large; would be tested by --control parameters."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    lower = sum(change < 0 for _, change, _ in pairs)
    evidence = f"Lower in {lower} of {len(pairs)} pairs (geometric means): " + "; ".join(text for text, _, _ in pairs)
    if 2 * lower <= len(pairs):
        return not_seen(claim, source, evidence, used)
    doubts = [f"higher in {len(pairs) - lower} of {len(pairs)} pairs"] if lower < len(pairs) else []
    if any(over_seeds is None for _, _, over_seeds in pairs):
        doubts.append("a single seed in some pair")
    if within := sum(over_seeds is not None and abs(change) <= over_seeds for _, change, over_seeds in pairs):
        doubts.append(f"within the seeds' spread in {within} of {len(pairs)} pairs")
    return judged(claim, source, doubts, evidence, used)


def sharper_with_depth(rows: Sequence[Row]) -> Verdict:
    """Claim (f): lambda_max grows with depth.

    Holds if lambda_max grows at every step to more layers, at every number of patches, beyond the spread over
    seeds, and also between rows of one learning rate. With a reservation if it grows in the mean, or only where the
    learning rate changes, too. Not seen otherwise.
    """
    claim = "Deeper models have sharper minima, and not only because they are trained at another learning rate."
    source = f"{PAPER} v2, abstract (more parameters: deeper and sharper)"
    base = [row for row in rows if is_baseline(row)]
    with_rate = [*base, *_control(rows, "learning-rate")]
    known = [row for row in with_rate if number(row, "learning_rate") is not None]
    fixed = series(known, "layers", apart=("patches", "learning_rate"))
    found = series(base, "layers", apart=("patches",)) or fixed
    if not found:
        return Verdict(claim, source, NOT_TESTED, "Two depths or more would test it: --layers 2,4,8.", "none")
    evidence = quote(found) + (f". At a fixed learning rate {quote(fixed)}" if fixed and found is not fixed else "")
    used = with_rate if fixed else base
    grows, grows_fixed = trend(found, 1), trend(fixed, 1)
    if not grows.strict:
        return not_seen(claim, source, evidence, used)
    doubts = list(dict.fromkeys([*grows.doubts, *grows_fixed.doubts]))
    if not fixed:
        doubts.append("the learning rate is not the same at two depths; --control learning-rate keeps it fixed")
    elif not grows_fixed.strict:
        doubts.append("at a fixed learning rate it does not grow throughout")
    return judged(claim, source, doubts, evidence, used)


# --- rows of the controls --------------------------------------------------------------------------------------------


def _control(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row.get("control") == name and row.get("point") in (None, "minimum")]


def _matched(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.get("control") == "loss" and row.get("point") == "matched loss"]


def _loss_ratio(matched: Sequence[Row]) -> float | None:
    """Largest ratio of training losses within a depth."""
    found = series(matched, "patches", value="train_loss")
    ratios = [max(one.means) / min(one.means) for one in found]
    return max(ratios) if ratios else None


def _arms(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of one weight a circuit, for each control of the normalisation, with the baseline rows of the same model."""
    base = [row for row in rows if is_baseline(row)]
    arms = []
    for control, name in (("aggregation", "a sum over circuits"), ("scale", "c proportional to patches")):
        own = [row for row in _control(rows, control) if circuit_weight(row) is not None]
        for weight in dict.fromkeys(map(circuit_weight, own)):
            arm = [row for row in own if circuit_weight(row) == weight]
            arms.append((name, arm + anchors(arm, base)))
    return arms


def _share(slopes: Sequence[Kept]) -> float:
    return float(np.mean([one.share for one in slopes]))


def _equal_pairs(rows: Sequence[Row]) -> list[tuple[str, float, float | None]]:
    """Pairs of configurations as (in words, change of log lambda_max to more patches, its spread)."""
    sizes: dict[tuple[float, float], float] = {}
    values: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        patches, layers, size, value = (number(row, n) for n in ("patches", "layers", "parameters", "lambda_max"))
        if patches is not None and layers is not None and size is not None and value is not None and value > 0:
            sizes[patches, layers] = size
            values.setdefault((patches, layers), []).append(value)
    pairs = []
    for few, many in combinations(sorted(sizes), 2):
        larger = max(sizes[few], sizes[many])
        if few[0] == many[0] or abs(sizes[few] - sizes[many]) > EQUAL_PARAMETERS * larger:
            continue
        a, b = np.array(values[few]), np.array(values[many])
        ends = [
            f"{describe('patches', p)} x {describe('layers', n)} {geometric_mean(v):.4g} "
            f"({v.min():.4g}–{v.max():.4g}, {seeds_in_words(v.size, v.size)}, {sizes[p, n]:g} parameters)"
            for (p, n), v in ((few, a), (many, b))
        ]
        change = float(np.log(b).mean() - np.log(a).mean())
        pairs.append((" against ".join(ends), change, spread(np.log(a), np.log(b))))
    return pairs
