"""Effective dimensions: how many directions of its parameter space a model resolves with so many samples."""

from typing import Any

import numpy as np

from qjaxsim.common.checks import as_number, is_traced, require_unmasked, shown
from qjaxsim.curvature.outliers import check_symmetric


def effective_dimension(fishers: Any, n_samples: Any, gamma: float = 1.0) -> Any:
    """The effective dimension of a model, from its Fisher matrices at draws of its parameters.

    With F_t the matrices, d = P their size, F^_t = d F_t / tr(mean of F_t) and kappa = gamma n / (2 pi ln n), it is
    2 ln(mean over t of sqrt(det(1 + kappa F^_t))) / ln kappa. Divided by d it is the normalised one, which tends to the
    share of the largest rank as n grows.

    Args:
        fishers: Fisher matrices at T draws, (T, P, P) real, as `classical_fisher` gives them.
        n_samples: number of data n, or several; kappa must exceed 1.
        gamma: constant in (0, 1].

    Returns:
        A number for one n, an array for several, float64.

    Raises:
        TypeError: for matrices that JAX traces.
        ValueError: for another shape, matrices of zeros or with negative eigenvalues beyond rounding, n for which kappa
            is not above 1, gamma out of range.

    Cost: T eigenvalue decompositions. Abbas et al. 2021, doi:10.1038/s43588-021-00084-1, eq. 1.

    >>> found = effective_dimension(np.eye(2)[None], 1000)  # 2 ln(1 + kappa) / ln kappa
    >>> kappa = 1000 / (2 * np.pi * np.log(1000))
    >>> round(float(found - 2 * np.log(1 + kappa) / np.log(kappa)), 12)
    0.0
    """
    given = _matrices("fishers", fishers, 3, "(T, P, P)")
    return _dimension("fishers", given, n_samples, gamma)


def local_effective_dimension(fisher: Any, n_samples: Any, gamma: float = 1.0) -> Any:
    """The effective dimension around one point, from the Fisher matrix there.

    Args:
        fisher: (P, P) real.
        n_samples: as in `effective_dimension`.
        gamma: as in `effective_dimension`.

    Returns:
        A number for one n, an array for several, float64.

    Raises:
        ValueError: as `effective_dimension`.

    Cost: one eigenvalue decomposition. Abbas et al. 2021, arXiv:2112.04807.

    >>> found = local_effective_dimension(np.diag([1.0, 0.0]), 1e6)  # ln(1 + 2 kappa) / ln kappa
    >>> kappa = 1e6 / (2 * np.pi * np.log(1e6))
    >>> round(float(found - np.log(1 + 2 * kappa) / np.log(kappa)), 12)
    0.0
    """
    given = _matrices("fisher", fisher, 2, "(P, P)")
    return _dimension("fisher", given[None], n_samples, gamma)


def _matrices(name: str, value: Any, axes: int, form: str) -> np.ndarray:
    if is_traced(value):
        raise TypeError(
            f"Argument `{name}` must be known, but is traced by JAX (in jit, grad or vmap); call this function outside."
        )
    require_unmasked(f"Argument `{name}`", value)
    given = np.asarray(value)
    square = given.ndim == axes and given.shape[-1] == given.shape[-2] and given.size > 0
    if not square or not np.issubdtype(given.dtype, np.floating) or not np.isfinite(given).all():
        raise ValueError(
            f"Argument `{name}` must hold real, finite matrices of shape {form}, but has shape {given.shape} and dtype "
            f"{given.dtype}."
        )
    check_symmetric(given.dtype, np.abs(given - given.swapaxes(-1, -2)).max(), np.abs(given).max(), of=name)
    if not given.any():
        raise ValueError(f"Argument `{name}` must hold a matrix that is not zero, but all are.")
    return given.astype(np.float64)


def _dimension(name: str, fishers: np.ndarray, n_samples: Any, gamma: Any) -> Any:
    size = fishers.shape[-1]
    values = np.linalg.eigvalsh(fishers)
    if values.min() < -1e-3 * values.max():
        raise ValueError(
            f"Argument `{name}` must hold positive semi-definite matrices, but has an eigenvalue of "
            f"{values.min():.3g} beside a largest one of {values.max():.3g}."
        )
    values *= size / np.trace(fishers.mean(axis=0))
    kappa = _kappa(n_samples, gamma)
    halves = np.log1p(np.multiply.outer(kappa, np.maximum(values, 0))).sum(axis=-1) / 2
    largest = halves.max(axis=-1, keepdims=True)  # before exponentials: determinants overflow
    means = largest[..., 0] + np.log(np.exp(halves - largest).mean(axis=-1))
    found = 2 * means / np.log(kappa)
    return float(found) if np.ndim(found) == 0 else found


def _kappa(n_samples: Any, gamma: Any) -> np.ndarray:
    factor = as_number(gamma, "Argument `gamma`", "give a number")
    if factor is None or factor.imag or not 0 < factor.real <= 1:
        raise ValueError(f"Argument `gamma` must be above 0 and at most 1, but is {shown(gamma)}.")
    try:
        count = np.asarray(n_samples, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Argument `n_samples` must be numbers, but is {shown(n_samples)}.") from error
    with np.errstate(all="ignore"):
        kappa = factor.real * count / (2 * np.pi * np.log(count))
    if not ((count > 1) & np.isfinite(kappa) & (kappa > 1)).all():
        raise ValueError(
            "Argument `n_samples` must be so large that gamma n / (2 pi ln n) is above 1 (from 19 on for gamma = 1), "
            f"but is {shown(n_samples)}."
        )
    return kappa
