"""Published accuracies of the attention study beside ours, each with what makes the two settings differ."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.studies.attention.settings import AttentionStudySettings
from qjaxsim.studies.shared.comparison import compared

PAPER = "arXiv:2504.11083"


def comparison_rows(settings: AttentionStudySettings, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over our seeds beside the published figures of the same kind and data.

    Returns:
        Rows with quantity, ours, published, difference (None unless comparable) and comparable (true, or why not).
    """
    paper = load("quantum_annealing_attention")
    family = "cifar10" if settings.dataset.startswith("cifar10") else settings.dataset
    out = []
    for theirs in paper["accuracy"]:
        own = [row for row in rows if row["attention"] == theirs["attention"]]
        if theirs["dataset"] != family or not own:
            continue
        reasons = _differences(settings, own[0], paper["training"], family)
        for ours, published in (("test_accuracy", "last"), ("best_test_accuracy", "best")):
            mean = float(np.mean([row[ours] for row in own]))
            out.append(
                compared(
                    f"{ours}, {theirs['attention']} on {family}, {len(own)} seed{'s' * (len(own) > 1)}",
                    mean,
                    theirs[published],
                    "; ".join(reasons),
                )
            )
    return out


def _differences(
    settings: AttentionStudySettings, row: dict[str, Any], training: dict[str, Any], family: str
) -> list[str]:
    pairs = {
        "training images": (row["images"], training["images"][family]),
        "test images": (settings.test_images or training["test_images"], training["test_images"]),
        "epochs": (row["epochs"], training["epochs"]),
        "batch size": (settings.batch_size, training["batch_size"]),
        "learning rate": (settings.learning_rate, training["learning_rate"]),
        "token size": (settings.dim, training["dim"]),
        "heads": (settings.n_heads, training["n_heads"]),
        "patch": (settings.patch_size, training["patch_size"]),
        "gradient": (settings.gradient, "frozen"),
        "bits": (settings.bits or "none", "none"),
    }
    return [f"{name} {ours} against {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs]
