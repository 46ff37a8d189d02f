"""Claims on noise and the quantum Fisher information, each judged by a stated rule from the rows of `noisy-fisher`."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_SEEN, Verdict
from qjaxsim.studies.noisy_fisher.cell import GLOBAL, LOCAL, MINIMUM, NONE, RANDOM
from qjaxsim.studies.noisy_fisher.published import PAPER
from qjaxsim.studies.shared.judging import concluded, single_seed, untested

_SOURCE = f"{PAPER}, García-Martín and others"
# Eigenvalues that are so much smaller count as apart; rates of decay that differ by less as one; and sizes as alike.
APART, ONE_RATE, ALIKE = 0.1, 2.0, 0.1

# Eigenvalues up to this share of the largest are rounding.
_ROUNDING = 1e-14


def noisy_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule."""
    return [claim(rows) for claim in (turned_on, all_on, coexist, suppressed, more_than_mixing, ill_defined, hessian)]


def turned_on(rows: Sequence[Row]) -> Verdict:
    """Holds if at random angles the rank is higher at the weakest local noise than without, and not with global noise.

    With a reservation where that is so with the tolerance only, not with 1e3 of it.
    """
    claim = "Local noise turns on eigenvalues of the QFIM that are zero without; global noise does not."
    none, local, mixed = (_at(rows, RANDOM, noise) for noise in (NONE, LOCAL, GLOBAL))
    if all(row["rank"] == row["angles"] for row in none):
        return untested(claim, _SOURCE, "more --layers: no eigenvalue is zero")
    evidence = f"ranks by layers without noise {_by_layers(none, 'rank')}, at {_weakest(rows):g} "
    evidence += f"{_by_layers(local, 'rank')}, with the control {_by_layers(mixed, 'rank')}"
    pairs = list(zip(none, local, mixed, strict=True))
    if not all(b["rank"] > a["rank"] == c["rank"] for a, b, c in pairs if a["rank"] < a["angles"]):
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, GLOBAL)
    doubts = []
    if not all(b["rank_loose"] > a["rank"] for a, b, _ in pairs if a["rank"] < a["angles"]):
        doubts.append(f"with 1e3 of the tolerance {_by_layers(local, 'rank_loose')}")
    return concluded(claim, _SOURCE, evidence, doubts + single_seed(rows), GLOBAL)


def all_on(rows: Sequence[Row]) -> Verdict:
    """Holds if at the weakest local noise every angle counts in the rank, with a reservation if not with 1e3 of it.

    Not tested where every angle counts without noise, too: there is no overparametrisation that could go.
    """
    claim = "With local noise the rank is the number of angles: overparametrisation is gone."
    none, local = (_at(rows, RANDOM, noise) for noise in (NONE, LOCAL))
    if all(row["rank"] == row["angles"] for row in none):
        return untested(claim, _SOURCE, "more --layers: no eigenvalue is zero without noise")
    evidence = f"at {_weakest(rows):g} ranks by layers {_by_layers(local, 'rank')}; with 1e3 of the tolerance "
    evidence += f"{_by_layers(local, 'rank_loose')}, above 1e-2 of the largest {_by_layers(local, 'rank_coarse')}"
    if any(row["rank"] < row["angles"] for row in local):
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, "threshold")
    doubts = ["not with that"] if any(row["rank_loose"] < row["angles"] for row in local) else []
    return concluded(claim, _SOURCE, evidence, doubts + single_seed(rows), "threshold")


def coexist(rows: Sequence[Row]) -> Verdict:
    """Holds if turned-on eigenvalues are a tenth of those that noise found, at most, at all strengths.

    With a reservation if at the weakest only.
    """
    claim = "Eigenvalues that weak noise turns on stay well below the others."
    strengths, parts, bad = _strengths(rows), [], []
    for strength in strengths:
        ratios = [_turned_on(row) for row in _at(rows, RANDOM, LOCAL, strength) if row["turned_on"] is not None]
        if not ratios:
            return untested(claim, _SOURCE, "more --layers")
        parts.append(f"at {strength:g} {_quote(ratios)}")
        if max(ratios) > APART:
            bad.append(strength)
    evidence = f"largest turned-on over smallest other eigenvalue: {', '.join(parts)}"
    if strengths[0] in bad:
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, "none")
    doubts = [f"not at {', '.join(f'{strength:g}' for strength in bad)}"] if bad else []
    return concluded(claim, _SOURCE, evidence, doubts + single_seed(rows), "none")


def suppressed(rows: Sequence[Row]) -> Verdict:
    """Holds if the logarithm of the largest eigenvalue falls in proportion to the strength, to a factor of two.

    Means over angles; with a reservation if the factor is larger, not seen if it does not fall at each strength. Not
    tested by a single strength, through which every law goes.
    """
    claim = "Noise suppresses the eigenvalues of the QFIM exponentially."
    strengths = _strengths(rows)
    if len(strengths) < 2:
        return untested(claim, _SOURCE, "two --strengths")
    falls = [-_mean_logarithm(rows, LOCAL, strength) for strength in strengths]
    rates = [fall / strength for fall, strength in zip(falls, strengths, strict=True)]
    parts = [
        f"{math.exp(-fall):.3g} at {strength:g} (rate {rate:.0f})"
        for fall, strength, rate in zip(falls, strengths, rates, strict=True)
    ]
    evidence = f"largest eigenvalue over that without noise, geometric means: {', '.join(parts)}"
    if falls != sorted(falls) or falls[0] <= 0:
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, "none")
    doubts = []
    if max(rates) > ONE_RATE * min(rates):
        doubts.append(f"rates differ by a factor of {max(rates) / min(rates):.1f}")
    least = [[row["smallest"] for row in _at(rows, RANDOM, LOCAL, strength)] for strength in strengths]
    if np.median(least[1]) > np.median(least[0]):
        doubts.append(f"the smallest grow first, {', '.join(f'{np.median(one):.2g}' for one in least)}")
    return concluded(claim, _SOURCE, evidence, doubts + single_seed(rows), "none")


def more_than_mixing(rows: Sequence[Row]) -> Verdict:
    """Holds if the largest eigenvalue is that of a mixture with the identity of the same purity, to 10 %, everywhere.

    With a reservation if at the weakest strength only.
    """
    claim = "Large eigenvalues fall as if the state were mixed with the identity."
    parts, bad = [], []
    for strength in _strengths(rows):
        local, mixed = (_at(rows, RANDOM, noise, strength) for noise in (LOCAL, GLOBAL))
        ratios = [_over(one["largest"], other["largest"]) for one, other in zip(local, mixed, strict=True)]
        parts.append(f"at {strength:g} {_quote(ratios)}")
        if max(abs(ratio - 1) for ratio in ratios) > ALIKE:
            bad.append(strength)
    evidence = f"largest eigenvalue over that of the control: {', '.join(parts)}"
    if _strengths(rows)[0] in bad:
        return Verdict(claim, "the usual expectation", NOT_SEEN, evidence, GLOBAL)
    doubts = [f"not at {', '.join(f'{strength:g}' for strength in bad)}"] if bad else []
    return concluded(claim, "the usual expectation", evidence, doubts + single_seed(rows), GLOBAL)


def ill_defined(rows: Sequence[Row]) -> Verdict:
    """Holds if at the weakest noise the rank is that without noise above 1e-2 of the largest, and higher by tolerance.

    For every circuit; with a reservation if for some.
    """
    claim = "Capacity as the rank of the QFIM is ill-defined with noise: the threshold decides."
    none, local = _at(rows, RANDOM, NONE), _at(rows, RANDOM, LOCAL)
    free = [(a, b) for a, b in zip(none, local, strict=True) if a["rank"] < a["angles"]]
    if not free:
        return untested(claim, _SOURCE, "more --layers")
    moved = [b for a, b in free if b["rank"] > a["rank"] >= b["rank_coarse"]]
    evidence = f"in {len(moved)} of {len(free)} circuits and angles; " + ", ".join(
        f"{name} {_by_layers(local, column)}"
        for name, column in (("1e-2", "rank_coarse"), ("1e3 tolerance", "rank_loose"), ("tolerance", "rank"))
    )
    if not moved:
        return Verdict(claim, _SOURCE, NOT_SEEN, evidence, "threshold")
    doubts = ["not in the others"] if len(moved) < len(free) else []
    return concluded(claim, _SOURCE, evidence, doubts + single_seed(rows), "threshold")


def hessian(rows: Sequence[Row]) -> Verdict:
    """Holds if at the minimum without noise local noise raises the rank of the energy's Hessian, too, in all circuits.

    With a reservation if in some. How many of its eigenvalues are negative then is quoted.
    """
    claim = "At the minimum noise turns on zero eigenvalues of the Hessian of the energy as it does those of the QFIM."
    none, local, mixed = (_at(rows, MINIMUM, noise) for noise in (NONE, LOCAL, GLOBAL))
    free = [pair for pair in zip(none, local, mixed, strict=True) if pair[0]["hessian_rank"] < pair[0]["angles"]]
    if not free:
        return untested(claim, "ours", "more --layers")
    raised = [pair for pair in free if pair[1]["hessian_rank"] > pair[0]["hessian_rank"]]
    evidence = f"ranks by layers without noise {_by_layers(none, 'hessian_rank')}, at {_weakest(rows):g} "
    evidence += f"{_by_layers(local, 'hessian_rank')}, with the control {_by_layers(mixed, 'hessian_rank')}; of the "
    evidence += f"QFIM {_by_layers(local, 'rank')}; negative {_by_layers(local, 'hessian_negative')}"
    if not raised:
        return Verdict(claim, "ours", NOT_SEEN, evidence, GLOBAL)
    doubts = [f"in {len(raised)} of {len(free)}"] if len(raised) < len(free) else []
    return concluded(claim, "ours", evidence, doubts + single_seed(rows), GLOBAL)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _strengths(rows: Iterable[Row]) -> list[float]:
    return sorted({row["strength"] for row in rows if row["noise"] == LOCAL})


def _weakest(rows: Iterable[Row]) -> float:
    return _strengths(rows)[0]


def _at(rows: Sequence[Row], point: str, noise: str, strength: float | None = None) -> list[Row]:
    """Rows of a noise in the order of layers and seeds, of the weakest where no strength is given."""
    wanted = 0.0 if noise == NONE else _weakest(rows) if strength is None else strength
    return [row for row in rows if (row["point"], row["noise"], row["strength"]) == (point, noise, wanted)]


def _by_layers(rows: Sequence[Row], column: str) -> str:
    """Medians over seeds, a number for each depth."""
    depths = dict.fromkeys(row["layers"] for row in rows)
    return ", ".join(f"{np.median([row[column] for row in rows if row['layers'] == depth]):g}" for depth in depths)


def _mean_logarithm(rows: Sequence[Row], noise: str, strength: float) -> float:
    """Of the largest eigenvalue over that without noise."""
    pairs = zip(_at(rows, RANDOM, noise, strength), _at(rows, RANDOM, NONE), strict=True)
    shares = [max(one["largest"] / pure["largest"], 0.0) for one, pure in pairs]
    with np.errstate(divide="ignore"):
        return float(np.log(shares).mean())


def _turned_on(row: Row) -> float:
    """Largest eigenvalue that noise turned on over the smallest other; infinite where rounding is left of that."""
    return _over(row["turned_on"], row["kept"] if row["kept"] > _ROUNDING * row["largest"] else 0.0)


def _over(one: float, other: float) -> float:
    """The ratio; infinite where noise has left nothing of the other."""
    return one / other if other > 0 else math.inf


def _quote(values: Sequence[float]) -> str:
    return f"{np.median(values):.2g} ({min(values):.2g} to {max(values):.2g})"
