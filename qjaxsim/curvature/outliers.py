"""Counting in a known spectrum: outliers under stated rules, near-zero eigenvalues, exact nulls, rank.

An outlier has no unique definition (Papyan 2019, arXiv:1901.08244, calls bulk what looks continuous in a
histogram), so every rule here is stated in full and several are offered side by side.
"""

from typing import Any, NamedTuple

import numpy as np

from qjaxsim.common.checks import integer_from, require_unmasked, shown


class Outliers(NamedTuple):
    """Outliers counted under one rule.

    Attributes:
        rule: the rule's name.
        number: number of outliers; 0 where the rule finds none.
        ratio: lambda_m / lambda_{m+1} at the m that the rule looked at; NaN where they are not above the floor.
        separates: whether that ratio is a separating gap, as `count_outliers` defines it.

    >>> count_outliers([16.0, 8.0, 1.0, 0.5, 0.25, 0.125], n_classes=2, rule="k-1")  # 8 comes after 2
    Outliers(rule='k-1', number=0, ratio=2.0, separates=False)
    """

    rule: str
    number: int
    ratio: float
    separates: bool


def count_outliers(
    eigenvalues: Any,
    n_classes: int,
    rule: str = "gap",
    *,
    noise: float = 1e-6,
    min_ratio: float = 1.5,
    edge_quantile: float = 0.9,
    edge_factor: float = 10.0,
    above: int | None = None,
) -> Outliers:
    """Number of positive outliers of a spectrum under one stated rule.

    Let lambda_1 >= lambda_2 >= ... be the eigenvalues above the floor noise * max|lambda|, K = n_classes, and
    r_m = lambda_m / lambda_{m+1} for m up to M = K^2 + 5, but no further than half of the eigenvalues above the
    floor: outliers are fewer than the bulk they stand out from, and the ragged lower end of a spectrum is no gap.
    A *separating gap* is an m with r_m >= min_ratio and r_m >= r_j for all j in m < j <= M: below it the
    spectrum has no larger jump, while above it the outliers may be spread as they like.

    - "gap": m = the position of the largest r_m, the first if several; the count is m if r_m >= min_ratio.
    - "k-1", "k", "k2": m = K - 1, K, K^2; the count is m if m is a separating gap, else 0.
    - "edge": the count is the number of eigenvalues above edge_factor times the edge_quantile quantile of
      all |lambda|; `ratio` and `separates` are those at m = count. Meaningful where outliers are rarer than
      1 - edge_quantile.

    Args:
        eigenvalues: shape (n,), any order: all of them, or with `above` the leading ones (at least K^2 + 6, except
            for "edge", which needs all).
        n_classes: number of classes K, at least 2.
        rule: "gap", "k-1", "k", "k2" or "edge".
        noise: floor relative to the largest magnitude, in (0, 1), as rounding is: 1e-6 suits a Hessian in float32.
        min_ratio: smallest ratio that can separate.
        edge_quantile: as above.
        edge_factor: as above.
        above: how many eigenvalues lie above the floor, roughly, where only some of them are given. Default: as many as
            of those given.

    Returns:
        Outliers.

    Raises:
        ValueError: if eigenvalues is not a finite vector of at least one number, or n_classes, rule, noise or above
            is out of range.

    >>> found = count_outliers([16.0, 8.0, 1.0, 0.5, 0.25, 0.125], n_classes=2)
    >>> found.number, found.ratio
    (2, 8.0)
    """
    values = _descending(eigenvalues)
    ratios = _ratios(values, noise)
    classes = integer_from(2, "n_classes", n_classes)
    every = above is None or ratios.size + 1 < values.size
    bulk = ratios.size + 1 if every else integer_from(0, "above", above)
    searched = ratios[: min(classes**2 + 5, bulk // 2)]
    positions = {"k-1": classes - 1, "k": classes, "k2": classes**2}
    if rule == "gap":
        m = int(np.argmax(searched)) + 1 if searched.size else 0
    elif rule in positions:
        m = positions[rule]
    elif rule == "edge":
        m = int(np.count_nonzero(values > edge_factor * np.quantile(np.abs(values), edge_quantile)))
    else:
        raise ValueError(f"Argument `rule` must be one of gap, k-1, k, k2, edge, but it is {rule!r}.")
    if not 1 <= m <= ratios.size:
        return Outliers(rule, m if rule == "edge" else 0, float("nan"), False)
    ratio = float(ratios[m - 1])
    separates = m <= searched.size and ratio >= min_ratio and bool((ratio >= searched[m:]).all())
    return Outliers(rule, m if separates or rule == "edge" else 0, ratio, separates)


def gap_ratios(eigenvalues: Any, n_classes: int, *, noise: float = 1e-6) -> dict[str, float]:
    """Ratios lambda_m / lambda_{m+1} at m = K - 1, K and K^2, by name: a row for a table.

    Args:
        eigenvalues: shape (n,), any order.
        n_classes: number of classes K, at least 2.
        noise: floor relative to the largest magnitude, as in `count_outliers`.

    Returns:
        {"k-1": ..., "k": ..., "k2": ...}; NaN where there are not m + 1 eigenvalues above the floor.

    Raises:
        ValueError: as `count_outliers`.

    >>> gap_ratios([16.0, 8.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125], n_classes=2)
    {'k-1': 2.0, 'k': 8.0, 'k2': 2.0}
    """
    return {rule: count_outliers(eigenvalues, n_classes, rule, noise=noise).ratio for rule in ("k-1", "k", "k2")}


def near_zero_fraction(eigenvalues: Any, rtol: float = 1e-6) -> float:
    """Fraction of eigenvalues with |lambda| <= rtol * max|lambda|; 1.0 for a spectrum of zeros.

    Args:
        eigenvalues: shape (n,), all of them.
        rtol: threshold relative to the largest magnitude; state it beside the number.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if eigenvalues is not a finite vector of at least one number.

    >>> near_zero_fraction([2.0, 1e-9, 0.0, -1.0])
    0.5
    """
    size = np.abs(_descending(eigenvalues))
    return float(np.mean(size <= rtol * size.max()))


def exact_zeros(matrix: Any, rtol: float | None = None) -> int:
    """Number of rows that vanish up to rounding: parameters on which the function does not depend, or linearly.

    A row counts if its largest magnitude is at most rtol times that of the matrix. In a Hessian such a
    parameter is null by itself; null *combinations* of parameters show in `numerical_rank` alone.

    Args:
        matrix: real, shape (P, P).
        rtol: default P * eps of the matrix's dtype, since the terms of a null row cancel only up to rounding.

    Returns:
        Number of rows, P for a zero matrix.

    Raises:
        TypeError: if the matrix is not of a real float dtype.
        ValueError: if it is not square.

    >>> exact_zeros(np.diag([2.0, 1.0, 0.0])), exact_zeros(np.ones((3, 3)))  # the latter has rank 1 all the same
    (1, 0)
    """
    require_array(matrix)
    given = np.asarray(matrix)
    check_square(given)
    if rtol is None:
        rtol = given.shape[0] * float(np.finfo(given.dtype).eps)
    rows = np.abs(given).max(axis=1)
    return int(np.count_nonzero(rows <= rtol * rows.max()))


def numerical_rank(eigenvalues: Any, rtol: float | None = None) -> int:
    """Number of eigenvalues with |lambda| > rtol * max|lambda|; 0 for a spectrum of zeros.

    Args:
        eigenvalues: shape (n,), all of them.
        rtol: default n * eps of the eigenvalues' dtype (the rule of `numpy.linalg.matrix_rank`). For a
            matrix computed in float32 pass n * 1.2e-7, whatever dtype its eigenvalues have.

    Returns:
        The rank under that tolerance.

    Raises:
        ValueError: if eigenvalues is not a finite vector of at least one number.

    >>> numerical_rank([3.0, 1.0, 1e-17, 0.0])
    2
    """
    values = _descending(eigenvalues)
    if rtol is None:
        rtol = values.size * float(np.finfo(values.dtype).eps)
    size = np.abs(values)
    return int(np.count_nonzero(size > rtol * size.max()))


def require_array(matrix: Any) -> None:
    """Raise a TypeError for an operator, a sparse or a masked matrix, naming what makes an array of it."""
    require_unmasked("Argument `matrix`", matrix)
    for way_out in ("dense", "toarray"):
        if hasattr(matrix, way_out):
            raise TypeError(
                f"Argument `matrix` must be an array, but is a {type(matrix).__name__}; give its `.{way_out}()`."
            )


def check_square(matrix: Any) -> None:
    """Raise unless matrix is a real float matrix of shape (P, P) with P at least 1."""
    if not np.issubdtype(matrix.dtype, np.floating):
        raise TypeError(f"Argument `matrix` must be of a real float dtype, but it is {matrix.dtype}.")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"Argument `matrix` must have shape (P, P), but it has shape {matrix.shape}.")


def check_symmetric(dtype: Any, skew: Any, largest: Any, *, of: str | None = None) -> None:
    """Raise unless entries mirrored at the diagonal differ by rounding only: by sqrt(eps) of the largest entry.

    Args:
        dtype: of the entries.
        skew: the largest difference.
        largest: the largest magnitude.
        of: the argument that holds several matrices; None for the one called `matrix`.
    """
    if skew > np.sqrt(np.finfo(dtype).eps) * largest:
        what, them = (
            ("`matrix` must be symmetric", "it") if of is None else (f"`{of}` must hold symmetric matrices", "them")
        )
        raise ValueError(
            f"Argument {what}, but entries mirrored at the diagonal differ by {skew:.3g}; symmetrise {them} if that is "
            "rounding."
        )


def _descending(eigenvalues: Any) -> np.ndarray:
    require_unmasked("Argument `eigenvalues`", eigenvalues)
    values = np.asarray(eigenvalues)
    if values.dtype.kind not in "iufV":  # "V" are JAX's narrow floats
        raise TypeError(
            "Argument `eigenvalues` must hold real numbers, as `numpy.linalg.eigvalsh` gives of a symmetric matrix, "
            f"but is {shown(eigenvalues)}."
        )
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            "Argument `eigenvalues` must be a vector of at least one finite number, "
            f"but it has shape {values.shape} with {np.count_nonzero(~np.isfinite(values))} not finite."
        )
    return np.sort(values)[::-1]


def _ratios(descending: np.ndarray, noise: float) -> np.ndarray:
    """r_1, r_2, ... of `count_outliers`, of all eigenvalues above the floor."""
    if not 0 < noise < 1:
        raise ValueError(f"Argument `noise` must be between 0 and 1, but it is {noise}.")
    above = descending[descending > noise * np.abs(descending).max()]
    ratios: np.ndarray = above[:-1] / above[1:]
    return ratios
