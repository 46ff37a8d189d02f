"""Claims on bulk, outliers, blocks and gradient of the Hessian's spectrum.

What rests on a single seed holds with a reservation at most.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from qjaxsim.common.words import counted
from qjaxsim.report.row import Row, describe
from qjaxsim.report.verdict import NOT_TESTED, Verdict
from qjaxsim.studies.hessian.configurations import is_baseline
from qjaxsim.studies.hessian.knock_out import removed_share
from qjaxsim.studies.hessian.nulls import NullCounts, null_counts
from qjaxsim.studies.shared.judging import settled, settled_mean, single_seed
from qjaxsim.studies.shared.trends import judged, not_seen, number, numbers, quote_values, seeds_of

# Share of eigenvalues near zero that makes them the bulk.
BULK = 0.5
# Shares of rows in which one count of outliers must match, and in which any must.
HIT, HALF = 0.75, 0.5
# Shares of the near-zero count that unused and redundant weights explain: below the first hardly, from the second on.
HARDLY, MOSTLY = 0.25, 0.75
# lambda_max(G) over that of its diagonal blocks: up to the first blocks alone carry it, beyond the second they do not.
BLOCKS_ALONE, BLOCKS_MATTER = 1.1, 1.5
# Fraction of |gradient|^2 in the leading space: all rows for "holds", the mean for a reservation.
GRADIENT_ALL, GRADIENT_MEAN = 0.8, 0.5

PAPER = "arXiv:2504.19239"


def bulk_and_outliers(rows: Sequence[Row]) -> Verdict:
    """Claim (g): a bulk near zero and separated outliers.

    Holds if in every row the gap rule separates outliers and `BULK` of the eigenvalues are near zero (up to
    1e-6 lambda_max). With a reservation if outliers separate in half of the rows. Not seen otherwise.
    """
    claim = "The spectrum is a bulk near zero and outliers separated from it."
    source = f"{PAPER} v2, abstract; Sagun et al. 2016"
    used = [row for row in rows if is_baseline(row) and number(row, "outliers_gap") is not None]
    if not used:
        return Verdict(claim, source, NOT_TESTED, "Would be tested by --spectrum dense or lanczos.", "none")
    separated = sum(count > 0 for count in numbers(used, "outliers_gap"))
    near, gaps = numbers(used, "near_zero_fraction"), numbers(used, "gap_ratio")
    evidence = f"Outliers separate in {separated} of {len(used)} rows"
    evidence += f" (largest ratio of neighbours {quote_values(gaps)})" if gaps else ""
    evidence += f"; fraction of eigenvalues near zero {quote_values(near)}" if near else ""
    evidence += f"; {seeds_of(used)}"
    if separated < HALF * len(used):
        return not_seen(claim, source, evidence, used)
    doubts = [f"no outliers in {counted(len(used) - separated, 'row')}"] if separated < len(used) else []
    if not near or min(near) < BULK:
        doubts.append(f"the near-zero part is not everywhere {BULK:.0%} of the spectrum or is not recorded")
    return judged(claim, source, doubts + single_seed(used), evidence, used)


def outliers_are_classes(rows: Sequence[Row]) -> Verdict:
    """Claim (h): as many outliers as classes.

    Over all rows of the control "classes" and the baseline, with two class counts K at least, the share of rows whose
    outliers number K - 1, K or K^2 is taken at each K and averaged over K. Holds if K - 1 alone, or K alone, reaches
    `HIT`. With a reservation if the three together reach half, or if, as many as there are, less than half of the
    outliers come from class means (claim l). Not seen otherwise.
    """
    claim, source = "The number of outliers corresponds to the number of classes K.", f"{PAPER} v2, abstract"
    used = [
        row
        for row in rows
        if (is_baseline(row) or row.get("control") == "classes")
        and number(row, "n_classes") is not None
        and number(row, "outliers_gap") is not None
    ]
    counts: dict[int, list[int]] = {}
    for row in sorted(used, key=lambda row: row["n_classes"]):
        counts.setdefault(int(row["n_classes"]), []).append(int(row["outliers_gap"]))
    listed = "; ".join(f"K = {k}: {_tally(found)}" for k, found in counts.items())
    if len(counts) < 2:
        seen = f" Here outliers (number x rows) at {listed}." if counts else ""
        evidence = f"More than one number of classes would test it: --control classes.{seen}"
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    hits = {
        name: settled_mean([found.count(rule(k)) / len(found) for k, found in counts.items()])
        for name, rule in _CLASS_RULES.items()
    }
    said = ", ".join(f"{name} in {hit:.0%}" for name, hit in hits.items())
    evidence = f"Averaged over K the outliers number {said} of the rows; outliers (number x rows) at {listed}"
    evidence += f"; {seeds_of(used)}"
    doubts = _no_class_means(used) + single_seed(used)
    if max(hits["K − 1"], hits["K"]) >= HIT:
        return judged(claim, source, doubts, evidence, used)
    if settled(sum(hits.values())) >= HALF:
        return judged(claim, source, [f"neither K − 1 nor K alone in {HIT:.0%} of the rows", *doubts], evidence, used)
    return not_seen(claim, source, evidence, used)


def _no_class_means(rows: Sequence[Row]) -> list[str]:
    """A doubt where the knock-out of class means leaves most of the outliers that were counted."""
    found = [share for row in rows if row["outliers_gap"] and (share := removed_share(row)) is not None]
    mean = settled_mean(found) if found else 1.0
    return [f"class means take out {mean:.0%} of them only"] if mean < HALF else []


_CLASS_RULES: dict[str, Callable[[int], int]] = {"K − 1": lambda k: k - 1, "K": lambda k: k, "K²": lambda k: k * k}


def _tally(counts: Sequence[int]) -> str:
    return ", ".join(f"{count} x {times}" for count, times in sorted(Counter(counts).items()))


def bulk_is_structure(rows: Sequence[Row]) -> Verdict:
    """Claim (i): the near-zero bulk is structural regularisation.

    Unused weights (outside the light cone of the readout) plus redundant directions of first blocks, over the
    near-zero count (eigenvalues of H up to 1e-6 lambda_max, or those of G below rounding where they are more: redundant
    directions leave H singular at an exactly stationary point only). Holds if the mean over rows is at most `HARDLY`
    and images do not bound the rank of G; not seen from `MOSTLY` on; with a reservation otherwise.
    """
    claim = "The near-zero bulk is implicit structural regularisation, more than unused or redundant weights."
    source = f"{PAPER} v2, abstract (interpretation)"
    candidates = [row for row in rows if row.get("control") == "nulls"] or [row for row in rows if is_baseline(row)]
    used = [row for row in candidates if (counts := null_counts(row)) and counts.explained is not None]
    if not used:
        evidence = "Would be tested by --control nulls (a dense spectrum and counts of unused and redundant weights)."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    found = [counts for row in used if (counts := null_counts(row))]
    shares = [counts.explained or 0.0 for counts in found]
    share = settled_mean(shares)
    evidence = f"Unused and redundant weights are {quote_values(shares)} of the near-zero count; {seeds_of(used)}; " + (
        "; ".join(dict.fromkeys(_counts_in_words(row, counts) for row, counts in zip(used, found, strict=True)))
    )
    if share >= MOSTLY:
        return not_seen(claim, source, evidence, used)
    doubts = [f"they explain more than {HARDLY:.0%}"] if share > HARDLY else []
    if any(_bound_by_images(row) for row in used):
        doubts.append("images (K − 1) is less than the number of weights in some row, which makes zeros of its own")
    return judged(claim, source, doubts + single_seed(used), evidence, used)


def _counts_in_words(row: Row, counts: NullCounts) -> str:
    near = counts.unused + counts.redundant + counts.other
    place = " x ".join(describe(name, number(row, name) or 0) for name in ("patches", "layers"))
    return f"{place}: {counts.unused} unused + {counts.redundant} redundant of {near} near zero, {sum(counts)} weights"


def _bound_by_images(row: Row) -> bool:
    """Whether G, of rank images (K - 1) at most, is singular for that reason alone."""
    images, classes = number(row, "curvature_images") or number(row, "images"), number(row, "n_classes")
    return images is not None and classes is not None and images * (classes - 1) < (number(row, "parameters") or 0)


def _block_ratio(row: Row) -> float | None:
    whole, blocks = number(row, "gn_lambda_max"), number(row, "gn_block_lambda_max")
    return whole / blocks if whole is not None and blocks else None


def no_cross_patch_curvature(rows: Sequence[Row]) -> Verdict:
    """Claim (j): no curvature between circuits.

    Ratio of the largest eigenvalue of G to that of its diagonal blocks, one block a circuit: 1 if blocks between
    circuits do not matter, P at most. Over rows of several patches: holds if it is at most `BLOCKS_ALONE` everywhere,
    with a reservation if its mean is at most `BLOCKS_MATTER`, not seen beyond.
    """
    claim = "Aggregation adds no correlation between patches that changes the spectrum."
    source = f"premise of {PAPER} v2's derivation, as a review states it"
    several = [row for row in rows if is_baseline(row) and (number(row, "patches") or 0) > 1]
    found = [(row, ratio) for row in several if (ratio := _block_ratio(row))]
    if not found:
        evidence = "Several patches with gn_block_lambda_max would test it: --spectrum dense, --patches 4,9."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    used, ratios = [row for row, _ in found], [ratio for _, ratio in found]
    by_patches = "; ".join(
        f"{describe('patches', patches)} {quote_values([ratio for row, ratio in found if row['patches'] == patches])}"
        for patches in sorted({row["patches"] for row in used})
    )
    evidence = f"lambda_max(G) over that of its diagonal blocks: {by_patches}; {seeds_of(used)}"
    if max(ratios) <= BLOCKS_ALONE:
        return judged(claim, source, single_seed(used), evidence, used)
    if settled_mean(ratios) <= BLOCKS_MATTER:
        doubts = [f"blocks between circuits raise it by more than {BLOCKS_ALONE - 1:.0%} in some row"]
        return judged(claim, source, doubts + single_seed(used), evidence, used)
    evidence += "; blocks between circuits carry a large part of the leading eigenvalue"
    return not_seen(claim, source, evidence, used)


def gradient_in_leading_space(rows: Sequence[Row]) -> Verdict:
    """Claim (k): the gradient lies in the leading space.

    Fraction of |gradient|^2 in the space of the K leading eigenvectors: holds if it is `GRADIENT_ALL` in every
    row, with a reservation if its mean is `GRADIENT_MEAN`, not seen below, or where a random direction, which has K
    over the number of parameters, has as much in the mean.
    """
    claim = "The gradient lies mostly in the space of the K leading eigenvectors."
    source = "Gur-Ari et al. 2018 (classical networks, during training)"
    used = [row for row in rows if is_baseline(row) and number(row, "gradient_in_top_k") is not None]
    if not used:
        evidence = "Rows with gradient_in_top_k would test it: --spectrum dense or lanczos."
        return Verdict(claim, source, NOT_TESTED, evidence, "none")
    fractions = numbers(used, "gradient_in_top_k")
    mean = settled_mean(fractions)
    chance = [
        k / size
        for row in used
        if (k := number(row, "n_classes")) is not None and (size := number(row, "parameters")) is not None
    ]
    evidence = f"Fraction {quote_values(fractions)} at the minimum over {len(used)} rows, {seeds_of(used)}"
    evidence += f"; a random direction has {quote_values(chance)}" if chance else ""
    if mean < GRADIENT_MEAN or (chance and mean <= settled_mean(chance)):
        return not_seen(claim, source, evidence, used)
    doubts = [f"below {GRADIENT_ALL} in some row"] if min(fractions) < GRADIENT_ALL else []
    return judged(claim, source, doubts + single_seed(used), evidence, used)
