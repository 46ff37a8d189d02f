"""What verdicts are made of: rows sorted into series, their trends, slopes and spreads, and the words to quote them."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from qjaxsim.report.row import Row, describe
from qjaxsim.report.verdict import HOLDS, NOT_SEEN, RESERVATION, Verdict
from qjaxsim.studies.shared.judging import settled


class Series(NamedTuple):
    """Values along one variable, all else equal.

    Attributes:
        label: what else is equal, "2 layers".
        along: the variable's column.
        points: (x, values of all seeds there), x ascending.
        logs: whether values are positive and compared by their logarithms; else as they are, zeros among them.
    """

    label: str
    along: str
    points: tuple[tuple[float, np.ndarray], ...]
    logs: bool = True

    @property
    def means(self) -> list[float]:
        """Mean over seeds at each x: the geometric one of logarithms."""
        return [self.mean(values) for _, values in self.points]

    @property
    def steps(self) -> list[tuple[float, float, float, float | None]]:
        """(x, next x, change of the mean, its spread over seeds) of neighbours; see `change` and `spread`."""
        pairs = zip(self.points, self.points[1:], strict=False)
        return [(x, y, self.change(a, b), self.spread(a, b)) for (x, a), (y, b) in pairs]

    @property
    def whole_change(self) -> float:
        """Change from the first to the last point."""
        return self.change(self.points[0][1], self.points[-1][1])

    def mean(self, values: np.ndarray) -> float:
        """Mean of values (n,)."""
        return geometric_mean(values) if self.logs else float(values.mean())

    def change(self, first: np.ndarray, second: np.ndarray) -> float:
        """Difference of the mean logarithms, or means."""
        return settled(self._compared(second).mean() - self._compared(first).mean())

    def spread(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Spread over seeds of that difference."""
        return spread(self._compared(first), self._compared(second))

    def _compared(self, values: np.ndarray) -> np.ndarray:
        return np.log(values) if self.logs else values


class Trend(NamedTuple):
    """Whether series go one way.

    Attributes:
        strict: every step of every series goes that way in the mean.
        doubts: why the seeds do not settle it, as clauses; empty if every step exceeds its spread.
    """

    strict: bool
    doubts: list[str]


class Slope(NamedTuple):
    """A power law fitted to a series.

    Attributes:
        label: the series'.
        value: slope of log(value) against log(x) through all seeds' points.
        error: its standard error from the scatter about the line; None for two points.
        local: slopes between neighbouring means.
    """

    label: str
    value: float
    error: float | None
    local: list[float]


class Kept(NamedTuple):
    """How much of the baseline's fall a control keeps.

    Attributes:
        label: the series'.
        slope: log-log slope in the control.
        baseline: that of the baseline over the same x.
    """

    label: str
    slope: float
    baseline: float

    @property
    def share(self) -> float:
        """Ratio of the slopes: 1 if the whole fall is kept, below 0 if it became a rise. Zero if there was no fall."""
        return self.slope / self.baseline if self.baseline < 0 else 0.0


def number(row: Row, name: str) -> float | None:
    """A finite number of a row, or None."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def numbers(rows: Iterable[Row], name: str) -> list[float]:
    """The finite numbers of a column."""
    return [value for row in rows if (value := number(row, name)) is not None]


def geometric_mean(values: np.ndarray) -> float:
    """Geometric mean of positive numbers (n,)."""
    return float(np.exp(np.log(values).mean()))


def spread(first: np.ndarray, second: np.ndarray) -> float | None:
    """Root of the summed variances over seeds; None where one side has a single seed."""
    if min(first.size, second.size) < 2:
        return None
    return settled(np.sqrt(first.var(ddof=1) + second.var(ddof=1)))


def series(
    rows: Iterable[Row],
    along: str,
    *,
    apart: Sequence[str] = ("layers",),
    value: str = "lambda_max",
    logs: bool = True,
) -> list[Series]:
    """Series of two points at least, one for each combination of the columns `apart`.

    With `logs` positive values alone count, else all, as accuracies do, which may be zero.
    """
    groups: dict[tuple[float | None, ...], dict[float, list[float]]] = {}
    for row in rows:
        x, y = number(row, along), number(row, value)
        if x is not None and y is not None and (y > 0 or not logs):
            key = tuple(number(row, name) for name in apart)
            groups.setdefault(key, {}).setdefault(x, []).append(y)
    return [
        Series(
            ", ".join(describe(name, _whole(v)) for name, v in zip(apart, key, strict=True) if v is not None),
            along,
            tuple((x, np.array(points[x])) for x in sorted(points)),
            logs,
        )
        for key, points in groups.items()
        if len(points) > 1
    ]


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def trend(several: Sequence[Series], sign: int) -> Trend:
    """Whether all series fall (sign -1) or grow (sign 1), and beyond the seeds' spread."""
    strict, single, within = True, 0, []
    for one in several:
        for x, y, change, over_seeds in one.steps:
            strict = strict and sign * change > 0
            if over_seeds is None:
                single += 1
            elif abs(change) <= over_seeds:
                place = f" at {one.label}" if one.label else ""
                within.append(f"within the seeds' spread from {x:g} to {y:g} {one.along}{place}")
    return Trend(strict, ([f"a single seed in {single} step{'' if single == 1 else 's'}"] if single else []) + within)


def ends_beyond(one: Series, sign: int) -> bool:
    """Whether the last point lies on that side of the first by more than the spread; a single seed has none."""
    first, last = one.points[0][1], one.points[-1][1]
    return sign * one.whole_change > (one.spread(first, last) or 0.0)


def fitted_slope(one: Series) -> Slope:
    """Least squares through the logarithms of all seeds' points."""
    x = np.log(np.concatenate([np.full(values.size, at) for at, values in one.points]))
    y = np.log(np.concatenate([values for _, values in one.points]))
    slope, offset = np.polyfit(x, y, 1)
    scatter = y - slope * x - offset
    error = float(np.sqrt((scatter @ scatter) / (x.size - 2) / ((x - x.mean()) ** 2).sum())) if x.size > 2 else None
    local = [change / math.log(end / start) for start, end, change, _ in one.steps]
    return Slope(one.label, float(slope), error, local)


def kept(control: Iterable[Row], baseline: Iterable[Row]) -> list[Kept]:
    """Slopes against patches in a control and in the baseline, at each depth, over the patches that both have."""
    theirs = {one.label: one for one in series(baseline, "patches")}
    found = []
    for one in series(control, "patches"):
        if one.label not in theirs:
            continue
        common = {x for x, _ in one.points} & {x for x, _ in theirs[one.label].points}
        if len(common) > 1:
            slopes = [fitted_slope(_limited(each, common)).value for each in (one, theirs[one.label])]
            found.append(Kept(one.label, *slopes))
    return found


def _limited(one: Series, common: set[float]) -> Series:
    return one._replace(points=tuple(point for point in one.points if point[0] in common))


# --- words -----------------------------------------------------------------------------------------------------------


def quote(several: Sequence[Series], what: str = "lambda_max") -> str:
    """Means, and which, with the range over seeds and the number of seeds, of every series."""
    parts = []
    for one in several:
        listed = ", ".join(f"{x:g}: {_mean_and_range(values, one.mean(values))}" for x, values in one.points)
        counts = [values.size for _, values in one.points]
        place = f" at {one.label}" if one.label else ""
        means = f"{'geometric ' if one.logs else ''}means over " if max(counts) > 1 else ""
        parts.append(f"{what} by {one.along}{place}: {listed}; {means}{seeds_in_words(min(counts), max(counts))}")
    return ". ".join(parts)


def quote_slope(slope: Slope) -> str:
    """One fit in words."""
    error = "" if slope.error is None else f" ± {slope.error:.2f}"
    local = ", ".join(f"{value:.2f}" for value in slope.local)
    place = f" at {slope.label}" if slope.label else ""
    return f"log-log slope{place} {slope.value:.2f}{error} (between neighbours {local})"


def quote_kept(found: Sequence[Kept]) -> str:
    """Slopes beside the baseline's."""
    return "; ".join(
        f"log-log slope {one.slope:.2f} against {one.baseline:.2f} in the baseline"
        + (f" at {one.label}" if one.label else "")
        for one in found
    )


def quote_values(values: Sequence[float]) -> str:
    """Arithmetic mean with range."""
    return _mean_and_range(np.asarray(values), float(np.mean(values)))


def _mean_and_range(values: np.ndarray, mean: float) -> str:
    return f"{mean:.4g}" + (f" ({values.min():.4g}–{values.max():.4g})" if values.size > 1 else "")


def seeds_in_words(least: int, most: int) -> str:
    """Number of seeds of each point."""
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"{count} seed{'' if most == 1 else 's'}"


def seeds_of(rows: Iterable[Row]) -> str:
    """Number of distinct seeds of a table."""
    count = len({row.get("seed") for row in rows})
    return seeds_in_words(count, count)


def controls_of(rows: Iterable[Row]) -> str:
    """Names of the controls that rows come from."""
    return ", ".join(dict.fromkeys(str(row.get("control") or "baseline") for row in rows)) or "none"


def judged(claim: str, source: str, doubts: Sequence[str], evidence: str, used: Iterable[Row]) -> Verdict:
    """The claim holds, with a reservation where there are doubts; `evidence` comes without its full stop."""
    reservation = f" Reservation: {'; '.join(doubts)}." if doubts else ""
    return Verdict(claim, source, RESERVATION if doubts else HOLDS, f"{evidence}.{reservation}", controls_of(used))


def not_seen(claim: str, source: str, evidence: str, used: Iterable[Row]) -> Verdict:
    """The claim was tested and is not seen; `evidence` comes without its full stop."""
    return Verdict(claim, source, NOT_SEEN, f"{evidence}.", controls_of(used))
