"""Rows and arrays of trained cells as the study `hessian` has them, made up for figures and pages."""

import numpy as np

PUBLISHED = [{"patches": p, "layers": n, "lambda_max": 60.0 / p + n / 50} for p in (4, 9, 16) for n in (50, 100)]


def cell(patches=4, layers=2, seed=0, n_classes=4, size=60, dense=True, **columns):
    """A row and arrays with n_classes - 1 outliers, a bulk, some negative values and exact zeros."""
    rng = np.random.default_rng([patches, layers, seed])
    outliers = np.geomspace(40, 6, n_classes - 1) / patches
    bulk = np.exp(rng.uniform(-12, -2, size - n_classes - 9))
    eigenvalues = np.sort(np.concatenate([outliers, bulk, -np.exp(rng.uniform(-12, -5, 5)), np.zeros(5)]))
    axis = np.linspace(-3, 3, 7)
    losses = 3 * np.exp(-np.arange(9) / 4)
    arrays = {
        "landscape_a": axis,
        "landscape_b": axis[1:],
        "landscape": 0.1 + axis[1:, None] ** 2 + axis**2,
        "trajectory": np.column_stack([np.linspace(-2.5, 0, 9), np.linspace(1, 0, 9) ** 2]),
        "explained_variance": np.array([0.875, 0.085]),
        "minimum": np.array(7),
        "history_train_loss": losses,
        "history_test_loss": losses + 0.1,
    }
    if dense:
        arrays |= {"eigenvalues": eigenvalues, "gn_eigenvalues": np.sort(np.abs(eigenvalues))}
    else:
        grid = np.linspace(-1, 12, 400)
        arrays |= {"lanczos_values": outliers[::-1], "density_grid": grid, "density": np.exp(-(grid**2))}
    row = {
        "cell": f"p{patches}-l{layers}-s{seed}",
        "patches": patches,
        "layers": layers,
        "seed": seed,
        "parameters": size,
        "train_loss": float(losses[7]),
        "lambda_max": float(eigenvalues[-1]),
        "outliers_gap": n_classes - 1,
        "n_classes": n_classes,
    }
    return row | columns, arrays


def grid(patches, layers, seeds, **options):
    """Rows and arrays of all combinations."""
    cells = [cell(p, n, s, **options) for p in patches for n in layers for s in seeds]
    return [row for row, _ in cells], [arrays for _, arrays in cells]
