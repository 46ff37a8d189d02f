"""Published numbers on handwritten digits beside ours."""

from collections.abc import Mapping
from typing import Any

from qjaxsim.report.row import Row
from qjaxsim.studies.qrnn.encoding import Encoding
from qjaxsim.studies.shared.comparison import compared


def digit_rows(row: Row, paper: Mapping[str, Any], encoding: Encoding) -> list[dict[str, Any]]:
    """What is published on these digits and features: accuracies, and images that training and test share."""
    if encoding.dataset != "mnist":
        return []
    if row["network"] != "qrnn":
        return [
            compared(f"test accuracy, {row['network']}, {row['parameters']} parameters", row["test_accuracy_argmax"],
                 point["accuracy"], "published for another size, on 784 pixels")
            for point in of_images(paper["mnist_classical"], encoding) if point["network"] == row["network"]
        ]  # fmt: skip
    found = _networks(row, of_images(paper["mnist"], encoding), encoding)
    found += _released(row, of_images(paper["mnist_reevaluated"], encoding), encoding)
    if encoding.features == "pixels" and not encoding.deskew:
        for point in (p for p in paper["mnist_duplicates"] if p["digit"] in encoding.digits):
            share = row["duplicates_in_train"][encoding.digits.index(point["digit"])]
            reason = "author's resampling and split"
            found.append(compared(f"share of test digit {point['digit']} in training", share, point["share"], reason))
    return found


def drawn_rows(row: Row, paper: Mapping[str, Any], encoding: Encoding) -> list[dict[str, Any]]:
    """The published losses of networks that draw these digits."""
    if encoding.dataset != "mnist":
        return []
    reason = "" if encoding.deskew else "published on deskewed images"
    return [
        compared(f"best validation loss, drawing {encoding.digits}, against the released models' {kind}",
             row["validation_loss_best"], point[f"validation_loss_{kind}"], reason)
        for point in paper["mnist_generation"] if tuple(point["digits"]) == encoding.digits
        for kind in ("least", "most")
    ]  # fmt: skip


def of_images(points: list[dict[str, Any]], encoding: Encoding) -> list[dict[str, Any]]:
    """Published points on these digits and features."""
    return [p for p in points if tuple(p["digits"]) == encoding.digits and p["features"] == encoding.features]


def _networks(row: Row, points: list[dict[str, Any]], encoding: Encoding) -> list[dict[str, Any]]:
    found = []
    for point in points:
        ensemble = point["model"].startswith("ensemble")
        if "L-BFGS" in point["model"] and row["optimizer"] != "lbfgs":
            continue
        reasons = [] if ensemble else ["sampled or arg-max is not said"]
        if ensemble:
            reasons.append("how networks vote is not said")
            if f"of {row['seeds']}" not in point["model"]:
                reasons.append(f"{row['seeds']} networks here")
        if encoding.digits == (3, 6) and "Adam" in point["model"] and not encoding.deskew:
            reasons.append("published on deskewed images")
        if encoding.features == "umap" and row["parameters"] != 3134:
            reasons.append("published with 3134 parameters")
        if encoding.features == "tsne":
            reasons.append("author's t-SNE is another program's, with a map for new images")
        for kind in ("ensemble", "vote") if ensemble else ("sampled", "argmax"):
            name = f"test accuracy, {kind}, against {point['model']}"
            found.append(compared(name, row[f"test_accuracy_{kind}"], point["accuracy"], "; ".join(reasons)))
    return found


def _released(row: Row, points: list[dict[str, Any]], encoding: Encoding) -> list[dict[str, Any]]:
    """Released models that were evaluated again, of the same coordinates; per word where a label has two."""
    found = []
    for point in points:
        if point["coordinates"] != encoding.coordinates or point["bits"] not in (None, encoding.bits):
            continue
        reason = f"{point['images']} test images published"
        for published, ours in (("sampled", "test_accuracy_sampled"), ("argmax", "test_accuracy_argmax"),
                                ("word_sampled", "test_word_accuracy_sampled")):  # fmt: skip
            if point[published] is not None and row.get(ours) is not None:
                name = f"{ours.replace('_', ' ')}, against the released model"
                found.append(compared(name, row[ours], point[published], reason))
    return found
