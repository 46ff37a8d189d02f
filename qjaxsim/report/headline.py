"""The numbers of a run that matter most, for the top of its page and for lists of runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qjaxsim.report.row import Row


class Headline(NamedTuple):
    """A column, and the least and the largest value of it in the rows of a table."""

    column: str
    least: float
    largest: float

    @property
    def range(self) -> str:
        """Both ends; one where they are written alike."""
        return " to ".join(dict.fromkeys(f"{value:.4g}" for value in (self.least, self.largest)))

    def __str__(self) -> str:
        return f"{self.column} {self.range}"


class Fact(NamedTuple):
    """What stands in large letters at the top of a page.

    Attributes:
        number: as it is written.
        meaning: what it is.
    """

    number: str
    meaning: str


def headline_column(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    """The first of some columns that has numbers in the rows."""
    return next((name for name in names if any(is_number(row.get(name)) for row in rows)), None)


def headline_of(names: Sequence[str], rows: Sequence[Row]) -> Headline | None:
    """The headline of rows; None where none of the columns has numbers.

    >>> print(headline_of(["lambda_max"], [{"lambda_max": 15.987}, {"lambda_max": 2.5}, {"lambda_max": None}]))
    lambda_max 2.5 to 15.99
    """
    if (column := headline_column(names, rows)) is None:
        return None
    values = [row[column] for row in rows if is_number(row.get(column))]
    return Headline(column, min(values), max(values))


def facts_of(headline: Headline | None, columns: Mapping[str, str]) -> list[Fact]:
    """A headline as a fact, with what its column means; none without a headline."""
    if headline is None:
        return []
    name, meaning = headline.column.replace("_", " "), columns.get(headline.column, "")
    return [Fact(headline.range, f"{name}: {meaning}" if meaning else name)]


def is_number(value: Any) -> bool:
    """Whether a value of a row is one, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
