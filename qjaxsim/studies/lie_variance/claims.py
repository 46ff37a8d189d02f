"""Claims on variances over Lie groups, each judged by a stated rule from the rows of `lie-variance`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_SEEN, Verdict
from qjaxsim.studies.lie_variance.settings import CHAIN, FULL
from qjaxsim.studies.shared.judging import concluded, single_seed, untested

PAPER = "arXiv:2309.09342"
# Standard errors within which numbers agree.
AGREE = 3.0


class Pooled(NamedTuple):
    """The variance at one depth over all seeds.

    Attributes:
        depth: layers.
        variance: mean over seeds.
        error: its standard error.
        predicted: by the algebra.
    """

    depth: int
    variance: float
    error: float
    predicted: float

    @property
    def deviation(self) -> float:
        """From what is predicted, in standard errors."""
        return (self.variance - self.predicted) / self.error


def variance_verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule."""
    return [formula(rows), polynomial(rows), exponential(rows), deep(rows)]


def pooled(rows: Sequence[Row], circuit: str, qubits: int) -> list[Pooled]:
    """By depth, ascending."""
    own = [row for row in rows if row["circuit"] == circuit and row["qubits"] == qubits]
    found = []
    for depth in sorted({row["depth"] for row in own}):
        at = [row for row in own if row["depth"] == depth]
        error = np.sqrt(sum(row["variance_error"] ** 2 for row in at)) / len(at)
        found.append(Pooled(depth, float(np.mean([row["variance"] for row in at])), float(error), at[0]["predicted"]))
    return found


def formula(rows: Sequence[Row]) -> Verdict:
    """Holds if at the largest depth all variances, pooled over seeds, are within three standard errors of the formula.

    With a reservation where the largest depth and the one before it differ by more than three standard errors.
    """
    claim = "The variance over angles of a deep circuit is P_g(rho) P_g(O) / dim g."
    found = {(name, n): pooled(rows, name, n) for name, n in _cases(rows)}
    parts = [
        f"{name} {counted(n, 'qubit')} {one[-1].variance:.4f} +- {one[-1].error:.4f} ({one[-1].predicted:.4f})"
        for (name, n), one in found.items()
    ]
    evidence = f"at {counted(max(row['depth'] for row in rows), 'layer')}, predicted in brackets: {', '.join(parts)}"
    off = [f"{name} {n} by {one[-1].deviation:.1f}" for (name, n), one in found.items() if _off(one[-1])]
    if off:
        return Verdict(claim, PAPER, NOT_SEEN, f"{evidence}; off by more than 3 errors: {', '.join(off)}", "depth")
    moving = [f"{name} {n}" for (name, n), one in found.items() if len(one) > 1 and _apart(one[-1], one[-2])]
    doubts = [f"not converged with depth: {', '.join(moving)}"] if moving else []
    return concluded(claim, PAPER, evidence, doubts + single_seed(rows), "depth, draws, full")


def polynomial(rows: Sequence[Row]) -> Verdict:
    """Holds if the algebra's variance is 1 / (2n - 1) to 1e-9, and variance times that within three errors of 1.

    At the largest depth for all n, three of them at least.
    """
    claim = "With the small algebra of the chain the variance falls as 1 / (2n - 1): no barren plateau."
    return _falls(rows, CHAIN, claim, "--circuits chain and three numbers of qubits")


def exponential(rows: Sequence[Row]) -> Verdict:
    """The same with 1 / (2^n + 1) of the full circuit."""
    claim = "With all of su(2^n) it falls exponentially, as 1 / (2^n + 1)."
    return _falls(rows, FULL, claim, "--circuits full and three numbers of qubits")


def _falls(rows: Sequence[Row], circuit: str, claim: str, needed: str) -> Verdict:
    own = [row for row in rows if row["circuit"] == circuit]
    numbers = sorted({row["qubits"] for row in own})
    if len(numbers) < 3:
        return untested(claim, PAPER, needed)
    last = {n: pooled(rows, circuit, n)[-1] for n in numbers}
    forms = {row["qubits"]: row["closed_form"] for row in own}
    ratios = ", ".join(f"{last[n].variance / forms[n]:.3f} +- {last[n].error / forms[n]:.3f} at {n}" for n in numbers)
    evidence = f"variance over that, by qubits: {ratios}"
    exact = all(abs(row["predicted"] / row["closed_form"] - 1) < 1e-9 for row in own)
    if not exact or any(abs(last[n].variance - forms[n]) > AGREE * last[n].error for n in numbers):
        return Verdict(claim, PAPER, NOT_SEEN, evidence, "depth")
    assumed = sorted({row["qubits"] for row in own if not row["spanned"]})
    note = f"; the algebra is taken for all of su(2^n) at {', '.join(map(str, assumed))} qubits" if assumed else ""
    return concluded(claim, PAPER, evidence + note, single_seed(rows), "depth")


def deep(rows: Sequence[Row]) -> Verdict:
    """Holds if at the smallest depth every variance is more than three standard errors off the formula.

    The smallest depth from which on all agree is quoted. With a reservation for circuits without one; where none has
    one it is not tested.
    """
    claim, source = "The formula needs a deep circuit.", f"{PAPER}, its assumption of a 2-design over the group"
    found = {(name, n): pooled(rows, name, n) for name, n in _cases(rows)}
    if min(map(len, found.values())) < 2:
        return untested(claim, source, "two --depths")
    if not any(_settled(one) for one in found.values()):
        return untested(claim, source, "--depths at which the formula is met")
    parts = [f"{_settled(one) or 'none'} for {name} {counted(n, 'qubit')}" for (name, n), one in found.items()]
    evidence = f"layers from which on it is met to three errors: {', '.join(parts)}"
    if met := [f"{name} {n}" for (name, n), one in found.items() if not _off(one[0])]:
        first = next(iter(found.values()))[0].depth
        return Verdict(claim, source, NOT_SEEN, f"met at {first} for {', '.join(met)}; {evidence}", "depth")
    never = [f"{name} {n}" for (name, n), one in found.items() if not _settled(one)]
    doubts = [f"met at no depth for {', '.join(never)}"] if never else []
    return concluded(claim, source, evidence, doubts + single_seed(rows), "depth")


# --- pieces ----------------------------------------------------------------------------------------------------------


def _cases(rows: Sequence[Row]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row["circuit"], row["qubits"]) for row in rows))


def _off(one: Pooled) -> bool:
    return abs(one.deviation) > AGREE


def _apart(one: Pooled, other: Pooled) -> bool:
    return bool(abs(one.variance - other.variance) > AGREE * np.hypot(one.error, other.error))


def _settled(found: Sequence[Pooled]) -> int | None:
    """The smallest depth from which on all agree."""
    settled = None
    for one in reversed(found):
        if _off(one):
            break
        settled = one.depth
    return settled
