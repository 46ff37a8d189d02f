"""Tables of the study `gradient-variance`: the published ones redrawn, ours beside them, and all cells in short."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from qjaxsim_data import load

from qjaxsim.common.words import counted
from qjaxsim.report.row import Row, describe
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.gradient_variance.cells import BASELINE, HESSIAN, INITIALISATIONS
from qjaxsim.studies.gradient_variance.figures_lines import variant
from qjaxsim.studies.gradient_variance.settings import GradientSettings

PUBLISHED = "gradient_variance"
SWEPT = ("qubits", "layers", "batch")
# Published table -> the size that varies in it.
_PUBLISHED_ALONG = {
    "variance_by_batch": "batch",
    "accuracy_by_qubits": "qubits",
    "accuracy_by_layers": "layers",
    "largest_variance_by_layers": "layers",
}
_RUN = ("control", *SWEPT, "pairing", "pre", "learning_rate", "shots", "frozen")


def published(settings: GradientSettings) -> dict[str, Any]:
    """The published numbers as `qjaxsim_data.load` gives them, without those of sweeps that keep other sizes than ours.

    Numbers along one size are for the two others at the publication's centre.
    """
    theirs = load(PUBLISHED)
    differing = _other_sizes(settings, theirs["setting"]["centre"])
    for name, along in _PUBLISHED_ALONG.items():
        if differing - {along}:
            theirs[name] = []
    return theirs


def _other_sizes(settings: GradientSettings, known: dict[str, int]) -> set[str]:
    """The sizes that our sweeps keep at other values than the publication's."""
    return {name for name, value in zip(SWEPT, settings.centre, strict=True) if value != known[name]}


def tables(settings: GradientSettings, rows: Sequence[Row]) -> list[ReportTable]:
    """All tables of the study that have rows, for print and page."""
    note, largest = comparability(settings), published(settings)["largest_variance_by_layers"]
    base = [row for row in rows if row["control"] == BASELINE]
    found = [
        ReportTable(
            "Table 2: mean gradient variance by batch size and epoch", variance_table(settings, base, "batch"), note
        ),
        ReportTable("Table 3: test accuracy by qubits, per cent", accuracy_table(settings, base, "qubits"), note),
        ReportTable(
            "Table 4: test accuracy by entangling layers, per cent", accuracy_table(settings, base, "layers"), note
        ),
        ReportTable(
            "Figure 2 in numbers: mean gradient variance by qubits and epoch",
            variance_table(settings, base, "qubits"),
            "The publication has no numbers here.",
        ),
        ReportTable(
            "Figure 3 in numbers: mean gradient variance by entangling layers and epoch",
            variance_table(settings, base, "layers"),
            "Published are the largest values of three curves." if largest else note,
        ),
        ReportTable("The same at equal numbers of updates", updates_table(rows), ""),
        ReportTable("Variance over random initialisations", _chosen(rows, INITIALISATIONS, _PLATEAU), ""),
        ReportTable("Hessian spectra at start and end of training", _chosen(rows, HESSIAN, _HESSIAN), ""),
    ]
    return [table for table in found if table.rows]


def comparability(settings: GradientSettings) -> str:
    """What stands between our numbers and the published ones."""
    text = "Mean ± standard deviation over seeds. "
    setting = load(PUBLISHED)["setting"]
    if settings.dataset != "mnist":
        text += f"Not comparable in size: data set {settings.dataset} against MNIST. "
    if settings.epochs != setting["epochs"]:
        text += f"Ours are of {counted(settings.epochs, 'epoch')}, published are {setting['epochs']}. "
    if _other_sizes(settings, setting["centre"]):
        sizes = ", ".join(describe(name, value) for name, value in setting["centre"].items())
        text += f"Published sweeps keep {sizes}: beside ours that keep other sizes there are none. "
    return text + (
        "The publication leaves open the number of images, optimiser, learning rate, classical layers and estimator, "
        "so orders and trends can be compared, sizes only as far as our choices hold."
    )


def variance_table(settings: GradientSettings, base: Iterable[Row], along: str) -> list[dict[str, Any]]:
    """Rows by batch size, qubits or layers: variance in each epoch, ours and the published one."""
    theirs = published(settings)
    known = {row["batch"]: row["variance"] for row in theirs["variance_by_batch"]} if along == "batch" else {}
    largest = (
        {row["layers"]: row["variance"] for row in theirs["largest_variance_by_layers"]} if along == "layers" else {}
    )
    out = []
    for value, own in _swept(settings, base, along).items():
        line: dict[str, Any] = {along: value}
        epochs = sorted({row["epoch"] for row in own})
        for epoch in epochs:
            line[f"epoch_{epoch}"] = mean_and_deviation([r["grad_var"] for r in own if r["epoch"] == epoch], ".2e")
            if value in known and epoch <= len(known[value]):
                line[f"published_{epoch}"] = known[value][epoch - 1]
        if along != "batch":
            means = [np.mean([r["grad_var"] for r in own if r["epoch"] == epoch]) for epoch in epochs]
            line["largest"] = float(max(means))
        if largest:
            line["published_largest"] = largest.get(value)
        out.append(line)
    return out


def accuracy_table(settings: GradientSettings, base: Iterable[Row], along: str) -> list[dict[str, Any]]:
    """Rows by qubits or layers: test accuracy after the last epoch in per cent, ours and the published one."""
    known = {row[along]: row["accuracy"] for row in published(settings)[f"accuracy_by_{along}"]}
    out = []
    for value, own in _swept(settings, base, along).items():
        last = [row for row in own if row["epoch"] == max(r["epoch"] for r in own)]
        out.append(
            {
                along: value,
                "test": mean_and_deviation([100 * row["accuracy_test"] for row in last], ".1f"),
                "published": known.get(value),
                "train": mean_and_deviation([100 * row["accuracy_train"] for row in last], ".1f"),
                "seeds": len(last),
            }
        )
    return out


def updates_table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows by batch size of the control `updates`: variance in each part of the training, accuracy at its end."""
    own = [row for row in rows if row["control"] == "updates"]
    out = []
    for batch in sorted({row["batch"] for row in own}):
        line: dict[str, Any] = {"batch": batch}
        here = [row for row in own if row["batch"] == batch]
        for epoch in sorted({row["epoch"] for row in here}):
            part = [row for row in here if row["epoch"] == epoch]
            line[f"to_update_{part[0]['updates']}"] = mean_and_deviation([row["grad_var"] for row in part], ".2e")
        line["test_accuracy"] = mean_and_deviation([row["accuracy_test"] for row in part], ".3f")
        out.append(line)
    return out


def short_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One row a trained cell: means over seeds of the first and the last epoch, with standard deviations."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["control"] not in (INITIALISATIONS, HESSIAN):
            groups.setdefault(tuple(row.get(name) for name in _RUN), []).append(row)
    out = []
    for own in groups.values():
        first, last = ([row for row in own if row["epoch"] == choose(r["epoch"] for r in own)] for choose in (min, max))
        sizes = {name: own[0][name] for name in SWEPT}
        out.append(
            {
                "control": own[0]["control"],
                "variant": variant(own[0]),
                **sizes,
                "updates": last[0]["updates"],
                "grad_var_first": float(np.mean([row["grad_var"] for row in first])),
                "grad_var_last": float(np.mean([row["grad_var"] for row in last])),
                "std_last": _deviation([row["grad_var"] for row in last]),
                "grad_mean_last": float(np.mean([row["grad_mean"] for row in last])),
                "loss": float(np.mean([row["loss"] for row in last])),
                "accuracy_train": float(np.mean([row["accuracy_train"] for row in last])),
                "accuracy_test": float(np.mean([row["accuracy_test"] for row in last])),
                "std_test": _deviation([row["accuracy_test"] for row in last]),
            }
        )
    return out


SHORT_COLUMNS = {
    "variant": "what the control changes",
    "grad_var_first": "gradient variance in the first epoch (column grad_var of summary.csv), mean over seeds",
    "grad_var_last": "the same in the last epoch",
    "std_last": "standard deviation over seeds of the column before",
    "grad_mean_last": "gradient mean in the last epoch, mean over seeds",
    "std_test": "standard deviation over seeds of accuracy_test",
}


def mean_and_deviation(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation, which a single value does not have.

    >>> mean_and_deviation([1.0, 2.0, 3.0], ".1f"), mean_and_deviation([1.0], ".1f")
    ('2.0 ± 1.0', '1.0')
    """
    deviation = _deviation(values)
    return f"{np.mean(values):{form}}" + ("" if deviation is None else f" ± {deviation:{form}}")


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _swept(settings: GradientSettings, base: Iterable[Row], along: str) -> dict[int, list[Row]]:
    """Rows of one sweep by its value: those that agree with the centre in all else."""
    fixed = {name: value for name, value in zip(SWEPT, settings.centre, strict=True) if name != along}
    chosen: dict[int, list[Row]] = {}
    for row in base:
        if all(row[name] == value for name, value in fixed.items()):
            chosen.setdefault(row[along], []).append(row)
    return dict(sorted(chosen.items()))


def _chosen(rows: Iterable[Row], control: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in columns} for row in rows if row["control"] == control]


_PLATEAU = (
    "initial", "observable", "layers", "qubits", "init_var", "init_var_error", "seen", "init_var_seen",
    "init_var_seen_error",
)  # fmt: skip
_HESSIAN = (
    "seed", "epoch", "parameters", "lambda_max", "lambda_min", "trace", "gn_lambda_max", "residual_norm_ratio",
    "near_zero_fraction", "circuit_lambda_max", "circuit_lambda_min", "circuit_trace",
)  # fmt: skip
