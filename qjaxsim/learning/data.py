"""Samples, targets and weights as estimators are given them, checked."""

from datetime import date, timedelta
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from qjaxsim.common.checks import require_unmasked, shown

_REALS = (np.float64, np.float32)


def checked_data(estimator: Any, X: Any, y: Any = "no_validation", **options: Any) -> Any:  # noqa: N803
    """scikit-learn's check of samples, and of targets where they are given; it would read arrays through their masks.

    Raises:
        TypeError: for masked arrays.
        ValueError: for missing targets, and as `sklearn.utils.validation.validate_data`.
    """
    for name, given in (("X", X), ("y", y)):
        require_unmasked(f"Argument `{name}`", given)
    for target in () if y is None else _objects_in(y):
        # NaN alone differs from itself; pandas' mark of missing values takes part in no comparison.
        if target is None or type(target).__name__ == "NAType" or (isinstance(target, float) and target != target):
            raise ValueError(
                f"Argument `y` must hold a target for each sample, but holds {shown(target)}; leave out the samples "
                "without one."
            )
    return validate_data(estimator, X, y, dtype=_REALS, **options)


def samples_that_count(
    X: np.ndarray,  # noqa: N803
    y: np.ndarray,
    sample_weight: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Samples, targets and weights without those of weight 0, which are as if they were not there.

    Raises:
        TypeError: for masked arrays.
        ValueError: for anything but one finite number of 0 or more a sample, and for no sample that counts.
    """
    if sample_weight is None:
        return X, y, None
    require_unmasked("Argument `sample_weight`", sample_weight)
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (len(X),) or not (weights >= 0).all() or not weights.any():
        raise ValueError(
            f"Argument `sample_weight` must hold a number of 0 or more for each of {len(X)} samples, and not zero "
            f"for all of them, but is {shown(sample_weight)}."
        )
    counts = weights > 0
    return X[counts], y[counts], weights[counts]


def _objects_in(targets: Any) -> list[Any]:
    """Targets that are Python's own objects, strings among them, as they are before NumPy makes one type of them."""
    if isinstance(targets, list | tuple):
        return [each for each in targets if not isinstance(each, list | tuple | np.ndarray)]
    held = np.asarray(targets)
    return held.ravel().tolist() if held.dtype.kind in "OU" else []


def require_one_kind(labels: np.ndarray) -> None:
    """Refuse strings among others, which have no order."""
    held = labels.tolist() if labels.dtype.kind == "O" else []
    if len(kinds := {isinstance(label, str): label for label in held}) > 1:
        raise ValueError(
            f"Argument `y` must hold labels of one kind, but holds {shown(kinds[True])} and {shown(kinds[False])}; "
            "make strings of all, `[str(label) for label in y]`."
        )


def require_numbers(y: Any) -> None:
    """Refuse strings and times, which NumPy would make numbers of."""
    targets = np.asarray(y)
    held = targets.ravel()[:1] if targets.dtype.kind in "mM" else _objects_in(y)
    for target in held:
        if isinstance(target, str | date | timedelta | np.datetime64 | np.timedelta64):
            raise ValueError(
                f"Argument `y` must hold numbers, but holds {shown(target)}; classes are a classifier's, and times are "
                "to be counted in a unit."
            )
