"""Claims on the transition from G to R, each judged by a stated rule from the rows of `gauss-newton-transition`."""

from collections.abc import Callable, Sequence

import numpy as np

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_SEEN, Verdict
from qjaxsim.studies.gauss_newton_transition.cell import EXPONENTIAL, NEGLIGIBLE, POWER
from qjaxsim.studies.gauss_newton_transition.settings import TransitionSettings
from qjaxsim.studies.shared.judging import concluded, over_seeds, single_seed, untested

PAPER = "arXiv:2311.18144"
# How far an exponent may be from the claimed one.
CLOSE = 0.1
# What a rule says of some rows: nothing where it is met, else what is amiss.
Rule = Callable[[Sequence[Row]], str]


def transition_verdicts(settings: TransitionSettings, rows: Sequence[Row]) -> list[Verdict]:
    """One verdict a claim; each function states its rule.

    Each is judged by the rows of the first number of angles and the first rate. It holds with a reservation if it fails
    with another rate, or with another number of angles that is not below 2 (2^n - 1), the dimension of the states of n
    qubits; what fewer angles do is quoted.
    """
    return [carries(settings, rows), converges(settings, rows), linear(settings, rows), counted(settings, rows)]


def carries(settings: TransitionSettings, rows: Sequence[Row]) -> Verdict:
    """Holds if for every seed R is below 1e-6 of G at targets above O_min, and G below 1e-6 of R at those below it."""
    claim = "At the end H is its Gauss-Newton part above the transition, and its residual part below it."
    own = _main(settings, rows)
    if not _above(own) or not _below(own):
        return untested(claim, PAPER, "--targets on both sides of 0")
    shares = [[row["residual_share"] for row in side] for side in (_above(own), _below(own))]
    evidence = f"R has up to {max(shares[0]):.1e} of the norm above, G up to {1 - min(shares[1]):.1e} below"

    def amiss(part: Sequence[Row]) -> str:
        wrong = [row["residual_share"] > NEGLIGIBLE for row in _above(part)]
        wrong += [1 - row["residual_share"] > NEGLIGIBLE for row in _below(part)]
        return f"the other part is left at {sum(wrong)} of {len(wrong)} targets" if any(wrong) else ""

    return _judged(settings, rows, claim, evidence, amiss)


def converges(settings: TransitionSettings, rows: Sequence[Row]) -> Verdict:
    """Holds if for every seed an exponential fits the error better at all targets but 0, and 1/t to 10 % there."""
    claim = "Errors fall exponentially on both sides of the transition, and as 1/t at it."
    own = _main(settings, rows)
    if not _at(own) or not _above(own) or not _below(own):
        return untested(claim, PAPER, "--targets with 0 and both sides of it")
    exponents = [row["exponent"] for row in _at(own) if row["exponent"] is not None]
    evidence = f"power {over_seeds(exponents)} at the transition" if exponents else "no fit at the transition"
    sides = [[row["rate"] for row in side if row["rate"] is not None] for side in (_above(own), _below(own))]
    if all(sides):
        evidence += f"; rates of {min(sides[0]):.2g} to {max(sides[0]):.2g} a step above and "
        evidence += f"{min(sides[1]):.2g} to {max(sides[1]):.2g} below"

    def amiss(part: Sequence[Row]) -> str:
        wrong = [row["decay"] != EXPONENTIAL for row in (*_above(part), *_below(part))]
        wrong += [row["decay"] != POWER or abs(row["exponent"] + 1) > CLOSE for row in _at(part)]
        return f"not at {sum(wrong)} of {len(wrong)} targets" if any(wrong) else ""

    return _judged(settings, rows, claim, evidence, amiss)


def linear(settings: TransitionSettings, rows: Sequence[Row]) -> Verdict:
    """Holds if the gap, the smallest nonzero eigenvalue of H, has a log-log slope of 1 to 10 % in the target's size.

    On each side, between the two targets nearest to the transition, for every seed.
    """
    claim = "The gap of the Hessian vanishes linearly at the transition, from both sides."
    own = _main(settings, rows)
    found = [_slopes(side) for side in (_above(own), _below(own))]
    if not all(found):
        return untested(claim, PAPER, "--targets with two on each side of 0")
    evidence = f"log-log slope {over_seeds(found[0])} above and {over_seeds(found[1])} below"

    def amiss(part: Sequence[Row]) -> str:
        slopes = [*_slopes(_above(part)), *_slopes(_below(part))]
        return f"slopes of {min(slopes):.2f} to {max(slopes):.2f}" if _far(slopes, 1) else ""

    return _judged(settings, rows, claim, evidence, amiss)


def counted(settings: TransitionSettings, rows: Sequence[Row]) -> Verdict:
    """Holds if for every seed G has one eigenvalue at targets above O_min, and R has 2 (2^n - 1) at those below it."""
    claim = "H has one nonzero eigenvalue above the transition, and 2 (2^n - 1) below it."
    own, wanted = _main(settings, rows), _directions(settings)
    if not _above(own) or not _below(own):
        return untested(claim, PAPER, "--targets on both sides of 0")
    ranks = [
        sorted({row[name] for row in side})
        for side, name in ((_above(own), "gauss_newton_rank"), (_below(own), "residual_rank"))
    ]
    evidence = f"{_listed(ranks[0])} above and {_listed(ranks[1])} below, where {wanted} are expected"

    def amiss(part: Sequence[Row]) -> str:
        wrong = [row["gauss_newton_rank"] != 1 for row in _above(part)]
        wrong += [row["residual_rank"] != wanted for row in _below(part)]
        if not any(wrong):
            return ""
        return f"{_listed(sorted({row['residual_rank'] for row in _below(part)}))} below"

    return _judged(settings, rows, claim, evidence, amiss)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _judged(settings: TransitionSettings, rows: Sequence[Row], claim: str, evidence: str, amiss: Rule) -> Verdict:
    """The verdict of a rule on the study's own rows, and on the controls'."""
    if wrong := amiss(_main(settings, rows)):
        return Verdict(claim, PAPER, NOT_SEEN, f"{wrong}; {evidence}", "seeds")
    doubts = single_seed(rows)
    for angles, rate in controls(settings):
        part = _of(rows, angles, rate)
        wrong = amiss(part)
        words = f"with {angles} angles" if rate == settings.learning_rates[0] else f"at a rate of {rate:g}"
        if not wrong:
            evidence += f"; so it is {words}"
        elif angles < _directions(settings):
            evidence += f"; {words}, too few for all states, {wrong}"
        else:
            doubts.append(f"{words} {wrong}")
    return concluded(claim, PAPER, evidence, doubts, "seeds, angles, rates")


def controls(settings: TransitionSettings) -> list[tuple[int, float]]:
    """Other numbers of angles at the study's rate, then other rates with its angles."""
    angles, rate = settings.angles[0], settings.learning_rates[0]
    return [(other, rate) for other in settings.angles[1:]] + [(angles, other) for other in settings.learning_rates[1:]]


def _directions(settings: TransitionSettings) -> int:
    """Real dimension of the pure states, a global phase left out."""
    return int(2 * (2**settings.qubits - 1))


def _main(settings: TransitionSettings, rows: Sequence[Row]) -> list[Row]:
    return _of(rows, settings.angles[0], settings.learning_rates[0])


def _of(rows: Sequence[Row], angles: int, rate: float) -> list[Row]:
    return [row for row in rows if row["angles"] == angles and row["learning_rate"] == rate]


def _above(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["target"] > 0]


def _at(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["target"] == 0]


def _below(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["target"] < 0]


def _slopes(side: Sequence[Row]) -> list[float]:
    """Log-log slopes of the gap against the size of the target, between the two nearest, for each seed that has two."""
    found = []
    for seed in dict.fromkeys(row["seed"] for row in side):
        own = sorted((abs(row["target"]), row["slowest"]) for row in side if row["seed"] == seed)[:2]
        if len(own) > 1:
            sizes, gaps = np.log(np.array(own)).T
            found.append(float(np.polyfit(sizes, gaps, 1)[0]))
    return found


def _far(values: Sequence[float], wanted: float) -> bool:
    return any(abs(value - wanted) > CLOSE for value in values)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
