"""Cross-validated scores of the estimators on scikit-learn's built-in data, beside classical ones.

    python benchmarks/own_models.py RESULT.json [--folds 5] [--epochs 50]

Every estimator gets the same standardised features (by PCA where they are too many for qubits) and the same folds; none
is tuned. Prints a table and writes it as JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import sklearn
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from qjaxsim.learning import QuantumClassifier, QuantumRegressor

# Loader and number of features after PCA, None for all.
CLASSES: dict[str, tuple[Callable[..., Any], int | None]] = {
    "iris": (datasets.load_iris, None),
    "wine": (datasets.load_wine, 6),
    "breast cancer": (datasets.load_breast_cancer, 6),
    "digits": (datasets.load_digits, 8),
}
NUMBERS: dict[str, tuple[Callable[..., Any], int | None]] = {"diabetes": (datasets.load_diabetes, 6)}


def estimators(kind: str, epochs: int) -> dict[str, Any]:
    """What is compared, by name."""
    quantum = QuantumClassifier if kind == "accuracy" else QuantumRegressor
    own = {"epochs": epochs, "random_state": 0}
    classical = (
        {"majority": DummyClassifier(), "logistic regression": LogisticRegression(max_iter=1000), "SVM, RBF": SVC()}
        if kind == "accuracy"
        else {"mean": DummyRegressor(), "ridge regression": Ridge(), "SVM, RBF": SVR()}
    )
    return {
        **classical,
        "angle": quantum("angle", **own),
        "angle, 3 uploads": quantum("angle", reuploads=3, layers=1, **own),
        "zz": quantum("zz", scale_features=(0.0, 1.0), **own),
    }


def scores(kind: str, load: Callable[..., Any], n_features: int | None, folds: int, epochs: int) -> list[dict]:
    """A row for every estimator."""
    x, y = load(return_X_y=True)
    split = (StratifiedKFold if kind == "accuracy" else KFold)(folds, shuffle=True, random_state=0)
    before = [StandardScaler()] + ([] if n_features is None else [PCA(n_features, random_state=0)])
    rows = []
    for name, estimator in estimators(kind, epochs).items():
        start = time.perf_counter()
        found = cross_val_score(make_pipeline(*before, estimator), x, y, cv=split, error_score="raise")
        seconds = time.perf_counter() - start
        features = n_features or x.shape[1]
        rows.append({"estimator": name, "score": kind, "features": features, "samples": len(x), "seconds": seconds})
        rows[-1] |= {"mean": float(found.mean()), "folds": [float(value) for value in found]}
        print(f"  {name:20} {found.mean():.3f} +- {found.std():.3f}  {seconds:6.1f} s", flush=True)
        jax.clear_caches()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=50)
    given = parser.parse_args()
    rows = []
    for kind, sets in (("accuracy", CLASSES), ("R^2", NUMBERS)):
        for name, (load, n_features) in sets.items():
            print(name, flush=True)
            found = scores(kind, load, n_features, given.folds, given.epochs)
            rows += [{"data": name, **row} for row in found]
    versions = {module.__name__: module.__version__ for module in (jax, np, sklearn)}
    record = {
        "command": f"python benchmarks/own_models.py RESULT.json --folds {given.folds} --epochs {given.epochs}",
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "device": str(jax.devices()[0].platform),
        "versions": versions,
        "rows": rows,
    }
    given.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
