"""Figures of the study of gradient variances, from its rows alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row, describe
from qjaxsim.studies.gradient_variance.figures_controls import controls, has_controls
from qjaxsim.studies.gradient_variance.figures_lines import band, legend_below, swept_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
_VARIANCE = "mean gradient variance"


def write_gradient_figures(
    rows: Sequence[Row],
    folder: str | Path,
    *,
    centre: Mapping[str, int],
    published: Mapping[str, Any],
    steps: Arrays,
    spectra: Arrays,
) -> list[ReportFigure]:
    """The figures for which there are data, written as PNG into `folder`.

    Args:
        rows: table of the study, controls included.
        folder: where variance.png, accuracy.png, updates.png, controls.png and hessian.png go.
        centre: qubits, layers and batch that the sweeps share.
        published: as `tables.published` gives it.
        steps: arrays of the trained cell at the centre.
        spectra: arrays of the cell with Hessian spectra; empty without one.

    Raises:
        OSError: if the folder cannot be written.
    """
    by_epoch, last = variance(rows, centre, published), accuracy(rows, centre, published)
    made: list[tuple[str, Figure, str, str]] = [
        ("variance", by_epoch, "Gradient variance by epoch", _VARIANCE_CAPTION + _published_lines(by_epoch)),
        ("accuracy", last, "Accuracy", _ACCURACY_CAPTION + (" Diamonds are published." if any(_named(last)) else "")),
        ("updates", updates(steps), "Gradient variance by update", _UPDATES_CAPTION),
    ]
    if has_controls(rows):
        made.append(("controls", controls(rows, centre), "Controls", _CONTROLS_CAPTION))
    if spectra:
        made.append(("hessian", hessian(spectra), "Hessian spectra", _HESSIAN_CAPTION))
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def variance(rows: Sequence[Row], centre: Mapping[str, int], published: Mapping[str, Any]) -> "Figure":
    """Variance against epoch, a panel for each sweep: batch size (Table 2), qubits (figure 2), layers (figure 3)."""
    figure = style.new_figure(12.5, 4.6)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, along in zip(panels, ("batch", "qubits", "layers"), strict=True):
        swept = swept_rows(rows, along, centre)
        for place, (value, own) in enumerate(swept.items()):
            colour, marker = style.COLOURS[place % len(style.COLOURS)], style.MARKERS[place % len(style.MARKERS)]
            band(axes, own, "epoch", "grad_var", describe(along, value), colour, marker)
            for x, y in _published_curve(published, along, value):
                axes.plot(x, y, "--", color=colour, marker=marker, markerfacecolor="white", linewidth=0.9, markersize=5)
        if any(_published_curve(published, along, value) for value in swept):
            axes.plot([], [], "--o", color=style.GREY, markerfacecolor="white", linewidth=0.9, label="published")
        axes.set_yscale("log")
        axes.set_xlabel("epoch", fontsize=style.SMALL + 1)
        axes.set_title({"batch": "Batch size", "qubits": "Qubits", "layers": "Entangling layers"}[along], loc="left")
        style.whole_ticks(axes.xaxis)
        style.tidy(axes)
        legend_below(axes)
    panels[0].set_ylabel(_VARIANCE, fontsize=style.SMALL + 1)
    return figure


def accuracy(rows: Sequence[Row], centre: Mapping[str, int], published: Mapping[str, Any]) -> "Figure":
    """Test accuracy after the last epoch against qubits (Table 3) and layers (Table 4), seeds as dots."""
    figure = style.new_figure(9.5, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    last = max((row["epoch"] for row in rows if row.get("accuracy_test") is not None), default=0)
    for axes, along in zip(panels, ("qubits", "layers"), strict=True):
        for place, (value, own) in enumerate(swept_rows(rows, along, centre).items()):
            final = [100 * row["accuracy_test"] for row in own if row["epoch"] == last]
            label = "seeds" if place == 0 else None
            axes.plot([value] * len(final), final, "o", color=style.BLUE, alpha=0.35, markersize=4, label=label)
            deviation = float(np.std(final, ddof=1)) if len(final) > 1 else 0.0
            label = "mean ± standard deviation" if place == 0 else None
            axes.errorbar(
                value + 0.08, float(np.mean(final)), yerr=deviation, fmt="s", color=style.BLUE, capsize=3, label=label
            )
        if theirs := published[f"accuracy_by_{along}"]:
            axes.plot(
                [row[along] for row in theirs], [row["accuracy"] for row in theirs], "--D", color=style.VERMILION,
                markerfacecolor="white", linewidth=1, label="published",
            )  # fmt: skip
        low, high = axes.get_xlim()
        if high - low < 1:
            # Of one value alone the mean, drawn beside its seeds, would stand at the other end of the axis.
            axes.set_xlim(low - 0.5, high + 0.5)
        axes.set_xlabel(along if along == "qubits" else "entangling layers", fontsize=style.SMALL + 1)
        style.whole_ticks(axes.xaxis)
        style.tidy(axes)
        legend_below(axes)
    panels[0].set_ylabel("test accuracy, per cent", fontsize=style.SMALL + 1)
    return figure


def updates(steps: Arrays) -> "Figure":
    """Mean and variance of the gradient at every update of the centre's training, and what the variance is made of."""
    figure = style.new_figure(12.5, 4.2)
    panels = figure.subplots(1, 3)
    flat = {name: values.reshape(len(values), -1).astype(float) for name, values in steps.items() if values.ndim == 3}
    drawn = (
        ("variance at every update", flat["grad_var"]),
        ("mean at every update", flat["grad_mean"]),
        ("scales behind the circuit", None),
    )
    for axes, (title, values) in zip(panels, drawn, strict=True):
        if values is not None:
            for own in values:
                axes.plot(np.arange(1, own.size + 1), own, color=style.SKY, linewidth=0.5, alpha=0.4)
            axes.plot(np.arange(1, values.shape[1] + 1), _smooth(values.mean(axis=0)), color=style.BLUE, linewidth=1.6)
            axes.set_yscale("log" if title.startswith("variance") else "linear")
            axes.set_ylabel(f"gradient {title.split()[0]}", fontsize=style.SMALL + 1)
        else:
            axes.set_ylabel("scale", fontsize=style.SMALL + 1)
            for name, label, colour in (
                ("post_scale", "post-layer, root mean square", style.VERMILION),
                ("signal_scale", "derivative in <Z>, root mean square", style.GREEN),
            ):
                line = flat[name].mean(axis=0)
                axes.plot(np.arange(1, line.size + 1), _smooth(line), color=colour, linewidth=1.6, label=label)
            legend_below(axes, columns=1)
        axes.set_title(title, loc="left", fontsize=style.SMALL + 2)
        axes.set_xlabel("update", fontsize=style.SMALL + 1)
        style.tidy(axes)
    return figure


def hessian(spectra: Arrays) -> "Figure":
    """Eigenvalues by rank at start and end of training, of all parameters and of the circuit's weights."""
    figure = style.new_figure(10.5, 4.4)
    panels = figure.subplots(1, 2)
    for axes, suffix, title in zip(panels, ("", "_circuit"), ("All parameters", "Circuit weights"), strict=True):
        for moment, colour in (("start", style.BLUE), ("end", style.VERMILION)):
            found = [values for name, values in spectra.items() if name.split("/")[1] == f"{moment}{suffix}"]
            for place, values in enumerate(found):
                ranks = np.arange(1, values.size + 1)
                label = f"{moment} of training" if place == 0 else None
                axes.plot(ranks, values[::-1], color=colour, linewidth=1.0, alpha=0.7, label=label)
        axes.axhline(0, color=style.GREY, linewidth=0.7)
        axes.set_yscale("symlog", linthresh=1e-3)
        if suffix == "":
            axes.set_xscale("log")
        axes.set_xlabel("rank", fontsize=style.SMALL + 1)
        axes.set_title(title, loc="left", fontsize=style.SMALL + 2)
        style.tidy(axes)
        legend_below(axes)
    panels[0].set_ylabel("Hessian eigenvalue", fontsize=style.SMALL + 1)
    return figure


# --- parts -----------------------------------------------------------------------------------------------------------


def _published_curve(published: Mapping[str, Any], along: str, value: int) -> list[tuple[Any, Any]]:
    """What the publication says about one curve: all its points, its largest value at the last epoch, or nothing."""
    if along == "batch":
        return [
            (range(1, len(row["variance"]) + 1), row["variance"])
            for row in published["variance_by_batch"]
            if row["batch"] == value
        ]
    if along == "layers":
        epochs = published["setting"]["epochs"]
        return [
            ([epochs], [row["variance"]]) for row in published["largest_variance_by_layers"] if row["layers"] == value
        ]
    return []


def _named(figure: "Figure") -> list[bool]:
    """Whether each panel has something published."""
    return ["published" in axes.get_legend_handles_labels()[1] for axes in figure.axes]


def _published_lines(figure: "Figure") -> str:
    """The end of the caption of the variance: what of it is published, if anything is."""
    said = [words for words, there in zip(_PUBLISHED_LINES, _named(figure), strict=True) if there]
    if not said:
        return ""
    return f" Dashed lines with open markers are published: {', and '.join(said)}. Their data and settings may differ."


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over a fiftieth of the run, shorter at the ends."""
    half = max(1, values.size // 100)
    total = np.concatenate([[0.0], np.cumsum(values)])
    low, high = (np.clip(np.arange(values.size) + shift, 0, values.size) for shift in (-half, half + 1))
    return (total[high] - total[low]) / (high - low)


_VARIANCE_CAPTION = (
    "See whether the variance grows along the training. Population variance of the gradient over all circuit "
    "weights, mean over the updates of an epoch: lines are means over seeds, bands one standard deviation, "
    "downwards to a tenth of the mean at most, since the axis is logarithmic."
)
# What is published in the panels for batch sizes, qubits and layers.
_PUBLISHED_LINES = (
    "Table 2 in the first panel", "", "in the last the largest values of three curves, drawn at the last epoch",
)  # fmt: skip
_ACCURACY_CAPTION = (
    "See whether more qubits or layers classify better, beyond the spread of the seeds. Test accuracy after the last "
    "epoch: dots are seeds, squares their means."
)
_UPDATES_CAPTION = (
    "See whether the variance moves with the scales behind the circuit. The training at the centre of the sweeps, "
    "update by update: thin lines are seeds, thick ones running means over all seeds. The last panel has the size of "
    "the post-layer's matrix and of the derivative of an image's loss in <Z>, which multiply the circuit's own "
    "derivatives."
)
_CONTROLS_CAPTION = (
    "See which control takes the growth of the variance away. What the controls change; each panel's title names it. "
    "Lines are means over seeds, bands and bars one standard deviation, bands downwards to a tenth of the mean at "
    "most; for random initialisations bars are standard errors. The variance of a barren plateau is that over random "
    "initialisations; of local observables only entries that <Z> depends on are counted."
)
_HESSIAN_CAPTION = (
    "See how training moves the largest and the most negative eigenvalues. Eigenvalues by rank of the Hessian of the "
    "training loss, in all parameters and in the circuit's weights alone, one line a seed. The axis is logarithmic "
    "above and below a linear strip around zero."
)
