"""What verdicts on gradient variances share: the rule of a trend, rows by their place, rates of decay."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from qjaxsim.report.row import Row
from qjaxsim.report.verdict import NOT_TESTED, Verdict
from qjaxsim.studies.gradient_variance.cells import BASELINE
from qjaxsim.studies.shared.trends import Series, ends_beyond, judged, not_seen, number, quote, series, trend

SWEEP = ("qubits", "layers", "batch")
ACCURACY = "accuracy_test"
_WORDS = {"grad_var": "variance", ACCURACY: "test accuracy"}


# --- rates -----------------------------------------------------------------------------------------------------------


class Decay(NamedTuple):
    """An exponential fitted to variances over initialisations.

    Attributes:
        rate: of ln(variance) for one qubit or layer more.
        error: its standard error; the larger of what the points' own errors and their scatter about the line give.
    """

    rate: float
    error: float

    @property
    def words(self) -> str:
        """The factor for one more."""
        return f"{math.exp(self.rate):.2f} ± {math.exp(self.rate) * self.error:.2f}"


def decay(
    rows: Iterable[Row], along: str, initial: str, observable: str, at: float, value: str = "init_var_seen"
) -> Decay:
    """The rate of ln(value) along qubits or layers at a number of the other, by weighted least squares.

    Args:
        rows: of the control `initialisations`.
        along: "qubits" or "layers".
        initial: range of the weights.
        observable: "local" or "global".
        at: the other of qubits and layers.
        value: a variance; its error is in the column with "_error" behind.
    """
    other = "layers" if along == "qubits" else "qubits"
    points = sorted(
        (row[along], row[value], row[f"{value}_error"])
        for row in rows
        if row["initial"] == initial and row["observable"] == observable and row[other] == at and row[value] > 0
    )
    x, y, error = (np.array(column, float) for column in zip(*points, strict=True))
    weight = (y / np.maximum(error, 1e-6 * y)) ** 2  # inverse variances of ln y
    mean = np.average(x, weights=weight)
    spread_x = float((weight * (x - mean) ** 2).sum())
    rate = float((weight * (x - mean) * np.log(y)).sum() / spread_x)
    left = np.log(y) - np.average(np.log(y), weights=weight) - rate * (x - mean)
    scatter = float((weight * left**2).sum() / max(len(x) - 2, 1))
    return Decay(rate, math.sqrt(max(scatter, 1.0) / spread_x))


# --- what claims share -----------------------------------------------------------------------------------------------


def sweep_claim(
    rows: Sequence[Row], along: str, sign: int, claim: str, source: str, option: str, value: str = "grad_var"
) -> Verdict:
    """The rule of a trend on one sweep of the baseline; accuracies count in the last epoch alone."""
    base = baseline(rows)
    accuracy = value == ACCURACY
    own, apart = last_epoch(base) if accuracy else base, (*(name for name in SWEEP if name != along), "epoch")
    found = series(own, along, apart=apart, value=value, logs=not accuracy)
    if not found:
        return Verdict(claim, source, NOT_TESTED, f"Would be tested by {option}.", "none")
    return trend_verdict(claim, source, found, sign, quoted(found, value), base)


def trend_verdict(
    claim: str, source: str, found: Sequence[Series], sign: int, evidence: str, used: Sequence[Row]
) -> Verdict:
    """The rule of a trend, as `claims` states it, on series that should fall (sign -1) or grow (1)."""
    goes = trend(found, sign)
    if goes.strict and not goes.doubts:
        return judged(claim, source, [], evidence, used)
    single = any(values.size < 2 for one in found for _, values in one.points)
    ends = sum(ends_beyond(one, sign) for one in found)
    if 2 * ends <= len(found):
        return not_seen(claim, source, evidence, used)
    against = sum(sign * change <= 0 for one in found for _, _, change, _ in one.steps)
    within = sum(s is not None and abs(c) <= s and sign * c > 0 for one in found for _, _, c, s in one.steps)
    total = sum(len(one.steps) for one in found)
    doubts = [f"from end to end in {ends} of {len(found)} series only"] if ends < len(found) else []
    doubts += [f"{against} of {total} steps go the other way"] if against else []
    doubts += [f"{within} of {total} steps are within the seeds' spread"] if within else []
    return judged(claim, source, doubts + (["a single seed at some point"] if single else []), evidence, used)


def quoted(found: Sequence[Series], value: str = "grad_var") -> str:
    """First and last series in numbers; those between are in the tables."""
    return quote(found if len(found) == 1 else [found[0], found[-1]], _WORDS[value])


def with_signal(found: Verdict, rows: Sequence[Row], along: str) -> Verdict:
    """The verdict with what the variances do once the size of the derivative in <Z> is divided out."""
    apart = (*(name for name in SWEEP if name != along), "epoch")
    several = series(baseline(rows), along, apart=apart, value="grad_var_per_signal")
    if not several:
        return found
    more = ", ".join(f"{math.exp(one.whole_change):.3g}" for one in (several[0], several[-1]))
    text = (
        f" Divided by the mean square of the derivative in <Z>, most over fewest {along}: {more} (first, last epoch)."
    )
    return found._replace(evidence=found.evidence + text)


def baseline(rows: Iterable[Row]) -> list[Row]:
    """Rows of the published sweeps."""
    return [row for row in rows if row.get("control") == BASELINE]


def last_epoch(rows: Iterable[Row]) -> list[Row]:
    """Rows of the last epoch."""
    kept = [row for row in rows if number(row, "accuracy_test") is not None]
    last = max((row["epoch"] for row in kept), default=0)
    return [row for row in kept if row["epoch"] == last]


def one_sweep(rows: Sequence[Row], along: str) -> list[Row]:
    """Rows of the sweep along one size: those that share the other two with most of its values."""
    groups: dict[tuple[float | None, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(number(row, name) for name in SWEEP if name != along), []).append(row)
    return max(groups.values(), key=lambda own: len({row[along] for row in own}), default=[])


def matching(base: Iterable[Row], own: Sequence[Row]) -> list[Row]:
    """Baseline rows of the sizes that a control has."""
    sizes = {tuple(row[name] for name in SWEEP) for row in own}
    return [row for row in base if tuple(row[name] for name in SWEEP) in sizes]


def direction(rows: Sequence[Row], along: str, value: str) -> int | None:
    """The sign of the change of the mean from the fewest to the most, all else at the series' centre; None without."""
    apart = tuple(name for name in SWEEP if name != along)
    found = series(rows, along, apart=apart, value=value, logs=value != ACCURACY)
    if not found:
        return None
    first, *_, last = max(found, key=lambda one: len(one.points)).means
    return 0 if math.isclose(first, last, rel_tol=1e-9) else int(math.copysign(1, last - first))


def mean_variance(rows: Iterable[Row]) -> float:
    """Arithmetic mean of the variances."""
    return float(np.mean([row["grad_var"] for row in rows]))


def trained_depth(rows: Sequence[Row], depths: Sequence[float]) -> float:
    """The depth of random circuits closest to the one that qubits were swept at."""
    own = one_sweep(baseline(rows), "qubits")
    wanted = own[0]["layers"] if own else depths[0]
    return min(depths, key=lambda depth: abs(depth - wanted))


def within_words(over_seeds: float | None) -> str:
    """Why a change in the mean settles nothing."""
    return "a single seed" if over_seeds is None else "within the spread over seeds"
