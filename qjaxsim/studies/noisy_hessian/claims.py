"""Claims on curvature under noise and shots, each judged by a stated rule from the rows of `noisy-hessian`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_SEEN, NOT_TESTED, Verdict
from qjaxsim.studies.noisy_hessian.cell import GLOBAL, LOCAL, NONE, ROUNDING
from qjaxsim.studies.shared.judging import concluded, over_seeds, seeds_in, single_seed

_NOISE = "arXiv:2302.05059, of the quantum Fisher information"
_SHIFTS = "PennyLane issue 1258, asked for"
# Eigenvalues this close are alike, and spaces with this overlap the same.
ALIKE, SAME_SPACE = 0.1, 0.9


def noisy_verdicts(shots: Sequence[int], rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule.

    Args:
        shots: that were offered, of each evaluation.
        rows: table of the study.
    """
    return [suppressed(rows), turned_on(rows), rescaled(rows), largest(shots, rows), sign(shots, rows)]


def halving_strength(rows: Sequence[Row], seed: int, noise: str = LOCAL) -> float | None:
    """The strength at which a seed's largest eigenvalue is half of that without noise, None if none is so strong.

    Between strengths the ratio is taken as linear in the logarithm of the strength.
    """
    own = sorted((row for row in rows if row["seed"] == seed and row["noise"] == noise), key=lambda r: r["strength"])
    before: Row | None = None
    for row in own:
        if row["ratio_max"] <= 0.5:
            if before is None:
                return float(row["strength"])
            part = (before["ratio_max"] - 0.5) / (before["ratio_max"] - row["ratio_max"])
            return float(before["strength"] * (row["strength"] / before["strength"]) ** part)
        before = row
    return None


def suppressed(rows: Sequence[Row]) -> Verdict:
    """Holds if local noise halves the largest eigenvalue within the strengths for every seed.

    With a reservation if the control, which only shrinks outputs as much, does so within 10 % of the same strength, or
    if less than half is left at the weakest strength, which then says neither where it is halved nor by what.
    """
    claim = "Local noise suppresses the largest eigenvalue."
    seeds = seeds_in(rows)
    found = [halving_strength(rows, seed) for seed in seeds]
    reached = [one for one in found if one is not None]
    if len(reached) < len(seeds):
        ratio = max(row["ratio_max"] for row in rows if row["noise"] == LOCAL and row["strength"] == _strongest(rows))
        return Verdict(claim, _NOISE, NOT_SEEN, f"at {_strongest(rows):g} up to {ratio:.2f} of it is left", "global")
    doubts = single_seed(rows)
    weakest = min(row["strength"] for row in rows if row["noise"] == LOCAL)
    first = [row["ratio_max"] for row in rows if row["noise"] == LOCAL and row["strength"] == weakest]
    if min(first) < 0.5:
        evidence = f"at the weakest strength of {weakest:g} {over_seeds(first)} of it is left"
        doubts.append("weaker --strengths would say where it is halved")
        return concluded(claim, _NOISE, evidence, doubts, "global")
    evidence = f"halved at a strength of {over_seeds(reached)}"
    control = [one for seed in seeds if (one := halving_strength(rows, seed, GLOBAL)) is not None]
    if len(control) == len(seeds) and abs(np.mean(control) / np.mean(reached) - 1) <= ALIKE:
        control_at = over_seeds(control)
        doubts.append(f"so does shrinking the outputs as much ({control_at}), so that this is no more than that")
    elif control:
        evidence += f"; by shrinking the outputs as much at {over_seeds(control)}"
    return concluded(claim, _NOISE, evidence, doubts, "global")


def turned_on(rows: Sequence[Row]) -> Verdict:
    """Holds if the rank is higher at the weakest local noise than without for every seed, and not with the control.

    Not tested where all zeros are weights that nothing depends on, which noise cannot turn on.
    """
    claim = "Weak noise turns on eigenvalues that were zero."
    weakest = min(row["strength"] for row in rows if row["noise"] == LOCAL)
    ranks = {
        name: [row["rank"] for row in rows if row["noise"] == name and row["strength"] in (0, weakest)]
        for name in (NONE, LOCAL, GLOBAL)
    }
    evidence = f"rank {_listed(ranks[NONE])} without noise, {_listed(ranks[LOCAL])} at {weakest:g}"
    evidence += f", {_listed(ranks[GLOBAL])} with the control, of {rows[0]['parameters']}"
    dead = [row["dead"] for row in rows if row["noise"] == NONE]
    if all(rank + zeros == rows[0]["parameters"] for rank, zeros in zip(ranks[NONE], dead, strict=True)):
        way = "Would be tested by more weights than directions"
        return Verdict(claim, _NOISE, NOT_TESTED, f"{way}: {evidence}, the others without any effect.", "none")
    if not all(noisy > pure for noisy, pure in zip(ranks[LOCAL], ranks[NONE], strict=True)):
        return Verdict(claim, _NOISE, NOT_SEEN, evidence, "global")
    doubts = ["the control does it too"] if ranks[GLOBAL] != ranks[NONE] else []
    return concluded(claim, _NOISE, evidence, doubts + single_seed(rows), "global")


def rescaled(rows: Sequence[Row]) -> Verdict:
    """Holds if at all strengths both outer eigenvalues are the control's to 10 %, and leading spaces overlap by 0.9.

    With a reservation if at some strengths only, the weakest among them.
    """
    claim, source = "Noise does no more than shrink the outputs.", "the usual expectation"
    strengths = sorted({row["strength"] for row in rows if row["noise"] == LOCAL})
    bad, parts = [], []
    for strength in strengths:
        top, bottom = (_apart(rows, strength, name) for name in ("lambda_max", "lambda_min"))
        overlap = min(row["overlap_control"] for row in rows if row["noise"] == LOCAL and row["strength"] == strength)
        parts.append(f"at {strength:g} {100 * top:.1f} % and {100 * bottom:.0f} %, overlap {overlap:.3f}")
        if max(top, bottom) > ALIKE or overlap < SAME_SPACE:
            bad.append(strength)
    evidence = f"lambda_max and lambda_min are apart from the control's by up to: {'; '.join(parts)}"
    if strengths[0] in bad:
        return Verdict(claim, source, NOT_SEEN, evidence, "global")
    doubts = [f"not at {_listed([f'{strength:g}' for strength in bad])}"] if bad else []
    return concluded(claim, source, evidence, doubts + single_seed(rows), "global")


def _apart(rows: Sequence[Row], strength: float, column: str) -> float:
    """How far local noise is from its control at a strength, over the control's, at most over seeds.

    What rounding makes of zeros is alike; beside it anything else is infinitely far.
    """
    local, control = (
        [
            row[column] if abs(row[column]) > ROUNDING * row["lambda_max"] else 0.0
            for row in rows
            if row["noise"] == name and row["strength"] == strength
        ]
        for name in (LOCAL, GLOBAL)
    )
    return max(_ratio_to_one(a, b) for a, b in zip(local, control, strict=True))


def _ratio_to_one(a: float, b: float) -> float:
    return abs(a / b - 1) if b else math.inf if a else 0.0


def largest(shots: Sequence[int], rows: Sequence[Row]) -> Verdict:
    """Holds if 10 % of the loss's largest eigenvalue take no more shots than offered at all strengths and seeds.

    With a reservation if without noise only. The energy's are quoted.
    """
    return _within("The largest eigenvalue can be measured to 10 %.", ("shots_max",), shots, rows)


def sign(shots: Sequence[int], rows: Sequence[Row]) -> Verdict:
    """The same for the sign of the most negative eigenvalue, two standard errors from zero and beyond errors alone.

    Seeds and strengths at which none is negative do not count.
    """
    claim = "The sign of the most negative eigenvalue can be measured."
    return _within(claim, ("shots_sign_min", "shots_edge_min"), shots, rows)


def _within(claim: str, columns: Sequence[str], shots: Sequence[int], rows: Sequence[Row]) -> Verdict:
    needed, of_energy = _needed(rows, columns), _needed(rows, [f"energy_{column}" for column in columns])
    if 0 not in needed:
        return Verdict(claim, _SHIFTS, NOT_TESTED, "Would be tested where the eigenvalue is negative.", "none")
    evidence = (
        f"shots of each of {rows[0]['evaluations']:,} evaluations of every image, the seed that needs most: "
        f"{_in_words(needed)}; of an energy's {rows[0]['energy_evaluations']:,}: "
        f"{_in_words(of_energy) or 'none of its eigenvalues has that sign'}"
    )
    if needed[0] > max(shots):
        return Verdict(claim, _SHIFTS, NOT_SEEN, f"{evidence}; {max(shots):,} were offered", "none")
    beyond = [f"{strength:g}" for strength, count in needed.items() if count > max(shots)]
    doubts = [f"not within {max(shots):,} at {_listed(beyond)}"] if beyond else []
    return concluded(claim, _SHIFTS, evidence, doubts + single_seed(rows), "none")


def _needed(rows: Sequence[Row], columns: Sequence[str]) -> dict[float, int]:
    """By strength, the shots of the seed and of the criterion that need most."""
    found: dict[float, int] = {}
    for row in rows:
        counts = [row[column] for column in columns if row[column] is not None]
        if row["noise"] != GLOBAL and counts:
            found[row["strength"]] = max(*counts, found.get(row["strength"], 0))
    return dict(sorted(found.items()))


def _in_words(needed: dict[float, int]) -> str:
    return ", ".join(f"{n:,} {f'at {strength:g}' if strength else 'without noise'}" for strength, n in needed.items())


# --- pieces ----------------------------------------------------------------------------------------------------------


def _strongest(rows: Sequence[Row]) -> float:
    return float(max(row["strength"] for row in rows))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
