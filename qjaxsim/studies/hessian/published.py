"""Published numbers of the patches study beside ours, each with what makes the two settings differ."""

from typing import Any

from qjaxsim_data import load

from qjaxsim.common.words import counted
from qjaxsim.studies.hessian.cells import BASELINE
from qjaxsim.studies.hessian.settings import HessianSettings, paper_learning_rate
from qjaxsim.studies.shared.comparison import compared

_QUANTITIES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "lambda_max")


def published_lambda_max() -> list[dict[str, Any]]:
    """Rows with patches, layers and lambda_max as published (arXiv:2504.19239)."""
    return list(load("patches_hessian")["lambda_max"])


def comparison_rows(settings: HessianSettings, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our baseline's rows beside the published ones of as many patches.

    Where the depth was not published the shallowest published one stands in, and is named as a difference.

    Returns:
        Rows with quantity, ours, published, difference (ours - published, None unless comparable) and comparable (true,
        or a string saying why not).
    """
    paper = load("patches_hessian")
    table = {(row["patches"], row["layers"]): dict(row) for row in paper["minima"]}
    for row in paper["lambda_max"]:
        table[row["patches"], row["layers"]]["lambda_max"] = row["lambda_max"]
    out = []
    for row in rows:
        if row["control"] != BASELINE:
            continue
        depths = sorted(layers for patches, layers in table if patches == row["patches"])
        if not depths:
            continue
        layers = row["layers"] if row["layers"] in depths else depths[0]
        theirs = table[row["patches"], layers]
        in_training = _training_differences(settings, row, layers, paper)
        place = f"{counted(row['patches'], 'patch', 'patches')} x {counted(row['layers'], 'layer')}, seed {row['seed']}"
        for name in _QUANTITIES:
            if name == "lambda_max":
                out.append(_sharpness(row, place, theirs[name], [*in_training, *_hessian_differences(row, paper)]))
            else:
                out.append(compared(f"{name}, {place}", row[name], theirs[name], "; ".join(in_training)))
    return out


def _sharpness(row: dict[str, Any], place: str, published: float, reasons: list[str]) -> dict[str, Any]:
    """By power iteration, as published; where that ends at the most negative eigenvalue, by Lanczos."""
    power = row["lambda_max_power"]
    if power > 0:
        return compared(f"lambda_max by power iteration, {place}", power, published, "; ".join(reasons))
    reasons = [*reasons, f"power iteration found the most negative eigenvalue, {power:.4g}"]
    return compared(f"lambda_max, {place}", row["lambda_max_lanczos"], published, "; ".join(reasons))


def _training_differences(
    settings: HessianSettings, row: dict[str, Any], layers: int, paper: dict[str, Any]
) -> list[str]:
    """Settings of the training that differ from the paper's, ours first."""
    training, model = paper["training"], paper["model"]
    pairs = {
        "data set": (settings.dataset, "mnist"),
        "layers": (row["layers"], layers),
        "qubits": (row["qubits"], model["n_qubits"]),
        "patch size": (settings.patch_size, model["patch_size"][0]),
        "classes": (len(settings.classes or range(10)), model["n_classes"]),
        "training images": (row["images"], training["n_train"]),
        "epochs": (row["epochs"], training["epochs"]),
        "batch size": (settings.batch_size, training["batch_size"]),
        "learning rate": (
            settings.learning_rate or paper_learning_rate(row["layers"]),
            training["learning_rate"][str(layers)],
        ),
        "schedule": (settings.schedule, "cosine_cycle"),
        "weight decay": (settings.weight_decay, training["weight_decay"]),
        "aggregation": (settings.aggregation, "mean"),
        "scale": (settings.scale, model["logit_scale"]),
    }
    return [f"{name} {ours} against {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs]


def _hessian_differences(row: dict[str, Any], paper: dict[str, Any]) -> list[str]:
    """What more differs for the curvature."""
    ours, theirs = row["lambda_images"], paper["training"]["n_train"]
    return [] if ours == theirs else [f"images in the Hessian {ours} against {theirs}"]
